// Encodes what most messages are made of straight into gRPC frames, without an array of its own for each message.
//
// protobuf-es gives each message two arrays outside V8's heap, and these cost more than all else of a small message (45 % of
// the server's time in benchmark `stream-messages`). Here all are written into one buffer, and copied out of it once.
//
// E1. The bytes are those of protobuf-es, or there are none: for whatever is not known here (a kind of field, a value that
//     needs checking or conversion, unknown fields) the answer is undefined, and protobuf-es decides, errors included.
import { Buffer } from "node:buffer";
import { ScalarType, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { frameMemory } from "./frame-memory.ts";
import { FRAME_HEADER_BYTES, writeFrameHeader } from "./frames.ts";

/** A message, or what `create` would make one of, as a frame; undefined: protobuf-es has to encode it. */
export type MessageEncoder = (message: unknown) => Uint8Array | undefined;

type Fields = Readonly<Record<string, unknown>>;
/**
 * These write at `at`, and answer false when protobuf-es has to do the whole message. `isTyped`: the message that they
 * write, or that their value is in, is one that `create` has made, and so must be all that is in it.
 */
type WriteMessage = (fields: Fields, isTyped: boolean) => boolean;
type WriteValue = (value: unknown, isTyped: boolean) => boolean;

/** Enough for most messages. What is larger moves to a room of `frameMemory`. */
const SMALL = Buffer.allocUnsafeSlow(16 * 1024);

let scratch: Buffer = SMALL;
let at = 0;
/** A getter of a message may encode another one meanwhile. */
let isWriting = false;

/**
 * The encoder of a type; undefined when it has fields that are not known here.
 * @param isFreed who sends the frames gives those that are large back to `frameMemory`
 */
export function createMessageEncoder(desc: DescMessage, { isFreed }: { isFreed: boolean }): MessageEncoder | undefined {
  const write = compileMessage(desc, new Set());
  if (write === undefined) return undefined;
  return (message) => {
    if (typeof message !== "object" || message === null || isWriting) return undefined;
    isWriting = true;
    at = FRAME_HEADER_BYTES;
    let isWritten = false;
    try {
      isWritten = write(message as Fields, false);
    } finally {
      isWriting = false;
      if (!isWritten) leaveRoom();
    }
    if (!isWritten) return undefined;
    writeFrameHeader(scratch, 0, at - FRAME_HEADER_BYTES);
    const room = scratch;
    if (isFreed && room !== SMALL && 2 * at >= room.length) {
      scratch = SMALL;
      return frameMemory.frameIn(room, at);
    }
    const frame = Buffer.allocUnsafe(at);
    room.copy(frame, 0, 0, at);
    leaveRoom();
    return frame;
  };
}

function leaveRoom(): void {
  if (scratch === SMALL) return;
  frameMemory.give(scratch);
  scratch = SMALL;
}

/** @param outer the types that this one is a part of: a recursive one is left to protobuf-es */
function compileMessage(desc: DescMessage, outer: ReadonlySet<DescMessage>): WriteMessage | undefined {
  // Wrappers and structs are other things in a message than they are by themselves.
  if (outer.has(desc) || desc.typeName.startsWith("google.protobuf.")) return undefined;
  const inner = new Set(outer).add(desc);
  const writers: WriteMessage[] = [];
  for (const field of desc.fields.toSorted((a, b) => a.number - b.number)) {
    const write = compileField(field, inner);
    if (write === undefined) return undefined;
    writers.push(write);
  }
  return (fields, isInTyped) => {
    const type = fields["$typeName"];
    const isTyped = type === desc.typeName;
    if ((!isTyped && (isInTyped || type !== undefined)) || fields["$unknown"] !== undefined) return false;
    for (let index = 0; index < writers.length; index++) if (!writers[index]!(fields, isTyped)) return false;
    return true;
  };
}

function compileField(field: DescField, outer: ReadonlySet<DescMessage>): WriteMessage | undefined {
  if (field.oneof !== undefined || field.fieldKind === "map") return undefined;
  const write = compileValue(field, outer);
  if (write === undefined) return undefined;
  const { localName } = field;
  if (field.fieldKind === "list") {
    return (fields, isTyped) => {
      const items = fields[localName];
      if (items === undefined) return !isTyped;
      if (!Array.isArray(items)) return false;
      for (let index = 0; index < items.length; index++) if (!write(items[index], isTyped)) return false;
      return true;
    };
  }
  if (field.presence === IMPLICIT) {
    const zero = zeroOf(field);
    return (fields, isTyped) => {
      const value = fields[localName];
      if (value === undefined) return !isTyped;
      return value === zero || (zero === EMPTY && isEmpty(value)) || write(value, isTyped);
    };
  }
  return (fields, isTyped) => {
    const value = fields[localName];
    // Of a message, what is not its own is a default.
    return value === undefined || (isTyped && !Object.hasOwn(fields, localName)) || write(value, isTyped);
  };
}

/** FeatureSet.FieldPresence.IMPLICIT of descriptor.proto: such a field is left out when it has its zero value. */
const IMPLICIT = 2;
const EMPTY = new Uint8Array(0);

function zeroOf(field: DescField): unknown {
  switch (field.scalar) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BYTES:
      return EMPTY;
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return 0n;
    default:
      return 0;
  }
}

function isEmpty(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === 0;
}

const WIRE_VARINT = 0;
const WIRE_LENGTH = 2;

function compileValue(field: DescField, outer: ReadonlySet<DescMessage>): WriteValue | undefined {
  const kind = field.fieldKind === "list" ? field.listKind : field.fieldKind;
  if (kind === "message" && field.message !== undefined) {
    return field.delimitedEncoding ? undefined : compileChild(field.number, field.message, outer);
  }
  const scalar = kind === "enum" ? ScalarType.INT32 : field.scalar;
  // Numbers in lists are packed, mostly.
  if (field.fieldKind === "list" && scalar !== ScalarType.STRING && scalar !== ScalarType.BYTES) return undefined;
  const lengthTag = field.number * 8 + WIRE_LENGTH;
  const varintTag = field.number * 8 + WIRE_VARINT;
  switch (scalar) {
    case ScalarType.STRING:
      return (value) => typeof value === "string" && writeText(lengthTag, value);
    case ScalarType.BYTES:
      return (value) => value instanceof Uint8Array && writeBytes(lengthTag, value);
    case ScalarType.BOOL:
      return (value) => typeof value === "boolean" && writeNumber(varintTag, value ? 1 : 0);
    case ScalarType.INT32:
      return (value) => isWithin(value, 0x7fffffff) && writeNumber(varintTag, value);
    case ScalarType.UINT32:
      return (value) => isWithin(value, 0xffffffff) && writeNumber(varintTag, value);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return (value) =>
        typeof value === "bigint" && value >= 0n && value <= SAFE_MAX && writeNumber(varintTag, Number(value));
    default:
      return undefined;
  }
}

const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

function isWithin(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
}

function compileChild(number: number, desc: DescMessage, outer: ReadonlySet<DescMessage>): WriteValue | undefined {
  const write = compileMessage(desc, outer);
  if (write === undefined) return undefined;
  const tag = number * 8 + WIRE_LENGTH;
  return (value, isTyped) => {
    if (typeof value !== "object" || value === null) return false;
    reserve(VARINT_BYTES_MAX + 1);
    writeVarint(tag);
    const start = ++at;
    if (!write(value as Fields, isTyped)) return false;
    const length = at - start;
    // Room for one byte of length was left; most need no more.
    const more = varintBytes(length) - 1;
    if (more > 0) {
      reserve(more);
      scratch.copyWithin(start + more, start, at);
    }
    at = start - 1;
    writeVarint(length);
    at += length;
    return true;
  };
}

// -- Writing ---------------------------------------------------------------------------------------------------------

/** Of a number that is safe. */
const VARINT_BYTES_MAX = 8;

function reserve(bytes: number): void {
  if (at + bytes <= scratch.length) return;
  const larger = frameMemory.take(at + bytes);
  scratch.copy(larger, 0, 0, at);
  leaveRoom();
  scratch = larger;
}

/** Room must have been reserved. */
function writeVarint(value: number): void {
  let rest = value;
  for (; rest > 0x7fffffff; rest = Math.floor(rest / 128)) scratch[at++] = (rest % 128) | 0x80;
  for (; rest > 0x7f; rest >>>= 7) scratch[at++] = (rest & 0x7f) | 0x80;
  scratch[at++] = rest;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

function writeNumber(tag: number, value: number): boolean {
  reserve(2 * VARINT_BYTES_MAX);
  writeVarint(tag);
  writeVarint(value);
  return true;
}

function writeBytes(tag: number, value: Uint8Array): boolean {
  reserve(2 * VARINT_BYTES_MAX + value.length);
  writeVarint(tag);
  writeVarint(value.length);
  scratch.set(value, at);
  at += value.length;
  return true;
}

function writeText(tag: number, value: string): boolean {
  // At most three bytes of UTF-8 for each unit of UTF-16.
  reserve(2 * VARINT_BYTES_MAX + 3 * value.length);
  writeVarint(tag);
  const lengthAt = at;
  // The length comes first and is known last: as many bytes are left for it as ASCII needs.
  const guess = varintBytes(value.length);
  const start = lengthAt + guess;
  const length = scratch.write(value, start, "utf8");
  const needed = varintBytes(length);
  if (needed !== guess) scratch.copyWithin(lengthAt + needed, start, start + length);
  writeVarint(length);
  at += length;
  return true;
}
