// What happened lately to the inbox of one user, beside what came: changes of state, and removals. A device that was away reads
// it from its position on.
//
// E1. Ascending by sequence, one event for each record. Of what is older than `lostThrough` nothing is in here.
import type { RemovalName } from "../contract.ts";
import type { ValueReader, ValueWriter } from "./values.ts";

export type LoggedEvent =
  | { readonly kind: "state"; readonly sequence: number; readonly ids: readonly number[] }
  | {
      readonly kind: "through";
      readonly sequence: number;
      readonly through: readonly number[];
      readonly seen: boolean;
      readonly read: boolean;
      readonly archived: boolean;
    }
  | {
      readonly kind: "removal";
      readonly sequence: number;
      readonly reason: RemovalName;
      readonly ids: readonly number[];
      /** Of `ids`, in their order. */
      readonly priorities: readonly number[];
      readonly replacedBy: number;
    };

export class EventLog {
  #events: LoggedEvent[] = [];
  lostThrough: number;

  /** @param lostThrough nothing is known of what was before */
  constructor(lostThrough: number) {
    this.lostThrough = lostThrough;
  }

  get size(): number {
    return this.#events.length;
  }

  add(event: LoggedEvent): void {
    this.#events.push(event);
  }

  /** Forgets the older half, of 8 events or more; all of fewer. Answers what was forgotten. */
  forgetOld(): readonly LoggedEvent[] {
    const count = this.#events.length < 8 ? this.#events.length : this.#events.length >> 1;
    const forgotten = this.#events.slice(0, count);
    this.#events = this.#events.slice(count);
    this.lostThrough = forgotten.at(-1)?.sequence ?? this.lostThrough;
    return forgotten;
  }

  /** The first event behind this sequence; undefined: there is none. */
  firstAfter(sequence: number): LoggedEvent | undefined {
    const events = this.#events;
    let low = 0;
    let high = events.length;
    if (high === 0 || events[high - 1]!.sequence <= sequence) return undefined;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (events[middle]!.sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    return events[low];
  }

  /** All that are behind this sequence. */
  after(sequence: number): readonly LoggedEvent[] {
    return this.#events.filter((each) => each.sequence > sequence);
  }

  write(out: ValueWriter): void {
    out.number(this.lostThrough);
    out.list(this.#events, (event) => writeEvent(out, event));
  }

  static read(values: ValueReader): EventLog {
    const log = new EventLog(values.number());
    log.#events = values.list(() => readEvent(values));
    return log;
  }
}

const Kind = { STATE: 0, THROUGH: 1, REMOVAL: 2 } as const;

function writeEvent(out: ValueWriter, event: LoggedEvent): void {
  const numbers = (list: readonly number[]): void => out.list(list, (each) => out.number(each));
  out.number(event.sequence);
  switch (event.kind) {
    case "state":
      out.number(Kind.STATE);
      return numbers(event.ids);
    case "through":
      out.number(Kind.THROUGH);
      numbers(event.through);
      for (const flag of [event.seen, event.read, event.archived]) out.flag(flag);
      return;
    case "removal":
      out.number(Kind.REMOVAL);
      out.text(event.reason);
      numbers(event.ids);
      numbers(event.priorities);
      out.number(event.replacedBy);
      return;
    default:
      return event satisfies never;
  }
}

function readEvent(values: ValueReader): LoggedEvent {
  const numbers = (): number[] => values.list(() => values.number());
  const sequence = values.number();
  const kind = values.number();
  if (kind === Kind.STATE) return { kind: "state", sequence, ids: numbers() };
  if (kind === Kind.THROUGH) {
    const through = numbers();
    const [seen, read, archived] = [values.flag(), values.flag(), values.flag()];
    return { kind: "through", sequence, through, seen, read, archived };
  }
  const reason = values.text() as RemovalName;
  const [ids, priorities] = [numbers(), numbers()];
  return { kind: "removal", sequence, reason, ids, priorities, replacedBy: values.number() };
}
