// Encodes records of notifications. What is published, and what is carried of it, is written by hand, byte for byte as
// protobuf-es writes it (codec.test.ts): sizes first, then the fields in the order of their numbers. All else is rare.
//
// E1. Fields at their default are left out; repeated numbers are packed; a map's entries have both key and value.
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  BecameDueSchema,
  DeviceChangedSchema,
  ItemHolderSchema,
  type NotificationSchema,
  PolicyChangedSchema,
  RemovedSchema,
  ServerSnapshotSchema,
  StateSetSchema,
  TopicsChangedSchema,
  UserDeletedSchema,
  UserSnapshotSchema,
  UserTouchedSchema,
} from "@sluice/api";
import type { RecordEncoder } from "../../journal/contract.ts";
import { varintSize, writeVarint } from "../../stream/wire.ts";
import {
  listFieldSize,
  narrowFieldSize,
  packedSize,
  textFieldSize,
  textSize,
  wideFieldSize,
  writeNarrow,
  writePacked,
  writeText,
  writeTextField,
  writeWide,
} from "../../stream/wire-fields.ts";
import type { NewNotificationRecord } from "../contract.ts";
import type { KindOf } from "../engine/records.ts";

type NewNotification = MessageInitShape<typeof NotificationSchema>;

const NOTHING = new Uint8Array(0);

/** Field numbers of the kinds. */
export const RecordKind = {
  PUBLISHED: 1,
  DUE: 2,
  STATE: 3,
  REMOVED: 4,
  TOUCHED: 5,
  TOPICS: 6,
  DEVICE: 7,
  POLICY: 8,
  DELETED: 9,
  ITEM: 10,
  USER: 11,
  SERVER: 12,
} as const;

/** Measures a record, then writes it where there is room. Used again for each. */
export class NotificationRecordEncoder implements RecordEncoder<NewNotificationRecord> {
  #record: NewNotificationRecord = {};
  #number = 0;
  #size = 0;
  /** The stored notification, where there is one already. */
  #body: Uint8Array | undefined;
  /** The kind's message, when protobuf-es encoded it. */
  #encoded: Uint8Array = NOTHING;
  #bodySize = 0;
  #publishedSize = 0;
  #holders: Uint8Array[] = [];

  measure(record: NewNotificationRecord, body?: Uint8Array): number {
    this.#record = record;
    this.#body = body;
    this.#size = this.#measureKind();
    return 1 + varintSize(this.#size) + this.#size;
  }

  write(bytes: Buffer, start: number): number {
    bytes[start] = (this.#number << 3) | 2;
    const at = writeVarint(bytes, start + 1, this.#size);
    const { kind } = this.#record;
    if (kind?.case === "published") return this.#writePublished(bytes, at, kind.value);
    if (kind?.case === "item") return this.#writeItem(bytes, at, kind.value);
    bytes.set(this.#encoded, at);
    return at + this.#encoded.length;
  }

  #measureKind(): number {
    const { kind } = this.#record;
    switch (kind?.case) {
      case "published":
        this.#number = RecordKind.PUBLISHED;
        return this.#measurePublished(kind.value);
      case "item":
        this.#number = RecordKind.ITEM;
        return this.#measureItem(kind.value);
      case "due":
        return this.#encode(RecordKind.DUE, BecameDueSchema, kind.value);
      case "state":
        return this.#encode(RecordKind.STATE, StateSetSchema, kind.value);
      case "removed":
        return this.#encode(RecordKind.REMOVED, RemovedSchema, kind.value);
      case "touched":
        return this.#encode(RecordKind.TOUCHED, UserTouchedSchema, kind.value);
      case "topics":
        return this.#encode(RecordKind.TOPICS, TopicsChangedSchema, kind.value);
      case "device":
        return this.#encode(RecordKind.DEVICE, DeviceChangedSchema, kind.value);
      case "policy":
        return this.#encode(RecordKind.POLICY, PolicyChangedSchema, kind.value);
      case "deleted":
        return this.#encode(RecordKind.DELETED, UserDeletedSchema, kind.value);
      case "user":
        return this.#encode(RecordKind.USER, UserSnapshotSchema, kind.value);
      case "server":
        return this.#encode(RecordKind.SERVER, ServerSnapshotSchema, kind.value);
      default:
        throw new TypeError("Cannot append a record of notifications: it is of no kind");
    }
  }

  #encode<S extends DescMessage>(number: number, schema: S, value: MessageInitShape<S>): number {
    this.#number = number;
    this.#encoded = toBinary(schema, create(schema, value));
    return this.#encoded.length;
  }

  #measurePublished(published: KindOf<"published">): number {
    const { notification, userIds = [], topics = [], everyone, idempotencyKey } = published;
    this.#bodySize = this.#body?.length ?? (notification === undefined ? 0 : measureNotification(notification));
    let size = 0;
    if (this.#body !== undefined || notification !== undefined) size += 1 + varintSize(this.#bodySize) + this.#bodySize;
    for (const each of userIds) size += elementSize(each);
    for (const each of topics) size += elementSize(each);
    size += everyone === true ? 2 : 0;
    size += textFieldSize(idempotencyKey) + wideFieldSize(published.ttlMs) + wideFieldSize(published.deliverAt);
    size += wideFieldSize(published.at) + listFieldSize(packedSize(published.ttlMsByUser));
    this.#publishedSize = size;
    return size;
  }

  #writePublished(bytes: Buffer, start: number, published: KindOf<"published">): number {
    const { notification, userIds = [], topics = [] } = published;
    let at = start;
    if (this.#body !== undefined || notification !== undefined) {
      bytes[at] = 10;
      at = writeVarint(bytes, at + 1, this.#bodySize);
      if (this.#body === undefined) at = writeNotification(bytes, at, notification!);
      else {
        bytes.set(this.#body, at);
        at += this.#bodySize;
      }
    }
    at = writeElements(bytes, at, 18, userIds);
    at = writeElements(bytes, at, 26, topics);
    at = writeNarrow(bytes, at, 32, published.everyone === true ? 1 : 0);
    at = writeTextField(bytes, at, 42, published.idempotencyKey);
    at = writeWide(bytes, at, 48, published.ttlMs);
    at = writeWide(bytes, at, 56, published.deliverAt);
    at = writeWide(bytes, at, 64, published.at);
    return writePacked(bytes, at, 74, published.ttlMsByUser, packedSize(published.ttlMsByUser));
  }

  #measureItem(item: KindOf<"item">): number {
    this.#holders = (item.holders ?? []).map((each) => toBinary(ItemHolderSchema, create(ItemHolderSchema, each)));
    let size = wideFieldSize(item.id) + wideFieldSize(item.sequence) + wideFieldSize(item.expiresAt);
    size += wideFieldSize(item.deliveredAt);
    if (item.published !== undefined) {
      const published = this.#measurePublished(item.published);
      size += 1 + varintSize(published) + published;
    }
    for (const each of this.#holders) size += 1 + varintSize(each.length) + each.length;
    return size;
  }

  #writeItem(bytes: Buffer, start: number, item: KindOf<"item">): number {
    let at = writeWide(bytes, start, 8, item.id);
    at = writeWide(bytes, at, 16, item.sequence);
    if (item.published !== undefined) {
      bytes[at] = 26;
      at = writeVarint(bytes, at + 1, this.#publishedSize);
      at = this.#writePublished(bytes, at, item.published);
    }
    at = writeWide(bytes, at, 32, item.expiresAt);
    for (const each of this.#holders) {
      bytes[at] = 42;
      at = writeVarint(bytes, at + 1, each.length);
      bytes.set(each, at);
      at += each.length;
    }
    return writeWide(bytes, at, 48, item.deliveredAt);
  }
}

/** Of a repeated text, which is written even when it is empty. */
function elementSize(text: string): number {
  const size = textSize(text);
  return 1 + varintSize(size) + size;
}

function writeElements(bytes: Buffer, start: number, tag: number, texts: readonly string[]): number {
  let at = start;
  for (const text of texts) {
    bytes[at] = tag;
    at = writeText(bytes, at + 1, text);
  }
  return at;
}

/** Bytes of a notification as it is stored: without id, cursor, state and the like. */
export function measureNotification(notification: NewNotification): number {
  let size = textFieldSize(notification.type) + textFieldSize(notification.title) + textFieldSize(notification.message);
  size += wideFieldSize(notification.timestamp) + narrowFieldSize(notification.priority);
  const { metadata } = notification;
  if (metadata !== undefined) {
    for (const key in metadata) {
      const entry = elementSize(key) + elementSize(metadata[key]!);
      size += 1 + varintSize(entry) + entry;
    }
  }
  return size + textFieldSize(notification.collapseKey) + textFieldSize(notification.actionUrl);
}

function writeNotification(bytes: Buffer, start: number, notification: NewNotification): number {
  let at = writeTextField(bytes, start, 18, notification.type);
  at = writeTextField(bytes, at, 26, notification.title);
  at = writeTextField(bytes, at, 34, notification.message);
  at = writeWide(bytes, at, 40, notification.timestamp);
  at = writeNarrow(bytes, at, 48, notification.priority);
  const { metadata } = notification;
  if (metadata !== undefined) {
    for (const key in metadata) {
      bytes[at] = 58;
      at = writeVarint(bytes, at + 1, elementSize(key) + elementSize(metadata[key]!));
      at = writeElements(bytes, at, 10, [key]);
      at = writeElements(bytes, at, 18, [metadata[key]!]);
    }
  }
  at = writeTextField(bytes, at, 90, notification.collapseKey);
  return writeTextField(bytes, at, 106, notification.actionUrl);
}
