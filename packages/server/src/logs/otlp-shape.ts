// The shapes of OTLP's messages, as far as an entry holds them encoded, and the check that bytes have one.
//
// O1. What passes can be read by every protobuf decoder, the strictest included, also inside of the messages that a reader
//     gets it in (E1): wire format, wire types of known fields, UTF-8 of every string, no deeper than decoders go.
// O2. Unknown fields pass: they are a newer OTLP's.
import { isText, WireReader } from "../stream/wire.ts";

type Kind = "text" | "bytes" | "varint" | "fixed32" | "fixed64" | "refused" | Shape;

/** Of each known field number: what it holds. */
export interface Shape {
  readonly fields: readonly (Kind | undefined)[];
}

/** Decoders stop at 100 messages within each other; an attribute is in four more when it is sent. */
const DEPTH_MAX = 90;

export const ANY_VALUE: { fields: (Kind | undefined)[] } = { fields: [] };
export const KEY_VALUE: Shape = { fields: [undefined, "text", ANY_VALUE] };
const ARRAY_VALUE: Shape = { fields: [undefined, ANY_VALUE] };
const KEY_VALUE_LIST: Shape = { fields: [undefined, KEY_VALUE] };
ANY_VALUE.fields = [undefined, "text", "varint", "varint", "fixed64", ARRAY_VALUE, KEY_VALUE_LIST, "bytes"];

const ENTITY_REF: Shape = { fields: [undefined, "text", "text", "text", "text"] };
const RESOURCE: Shape = { fields: [undefined, KEY_VALUE, "varint", ENTITY_REF] };
const SCOPE: Shape = { fields: [undefined, "text", "text", KEY_VALUE, "varint"] };
/** ResourceLogs and ScopeLogs, without their records. */
export const RESOURCE_HEAD: Shape = { fields: [undefined, RESOURCE, "refused", "text"] };
export const SCOPE_HEAD: Shape = { fields: [undefined, SCOPE, "refused", "text"] };

/** Of LogRecord only what an entry has no place for: odd severities and ids, and fields that are not known here. */
export const RECORD_REST: Shape = {
  fields: [
    undefined,
    "refused",
    "varint",
    "refused",
    undefined,
    "refused",
    "refused",
    "refused",
    "refused",
    "bytes",
    "bytes",
    "refused",
    "refused",
  ],
};

const WIRE_TYPES = { varint: 0, fixed64: 1, text: 2, bytes: 2, fixed32: 5 } as const;
const MESSAGE_WIRE_TYPE = 2;

const wire = new WireReader();

/** Whether `bytes[start..end)` is a message of this shape. */
export function isPart(bytes: Uint8Array, start: number, end: number, shape: Shape): boolean {
  wire.open(bytes, start, end);
  checkMessage(shape, DEPTH_MAX);
  return !wire.hasFailed;
}

function checkMessage(shape: Shape, depth: number): void {
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    const kind = shape.fields[tag >>> 3];
    if (kind === undefined) {
      wire.skip(tag);
    } else if (typeof kind === "object") {
      if ((tag & 7) !== MESSAGE_WIRE_TYPE || depth === 0) {
        wire.fail();
        return;
      }
      const outerEnd = wire.enter();
      checkMessage(kind, depth - 1);
      wire.leave(outerEnd);
    } else if (kind === "refused" || (tag & 7) !== WIRE_TYPES[kind]) {
      wire.fail();
    } else if (kind === "text") {
      const end = wire.span();
      if (!isText(wire.bytes, wire.pos, end)) wire.fail();
      else wire.pos = end;
    } else {
      wire.skip(tag);
    }
  }
}
