// Reads a checkpoint: the state that it was made of, without looking at each item.
//
// L1. One that is damaged, or is not of this journal, is none: the journal alone says everything that it says.
// L2. It is of this journal when a record that it knows is there, the same, and all that came behind. That record may have been
//     carried on and dropped, as that of any other: then there is as little to read as there was to clean.
import type { FileSystem } from "../../store/file-system.ts";
import type { RecordsThere } from "../../journal/contract.ts";
import { readExtra } from "../engine/saved-user.ts";
import { readState, spareDoomed } from "../engine/saved-state.ts";
import { InboxState } from "../engine/state.ts";
import type { RowChunk } from "../engine/rows.ts";
import { ValueReader } from "../engine/values.ts";
import { CHECKPOINT_FILE, CheckpointReader, Section } from "./file.ts";
import { partsOf } from "./save.ts";

export interface LoadRequest {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  /** Of the journal that it must be of. */
  readonly records: RecordsThere;
  readonly onFault: ((text: string) => void) | undefined;
}

/** undefined: there is none that is of use. What comes behind `head` of the state is in the journal. */
export async function loadCheckpoint(request: LoadRequest): Promise<InboxState | undefined> {
  const { folder, fileSystem, records, onFault } = request;
  try {
    await using reader = await CheckpointReader.open(fileSystem, folder);
    return reader === undefined ? undefined : await load(reader, records);
  } catch (error) {
    // L1.
    const why = error instanceof Error ? error.message : String(error);
    onFault?.(`cannot use the checkpoint ${folder}/${CHECKPOINT_FILE}: ${why}; all of the journal is read`);
    return undefined;
  }
}

async function load(reader: CheckpointReader, records: RecordsThere): Promise<InboxState | undefined> {
  const state = new InboxState();
  const { items, users } = state;
  const first = await reader.next();
  if (first.kind !== Section.STATE) throw new RangeError("it does not begin with the state");
  const values = await valuesOf(reader, first.size);
  const mark = { place: values.number(), sum: values.number() };
  // L2.
  if (mark.place < records.first) return undefined;
  const { channels, finish } = readState(state, values);
  const isOurs = state.head <= records.last && (await records.sumOf(mark.place)) === mark.sum;
  if (!isOurs) throw new RangeError("it is of another journal");
  items.read(values);
  users.read(values);
  for (;;) {
    const { kind, size } = await reader.next();
    if (kind === Section.ITEMS) await readChunk(reader, items.addChunk());
    else if (kind === Section.USER_ROWS) await readChunk(reader, users.addChunk());
    else if (kind === Section.USERS) {
      const named = await valuesOf(reader, size);
      users.readUsers(named, (user, bytes) => readExtra(state, user, { bytes, channels }));
    } else if (kind === Section.END) {
      const doomed = await valuesOf(reader, size);
      if (!items.isWhole || !users.isWhole) throw new RangeError("it has fewer rows than there were");
      finish();
      spareDoomed(
        state,
        doomed.list(() => doomed.number()),
      );
      return state;
    } else throw new RangeError(`it has a section of the kind ${kind}`);
  }
}

async function readChunk(reader: CheckpointReader, chunk: RowChunk): Promise<void> {
  await reader.read(partsOf(chunk));
}

async function valuesOf(reader: CheckpointReader, size: number): Promise<ValueReader> {
  const bytes = Buffer.allocUnsafeSlow(size);
  await reader.read([bytes]);
  return new ValueReader(bytes);
}
