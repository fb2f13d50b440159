// Segment filters for tests of the store: made on the thread of the test, and files that are counted.
import type { FrameCodec } from "../contract.ts";
import type { FileSystem } from "../file-system.ts";
import type { FilterMaker } from "../filter-builder.ts";
import { addMarks, FilterBits } from "../segment-filter.ts";
import { testCodec } from "./frames.ts";

/** A mark for each word of the payload. */
export const markedCodec: FrameCodec = {
  describe: (...frame) => testCodec.describe(...frame),
  marks(bytes, start, end, to) {
    const payload = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
    for (const word of payload.split(/[^\w-]+/)) to.add(markOf(word));
  },
};

export function markOf(word: string): number {
  let mark = 0;
  for (let i = 0; i < word.length; i++) mark = (Math.imul(mark, 31) + word.charCodeAt(i)) >>> 0;
  return mark;
}

/** Makes filters at once. */
export const plainMaker: FilterMaker = {
  async make(frameBytes, pieces) {
    const bits = new FilterBits(frameBytes);
    for await (const frames of pieces) addMarks(bits, markedCodec.marks!, frames);
    return bits.finish();
  },
};

/** Bytes read, by the ending of the file's name. */
export function countReads(fileSystem: FileSystem): { fileSystem: FileSystem; read: Map<string, number> } {
  const read = new Map<string, number>();
  const note = (path: string, bytes: number): number => {
    const suffix = path.slice(path.lastIndexOf("."));
    read.set(suffix, (read.get(suffix) ?? 0) + bytes);
    return bytes;
  };
  const counted: FileSystem = {
    ...fileSystem,
    async open(path, mode) {
      const file = await fileSystem.open(path, mode);
      return {
        read: async (buffer, position) => note(path, await file.read(buffer, position)),
        readSync: (buffer, position) => note(path, file.readSync(buffer, position)),
        write: (buffers, position) => file.write(buffers, position),
        sync: () => file.sync(),
        truncate: (length) => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
    },
  };
  return { fileSystem: counted, read };
}
