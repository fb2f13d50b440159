// Reads stored records of notifications. What was published is read by hand, without title, message and metadata: a store is
// opened without them.
import { fromBinary } from "@bufbuild/protobuf";
import { ItemHolderSchema, NotificationRecordSchema } from "@sluice/api";
import type { RecordReader } from "../../journal/contract.ts";
import { FRAME_HEADER_BYTES } from "../../journal/layout.ts";
import { WireReader } from "../../stream/wire.ts";
import type { AppliedRecord, KindOf } from "../engine/records.ts";
import { RecordKind } from "./encode.ts";

const PUBLISHED_TAG = (RecordKind.PUBLISHED << 3) | 2;
const ITEM_TAG = (RecordKind.ITEM << 3) | 2;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class NotificationRecordReader implements RecordReader<AppliedRecord> {
  readonly #wire = new WireReader();
  #buffer: Buffer = Buffer.alloc(0);
  bodyStart = 0;
  bodyEnd = 0;

  read(bytes: Uint8Array, start: number, end: number): AppliedRecord {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.bodyStart = 0;
    this.bodyEnd = 0;
    const wire = this.#wire;
    wire.open(bytes, start, end);
    const tag = wire.tag();
    if (tag !== PUBLISHED_TAG && tag !== ITEM_TAG) {
      return { kind: fromBinary(NotificationRecordSchema, this.#buffer.subarray(start, end)).kind, bodyBytes: 0 };
    }
    const outerEnd = wire.enter();
    const kind: AppliedRecord["kind"] =
      tag === ITEM_TAG
        ? { case: "item", value: this.#readItem() }
        : { case: "published", value: this.#readPublished() };
    wire.leave(outerEnd);
    if (wire.hasFailed) throw new RangeError("Cannot read a record: its message is not whole");
    return { kind, bodyBytes: this.bodyEnd - this.bodyStart };
  }

  #readPublished(): KindOf<"published"> {
    const wire = this.#wire;
    const userIds: string[] = [];
    const topics: string[] = [];
    let ttlMsByUser: bigint[] = [];
    const published: Mutable<KindOf<"published">> = {};
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 10) published.notification = this.#readNotification();
      else if (tag === 18) userIds.push(this.#text());
      else if (tag === 26) topics.push(this.#text());
      else if (tag === 32) published.everyone = wire.varint() !== 0;
      else if (tag === 42) published.idempotencyKey = this.#text();
      else if (tag === 48) published.ttlMs = wire.int64();
      else if (tag === 56) published.deliverAt = wire.int64();
      else if (tag === 64) published.at = wire.int64();
      else if (tag === 74) ttlMsByUser = wire.int64s();
      else wire.skip(tag);
    }
    return { ...published, userIds, topics, ttlMsByUser };
  }

  #readNotification(): NonNullable<KindOf<"published">["notification"]> {
    const wire = this.#wire;
    const outerEnd = wire.enter();
    this.bodyStart = wire.pos;
    this.bodyEnd = wire.end;
    let type = "";
    let priority = 0;
    let collapseKey = "";
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 18) type = this.#text();
      else if (tag === 48) priority = wire.varint();
      else if (tag === 90) collapseKey = this.#text();
      else wire.skip(tag);
    }
    wire.leave(outerEnd);
    return { type, priority, collapseKey };
  }

  #readItem(): KindOf<"item"> {
    const wire = this.#wire;
    const holders: NonNullable<KindOf<"item">["holders"]> = [];
    const item: Mutable<KindOf<"item">> = {};
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === 8) item.id = wire.uint64();
      else if (tag === 16) item.sequence = wire.uint64();
      else if (tag === 26) {
        const outerEnd = wire.enter();
        item.published = this.#readPublished();
        wire.leave(outerEnd);
      } else if (tag === 32) item.expiresAt = wire.int64();
      else if (tag === 42) {
        const end = wire.span();
        holders.push(fromBinary(ItemHolderSchema, this.#buffer.subarray(wire.pos, end)));
        wire.pos = end;
      } else if (tag === 48) item.deliveredAt = wire.int64();
      else wire.skip(tag);
    }
    return { ...item, holders };
  }

  #text(): string {
    const wire = this.#wire;
    const end = wire.span();
    const text = this.#buffer.toString("utf8", wire.pos, end);
    wire.pos = end;
    return text;
  }
}

const finder = new WireReader();

/** The stored notification in a frame; undefined: it has none. */
export function findNotification(frame: Uint8Array): Uint8Array | undefined {
  if (frame.length <= FRAME_HEADER_BYTES) return undefined;
  finder.open(frame, FRAME_HEADER_BYTES, frame.length);
  const tag = finder.tag();
  if (tag !== PUBLISHED_TAG && tag !== ITEM_TAG) return undefined;
  finder.enter();
  if (tag === ITEM_TAG && !enterField(26)) return undefined;
  return enterField(10) ? frame.subarray(finder.pos, finder.end) : undefined;
}

/** Moves into the message of a field; false: there is none. */
function enterField(wanted: number): boolean {
  while (finder.pos < finder.end) {
    const tag = finder.tag();
    if (tag === wanted) {
      finder.enter();
      return !finder.hasFailed;
    }
    finder.skip(tag);
  }
  return false;
}
