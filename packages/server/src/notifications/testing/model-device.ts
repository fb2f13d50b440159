// A device as a client would be: it keeps a view of the inbox by what its subscription hands out, and knows where to go on.
import type { InboxEvent, InboxReader, RemovalName, Through } from "../contract.ts";
import type { OpenNotificationStore } from "../store.ts";
import { DEAF } from "./store-place.ts";

interface Seen {
  readonly sequence: number;
  readonly priority: number;
  seen: boolean;
  read: boolean;
  archived: boolean;
  snoozedUntilMs: number;
}

export const REMOVAL_NAMES: readonly RemovalName[] = ["evicted", "expired", "replaced", "deleted"];
const START: Through = [0, 0, 0, 0, 0, 0, 0, 0];

export class ModelDevice {
  readonly user: string;
  readonly name: string;
  readonly view = new Map<number, Seen>();
  /** How many removals it was told of, by reason. */
  told = [0, 0, 0, 0];
  readonly violations: string[] = [];
  #position: Through = START;
  #reader: InboxReader | undefined;
  #delivered = new Set<string>();
  #acknowledged: { position: Through; told: number[]; delivered: Set<string> } | undefined;

  constructor(user: string, name: string) {
    this.user = user;
    this.name = name;
  }

  /** @param from where it goes on: behind all that it got, or behind its acknowledgement */
  connect(store: OpenNotificationStore, from: "cursor" | "acknowledged"): void {
    if (this.#reader !== undefined) return;
    if (from === "acknowledged") this.#forget();
    this.#reader = store.openReader(this.user, { from: this.#position, deviceId: this.name }, DEAF);
  }

  /** Takes so many events, or all. */
  read(max = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < max && this.#reader !== undefined; i++) {
      const event = this.#reader.next();
      this.#position = this.#reader.position;
      if (event === undefined) return;
      this.#take(event);
    }
  }

  disconnect(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }

  async acknowledge(store: OpenNotificationStore): Promise<void> {
    this.#acknowledged = { position: this.#position, told: [...this.told], delivered: new Set(this.#delivered) };
    await store.acknowledge(this.user, this.name, this.#position);
    const [device] = store.devices(this.user).filter(({ deviceId }) => deviceId === this.name);
    if (String(device?.ack) !== String(this.#position))
      this.violations.push(`its acknowledgement is ${String(device?.ack)}`);
  }

  /** It knows no more than what it acknowledged; of the notifications themselves nothing is lost. */
  #forget(): void {
    const { position, told, delivered } = this.#acknowledged ?? { position: START, told: [0, 0, 0, 0], delivered: [] };
    this.#position = position;
    this.told = [...told];
    this.#delivered = new Set(delivered);
  }

  #take(event: InboxEvent): void {
    switch (event.kind) {
      case "item": {
        const { id, sequence, priority, state } = event.item;
        const key = `${id} at ${sequence}`;
        if (this.#delivered.has(key)) this.violations.push(`${this.name} got ${key} twice`);
        this.#delivered.add(key);
        this.view.set(id, { sequence, priority, ...state });
        return;
      }
      case "state":
        for (const { id, state } of event.changes) {
          const known = this.view.get(id);
          if (known !== undefined) Object.assign(known, state);
        }
        return;
      case "through":
        for (const known of this.view.values()) {
          if (known.sequence > event.through[known.priority]!) continue;
          for (const flag of ["seen", "read", "archived"] as const) if (event[flag]) known[flag] = true;
        }
        return;
      case "removal":
        this.told[REMOVAL_NAMES.indexOf(event.reason)]! += event.count;
        for (const id of event.ids) this.view.delete(id);
        return;
      default:
    }
  }
}
