// Writes a checkpoint: the state as it is now, while it goes on changing.
//
// S1. What is many is frozen in the turn in which the rest is written, and follows in slices (R2 of rows.ts, U2 of
//     user-table.ts): all of it is of one moment.
// S2. Where something lies that was carried forward just now is known before it is durable: the file takes its name after that.
import type { FileSystem } from "../../store/file-system.ts";
import { nextTurn } from "../../stream/turn.ts";
import { doomedIn } from "../engine/direct-items.ts";
import { channelsOf, writeState } from "../engine/saved-state.ts";
import { extraEncoder } from "../engine/saved-user.ts";
import type { InboxState } from "../engine/state.ts";
import { type RowChunk, ROWS_PER_CHUNK } from "../engine/rows.ts";
import { ValueWriter } from "../engine/values.ts";
import { CheckpointWriter, Section } from "./file.ts";

/** Names, and what stands beside, of so many users: a millisecond or two. */
const USERS_PER_SECTION = 2048;
/** Values that may be kept for what is still to be written: 64 MiB of them. */
const KEPT_MAX = 4_000_000;

export interface SaveRequest {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly state: InboxState;
  /** What lies here and before must leave the disk. */
  readonly staleThrough: number;
  /** A record that is in effect, and its checksum: by it the journal is known again. */
  readonly mark: { readonly place: number; readonly sum: number };
  /** Resolves when what has been carried until now is durable (S2). Called in the first turn. */
  readonly carried: () => Promise<void>;
}

/** Resolves when it is durable. @throws RangeError when too much changes meanwhile; what the file system says */
export async function saveCheckpoint(request: SaveRequest): Promise<void> {
  const { folder, fileSystem, state } = request;
  const writer = await CheckpointWriter.create(fileSystem, folder);
  try {
    await write(writer, request);
    await writer.finish();
  } catch (error) {
    await writer.abandon();
    throw error;
  } finally {
    state.items.thaw();
    state.users.thaw();
  }
}

async function write(writer: CheckpointWriter, request: SaveRequest): Promise<void> {
  const { state, staleThrough, mark, carried } = request;
  const { items, users } = state;
  const out = new ValueWriter();
  out.number(mark.place);
  out.number(mark.sum);
  writeState(state, out, staleThrough);
  const itemChunks = items.freeze(out);
  const numbers = new Map(channelsOf(state).map((channel, i) => [channel, i]));
  const userChunks = users.freeze(out, extraEncoder(numbers));
  const areDurable = carried();
  // It is waited for at the end.
  areDurable.catch(() => undefined);
  const goOn = async (): Promise<void> => {
    if (items.kept + users.kept > KEPT_MAX) throw new RangeError("too much changed while it was written");
    await nextTurn();
  };
  await writer.write(Section.STATE, [out.take()]);
  const doomed: number[] = [];
  for (let chunk = 0; chunk < itemChunks; chunk++) {
    const read = items.readFrozen();
    for (const place of doomedIn(read)) doomed.push(chunk * ROWS_PER_CHUNK + place);
    await writer.write(Section.ITEMS, partsOf(read));
    await goOn();
  }
  for (let chunk = 0; chunk < userChunks; chunk++) {
    await writer.write(Section.USER_ROWS, partsOf(users.readFrozen()));
    await goOn();
  }
  while (users.writeFrozen(out, USERS_PER_SECTION)) {
    await writer.write(Section.USERS, [out.take()]);
    await goOn();
  }
  out.list(doomed, (row) => out.number(row));
  await areDurable;
  await writer.write(Section.END, [out.take()]);
}

/** The bytes of a chunk. */
export function partsOf({ floats, integers }: RowChunk): readonly [Uint8Array, Uint8Array] {
  const bytesOf = (column: Float64Array | Int32Array) =>
    new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
  return [bytesOf(floats), bytesOf(integers)];
}
