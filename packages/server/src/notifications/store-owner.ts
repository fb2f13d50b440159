// What the journal of notifications asks: records are put into effect when they are durable, and written down again when what
// they stand in is about to go.
import type { JournalOwner, Place, RecordsThere } from "../journal/contract.ts";
import { loadCheckpoint } from "./checkpoint/load.ts";
import type { NewNotificationRecord } from "./contract.ts";
import { applyRecord } from "./engine/apply.ts";
import type { AppliedRecord } from "./engine/records.ts";
import { carryRecord, placeCarried, usersOf } from "./engine/snapshot.ts";
import { InboxState } from "./engine/state.ts";
import { pruneReplaced } from "./engine/wanted.ts";
import { idKey, RecordQueue } from "./record-queue.ts";
import type { OpenStoreRequest } from "./store-options.ts";

export class StoreOwner implements JournalOwner<AppliedRecord, NewNotificationRecord> {
  /** The last record that a checkpoint knew. */
  recalled: Place = 0;
  /** Where lies what was carried last. */
  carriedTo: Place = 0;
  staleThrough: Place = 0;
  /** What lies here or before may have gone. */
  carriedThrough: Place = 0;
  /** Something is in effect. */
  onProgress: () => void = () => undefined;
  #state = new InboxState();
  #queue = new RecordQueue(this.#state);
  readonly #request: OpenStoreRequest;

  constructor(request: OpenStoreRequest) {
    this.#request = request;
  }

  /** The same from the first record that is replayed on. */
  get state(): InboxState {
    return this.#state;
  }

  get queue(): RecordQueue {
    return this.#queue;
  }

  get liveBytes(): number {
    return this.#state.liveBytes;
  }

  async recall(records: RecordsThere): Promise<Place> {
    const { folder, fileSystem, onFault } = this.#request;
    const state = await loadCheckpoint({ folder, fileSystem, records, onFault });
    if (state === undefined) return 0;
    this.#state = state;
    this.#queue = new RecordQueue(state);
    return (this.recalled = state.head);
  }

  replay(record: AppliedRecord, place: Place): void {
    applyRecord(this.#state, record, place);
    pruneReplaced(this.#state);
  }

  /** All records were read. */
  settle(): void {
    const state = this.#state;
    for (const channel of [state.everyone, ...state.channels.values()]) {
      for (const line of channel.lines) line?.settle();
    }
    state.users.settle();
    state.isReplaying = false;
  }

  committed(place: Place): void {
    this.#queue.committed(place);
    this.onProgress();
  }

  carry(record: AppliedRecord, place: Place): readonly NewNotificationRecord[] | Promise<void> {
    const { kind } = record;
    const id = kind?.case === "item" ? Number(kind.value.id ?? 0n) : place;
    const { moved, sharedHolders, users } = this.#state;
    const holders = [...(moved.get(id) ?? []), ...(sharedHolders.get(id) ?? [])].map((user) => users.name(user));
    const keys = [idKey(id), ...usersOf(record), ...holders, ...(kind?.case === "server" ? [""] : [])];
    if (keys.some((key) => this.#queue.isBusy(key))) return this.#queue.progress();
    this.carriedThrough = place;
    return carryRecord(this.#state, record, { place, nowMs: Number(this.#request.clock.nowNs() / 1_000_000n) });
  }

  carried(record: NewNotificationRecord, place: Place): void {
    this.carriedTo = place;
    placeCarried(this.#state, record, place);
  }
}

/** Whose state a record changes: users, and items, as nobody knows yet who makes something of what is shared. */
export function touchesOf(record: NewNotificationRecord): readonly string[] {
  const { kind } = record;
  if (kind?.case === "due") return [idKey(Number(kind.value.id ?? 0n)), ...usersOf(record)];
  if (kind?.case !== "removed" && kind?.case !== "state") return [];
  return [...usersOf(record), ...(kind.value.ids ?? []).map((id) => idKey(Number(id)))];
}
