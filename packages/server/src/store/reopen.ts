// The open segment after a write of it has failed: proven, brought to disk once more, and opened for appending again. What a
// restart of the server would do with it (`open-segment.ts`), for a log that goes on being read meanwhile.
//
// E1. What is behind the durable end is cut: its writers were refused, so nobody may read it.
// E2. The page that the durable end may share with what failed is written once more, durably: the failed sync may have
//     marked it clean although it never reached the disk. Everything before it was synced, and not touched since. A disk
//     that refuses this write is not well yet.
// E3. The file of a next segment, whose name may not be durable, is removed: it will be made anew, and its name with it.
//     An empty segment has no next one: its own file has that name.
import type { File } from "./file-system.ts";
import type { Segment } from "./segment.ts";
import type { IsExpected, SegmentSource } from "./segment-files.ts";
import { DataLoss } from "../errors.ts";
import { LabelDictionary } from "./labels.ts";
import { rewrite } from "./open-segment.ts";
import { removeIfThere } from "./retention.ts";
import { FRAMES_SUFFIX, segmentFile } from "./segment.ts";
import { walkFrames } from "./walk.ts";

/** The largest page of any system that Node runs on. */
const PAGE_BYTES = 64 * 1024;

/** Opens `segment` for appending behind its durable end. @throws what the file system says; DataLoss when it is not whole */
export async function reopenSegment(
  source: Omit<SegmentSource, "labels">,
  segment: Segment,
  isExpected: IsExpected,
): Promise<File> {
  const { fileSystem, folder, codec } = source;
  const { first, last, bytes } = segment;
  const path = segmentFile(folder, first, FRAMES_SUFFIX);
  if (last >= first) await removeIfThere(fileSystem, segmentFile(folder, last + 1, FRAMES_SUFFIX)); // E3
  const file = await fileSystem.open(path, "append");
  try {
    await file.truncate(bytes); // E1
    const labels = new LabelDictionary(Number.MAX_SAFE_INTEGER);
    const walked = await walkFrames({
      file,
      size: bytes,
      codec,
      first,
      isExpected,
      label: (name) => labels.restore(name),
      searchUntil: bytes,
      onEntries: () => undefined,
    });
    if (walked.end !== bytes || walked.next !== last + 1) {
      const text = `Cannot open ${path} again: of its ${bytes} durable bytes ${walked.end} prove themselves`;
      throw new DataLoss(text, { file: path });
    }
    await rewrite(file, bytes - (bytes % PAGE_BYTES || Math.min(bytes, PAGE_BYTES)), bytes); // E2
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}
