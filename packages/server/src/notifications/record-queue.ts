// What was appended to the journal and is not in effect yet, in its order. When the journal says that it is durable, it is put
// into effect, and whoever waits hears of it.
//
// R1. Whose state is changed by what is on its way is `busy`: nothing is carried of it meanwhile, as its record would stand
//     behind a change that it does not know of.
import type { Journal, Place } from "../journal/contract.ts";
import type { NewNotificationRecord } from "./contract.ts";
import { applyRecord } from "./engine/apply.ts";
import type { InboxState } from "./engine/state.ts";

export interface QueuedRecord {
  readonly record: NewNotificationRecord;
  /** Of the notification in it. */
  readonly bodyBytes?: number;
  /** R1. Names of users, and `idKey` of ids. */
  readonly touches?: readonly string[];
  /** It is in effect. @param changed what the record changed (applyRecord) */
  readonly done?: (changed: number) => void;
  readonly failed?: (error: Error) => void;
}

interface Entry extends QueuedRecord {
  readonly place: Place;
}

/** Under which an item is busy, beside users, whose names have no control characters. */
export function idKey(id: number): string {
  return `\0${id}`;
}

export class RecordQueue {
  readonly #state: InboxState;
  readonly #touched = new Map<string, number>();
  #entries: Entry[] = [];
  #next: PromiseWithResolvers<void> | undefined;

  constructor(state: InboxState) {
    this.#state = state;
  }

  /** Appends a record. @throws what the journal refuses with: nothing has changed */
  append(journal: Journal<NewNotificationRecord>, queued: QueuedRecord): Place {
    const place = journal.append(queued.record);
    this.#entries.push({ ...queued, place });
    for (const key of queued.touches ?? []) this.#touched.set(key, (this.#touched.get(key) ?? 0) + 1);
    return place;
  }

  isBusy(key: string): boolean {
    return this.#touched.has(key);
  }

  /** Resolves when something more is in effect. */
  progress(): Promise<void> {
    this.#next ??= Promise.withResolvers<void>();
    return this.#next.promise;
  }

  /** Everything up to here is durable. */
  committed(place: Place): void {
    let count = 0;
    for (const entry of this.#entries) {
      if (entry.place > place) break;
      count++;
      const changed = applyRecord(
        this.#state,
        { kind: entry.record.kind, bodyBytes: entry.bodyBytes ?? 0 },
        entry.place,
      );
      for (const key of entry.touches ?? []) this.#untouch(key);
      entry.done?.(changed);
    }
    this.#entries = this.#entries.slice(count);
    this.#next?.resolve();
    this.#next = undefined;
  }

  fail(error: Error): void {
    const entries = this.#entries;
    this.#entries = [];
    this.#touched.clear();
    for (const entry of entries) entry.failed?.(error);
    this.#next?.resolve();
    this.#next = undefined;
  }

  #untouch(key: string): void {
    const count = this.#touched.get(key)!;
    if (count === 1) this.#touched.delete(key);
    else this.#touched.set(key, count - 1);
  }
}
