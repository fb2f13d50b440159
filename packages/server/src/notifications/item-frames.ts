// Frames of Notification. What is stored is copied, and what depends on the reader written behind it: protobuf takes fields in
// any order. Golden-tested against protobuf-es (item-frames.test.ts).
//
// IF1. A notification that is the same for all readers (nobody's state, no reader's cursor) is made into a frame once, and
//      its bytes are shared while it is new.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type NotificationControlSchema, NotificationSchema, RemovalReason } from "@sluice/api";
import { FRAME_HEADER_BYTES, frameOf } from "@sluice/rpc";
import type { ByteSink } from "../stream/byte-sink.ts";
import { isText, WIRE_BYTES, WireReader } from "../stream/wire.ts";
import type { InboxItem, ItemState, RemovalName } from "./contract.ts";

/** Fields of Notification; all numbers are below 16: each tag is one byte. */
const Tag = { ID: 0x0a, TYPE: 0x12, CURSOR: 0x4a, TOPIC: 0x52, EXPIRES_AT: 0x60, STATE: 0x72, SILENT: 0x78 } as const;
const StateTag = { SEEN: 0x08, READ: 0x10, ARCHIVED: 0x18, SNOOZED_UNTIL: 0x20, REVISION: 0x28 } as const;
const NS_PER_MS = 1_000_000n;
/** Broadcasts that may be new at the same time. */
const SHARED_MAX = 16;

export const REMOVAL_REASONS: Readonly<Record<RemovalName, RemovalReason>> = {
  evicted: RemovalReason.EVICTED,
  expired: RemovalReason.EXPIRED,
  replaced: RemovalReason.REPLACED,
  deleted: RemovalReason.DELETED,
};

/** Appends a frame. @param body as it is stored */
export function writeItem(
  sink: ByteSink,
  item: InboxItem,
  { body, cursor }: { body: Uint8Array; cursor: string },
): void {
  const start = sink.used;
  sink.reserve(FRAME_HEADER_BYTES);
  sink.used += FRAME_HEADER_BYTES;
  writeFields(sink, item, { body, cursor });
  sink.bytes[start] = 0;
  sink.bytes.writeUInt32BE(sink.used - start - FRAME_HEADER_BYTES, start + 1);
}

/** Appends the message alone, as an answer holds it. */
export function writeFields(
  sink: ByteSink,
  { id, topic, expiresAtMs, state, silent }: InboxItem,
  { body, cursor }: { readonly body: Uint8Array; readonly cursor: string },
): void {
  sink.raw(body, 0, body.length);
  sink.textField(Tag.ID, String(id));
  if (cursor !== "") sink.textField(Tag.CURSOR, cursor);
  if (topic !== "") sink.textField(Tag.TOPIC, topic);
  if (expiresAtMs !== 0) writeTime(sink, Tag.EXPIRES_AT, expiresAtMs);
  if (state.revision !== 0) writeState(sink, state);
  if (silent) sink.varintField(Tag.SILENT, 1);
}

function writeState(sink: ByteSink, { seen, read, archived, snoozedUntilMs, revision }: ItemState): void {
  sink.varint(Tag.STATE);
  const lengthAt = sink.used;
  // Three flags, a time of ten bytes at most, a revision of eight: the length is one byte.
  sink.varint(0);
  if (seen) sink.varintField(StateTag.SEEN, 1);
  if (read) sink.varintField(StateTag.READ, 1);
  if (archived) sink.varintField(StateTag.ARCHIVED, 1);
  if (snoozedUntilMs !== 0) writeTime(sink, StateTag.SNOOZED_UNTIL, snoozedUntilMs);
  sink.varintField(StateTag.REVISION, revision);
  sink.bytes[lengthAt] = sink.used - lengthAt - 1;
}

function writeTime(sink: ByteSink, tag: number, ms: number): void {
  const ns = BigInt(ms) * NS_PER_MS;
  sink.varint64Field(tag, Number(ns & 0xffff_ffffn), Number(ns >> 32n));
}

/** A control that only notifications have. */
export function controlFrame(kind: MessageInitShape<typeof NotificationControlSchema>["kind"] & {}): Uint8Array {
  return frameOf(toBinary(NotificationSchema, create(NotificationSchema, { control: { kind } })));
}

/** The type that stands in a stored notification. */
export function typeIn(body: Uint8Array): string {
  const reader = new WireReader();
  reader.open(body, 0, body.length);
  while (reader.pos < reader.end) {
    const tag = reader.tag();
    if (tag === Tag.TYPE && (tag & 7) === WIRE_BYTES) {
      const end = reader.span();
      return isText(body, reader.pos, end)
        ? Buffer.from(body.buffer, body.byteOffset).toString("utf8", reader.pos, end)
        : "";
    }
    reader.skip(tag);
  }
  return "";
}

interface SharedFrame {
  readonly sequence: number;
  readonly topic: string;
  readonly frame: Uint8Array;
}

/** IF1. The newest of them. */
export class SharedFrames {
  readonly #frames: SharedFrame[] = [];

  find(sequence: number, topic: string): Uint8Array | undefined {
    for (let i = this.#frames.length - 1; i >= 0; i--) {
      const shared = this.#frames[i]!;
      if (shared.sequence === sequence && shared.topic === topic) return shared.frame;
    }
    return undefined;
  }

  add(sequence: number, topic: string, frame: Uint8Array): void {
    if (this.#frames.length === SHARED_MAX) this.#frames.shift();
    this.#frames.push({ sequence, topic, frame });
  }
}
