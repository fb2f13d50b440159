// The values that filter terms look at, found in one walk over a stored entry: none is decoded.
import type { Effort } from "./effort.ts";
import { MapTag, Tag } from "./entry-scan.ts";
import type { Key, OwnKey } from "./filter.ts";
import { WIRE_BYTES, WireReader } from "../stream/wire.ts";

/** What it costs to begin with an entry, to read one of its values, and to compare the key of one of its `fields`. */
const ENTRY_STEPS = 100;
const TAG_STEPS = 10;
const FIELD_STEPS = 30;

/** Where a value lies, or the halves of a number. All zero: the entry has none. */
export class Slot {
  start = 0;
  end = 0;
  low = 0;
  high = 0;

  clear(): void {
    this.start = 0;
    this.end = 0;
    this.low = 0;
    this.high = 0;
  }
}

/** Tag of each key that is not one of `fields`. */
const ownTags: Readonly<Record<OwnKey, number>> = {
  timestamp: Tag.TIMESTAMP,
  level: Tag.LEVEL,
  application: Tag.APPLICATION,
  message: Tag.MESSAGE,
  source_file: Tag.SOURCE_FILE,
  line_number: Tag.LINE_NUMBER,
  sequence: Tag.SEQUENCE,
  observed_timestamp: Tag.OBSERVED_TIMESTAMP,
  producer: Tag.PRODUCER,
  producer_sequence: Tag.PRODUCER_SEQUENCE,
  severity_number: Tag.SEVERITY_NUMBER,
  trace_id: Tag.TRACE_ID,
  span_id: Tag.SPAN_ID,
  trace_flags: Tag.TRACE_FLAGS,
  event_name: Tag.EVENT_NAME,
};

const OWN_TAG_MAX = Math.max(...Object.values(ownTags));

export class EntryValues {
  readonly #wire = new WireReader();
  /** By tag, up to the highest that anybody looks at. */
  readonly #own: (Slot | undefined)[] = Array.from({ length: OWN_TAG_MAX + 1 }, () => undefined);
  readonly #fields: { readonly key: Uint8Array; readonly slot: Slot }[] = [];
  readonly #slots: Slot[] = [];
  readonly #keySpan = new Slot();
  readonly #valueSpan = new Slot();
  readonly #effort: Effort;
  #isReading = false;

  constructor(effort: Effort) {
    this.#effort = effort;
  }

  /** Where the value of `key` will be found after `read`. */
  slotOf(key: Key): Slot {
    if (key.kind === "field") {
      const slot = this.#newSlot();
      this.#fields.push({ key: Buffer.from(key.name, "utf8"), slot });
      return slot;
    }
    const tag = ownTags[key.name];
    return (this.#own[tag] ??= this.#newSlot());
  }

  /** Forgets the entry that is half read. */
  giveUp(): void {
    this.#isReading = false;
  }

  /** Finds the values in the entry `bytes[start..end)`. undefined: the effort is spent, the next call goes on. */
  read(bytes: Uint8Array, start: number, end: number): true | undefined {
    const wire = this.#wire;
    const effort = this.#effort;
    if (!this.#isReading) {
      for (const slot of this.#slots) slot.clear();
      wire.open(bytes, start, end);
      effort.left -= ENTRY_STEPS;
    }
    this.#isReading = true;
    while (wire.pos < wire.end) {
      if (effort.isSpent) return undefined;
      effort.left -= TAG_STEPS;
      const tag = wire.tag();
      if (tag === Tag.FIELDS && this.#fields.length > 0) {
        this.#readField();
        continue;
      }
      const slot = tag <= OWN_TAG_MAX ? this.#own[tag] : undefined;
      if (slot === undefined) {
        wire.skip(tag);
      } else if ((tag & 7) === WIRE_BYTES) {
        slot.end = wire.span();
        slot.start = wire.pos;
        wire.pos = slot.end;
      } else {
        wire.varint();
        slot.low = wire.low;
        slot.high = wire.high;
      }
    }
    this.#isReading = false;
    return true;
  }

  #readField(): void {
    const wire = this.#wire;
    const outerEnd = wire.enter();
    const keySpan = this.#keySpan;
    const valueSpan = this.#valueSpan;
    keySpan.clear();
    valueSpan.clear();
    while (wire.pos < wire.end) {
      const span = wire.tag() === MapTag.KEY ? keySpan : valueSpan;
      span.end = wire.span();
      span.start = wire.pos;
      wire.pos = span.end;
    }
    wire.leave(outerEnd);
    this.#effort.left -= FIELD_STEPS;
    for (const { key, slot } of this.#fields) {
      this.#effort.left -= key.length === keySpan.end - keySpan.start ? FIELD_STEPS + key.length : 1;
      if (!isEqual(wire.bytes, keySpan.start, keySpan.end, key)) continue;
      slot.start = valueSpan.start;
      slot.end = valueSpan.end;
    }
  }

  #newSlot(): Slot {
    const slot = new Slot();
    this.#slots.push(slot);
    return slot;
  }
}

export function isEqual(bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) {
    if (bytes[start + i] !== wanted[i]) return false;
  }
  return true;
}
