// The rules of entry-scan.ts once more, as plainly as they can be written: one list of fields, no thought of speed.
import type { Limits } from "../../limits.ts";

interface Field {
  readonly number: number;
  readonly wireType: number;
  readonly value: bigint;
  readonly bytes: Uint8Array;
}

const TEXTS = new Set([2, 3, 4, 5, 20]);
const VARINTS = new Set([1, 6, 16, 19, 23]);

/** OTLP's messages: by field number, the wire type and, where more is to be looked at, what is within. */
const OTLP: Readonly<Record<string, Readonly<Record<number, readonly [wireType: number, within?: string]>>>> = {
  value: { 1: [2, "text"], 2: [0], 3: [0], 4: [1], 5: [2, "array"], 6: [2, "list"], 7: [2] },
  array: { 1: [2, "value"] },
  list: { 1: [2, "pair"] },
  pair: { 1: [2, "text"], 2: [2, "value"] },
  rest: { 1: [7], 2: [0], 3: [7], 5: [7], 6: [7], 7: [7], 8: [7], 9: [2], 10: [2], 11: [7], 12: [7] },
};
const OTLP_FIELDS = new Map([
  [21, "value"],
  [22, "pair"],
  [32, "rest"],
]);

/** The reason for which an entry is to be rejected; undefined: it passes. */
export function findFault(bytes: Uint8Array, limits: Limits): string | undefined {
  let applicationBytes = 0;
  let fieldCount = 0;
  for (const field of fieldsOf(bytes)) {
    if (field === "broken") return "MALFORMED";
    const { number, wireType, value } = field;
    if (isReserved(number)) return "RESERVED_FIELD";
    if (number > 32) continue;
    if (wireType !== (VARINTS.has(number) ? 0 : 2)) return "MALFORMED";
    if (TEXTS.has(number) && !isText(field.bytes)) return "INVALID_UTF8";
    if (!isOtlp(field.bytes, OTLP_FIELDS.get(number))) return "MALFORMED";
    if (number === 3) applicationBytes = field.bytes.length;
    if (number === 7) {
      if (++fieldCount > limits.entryFieldsMax) return "TOO_MANY_FIELDS";
      for (const part of fieldsOf(field.bytes)) {
        if (part === "broken" || part.wireType !== 2 || (part.number !== 1 && part.number !== 2)) return "MALFORMED";
        if (!isText(part.bytes)) return "INVALID_UTF8";
      }
    }
    if (number === 16 && value > 24n) return "INVALID_SEVERITY";
    if (number === 17 && ![0, 16].includes(field.bytes.length)) return "INVALID_TRACE_ID";
    if (number === 18 && ![0, 8].includes(field.bytes.length)) return "INVALID_SPAN_ID";
  }
  return applicationBytes > limits.applicationBytesMax ? "APPLICATION_TOO_LONG" : undefined;
}

/** Whether bytes are one of OTLP's messages, or a text; of undefined, anything. */
function isOtlp(bytes: Uint8Array, what: string | undefined): boolean {
  if (what === undefined) return true;
  if (what === "text") return isText(bytes);
  for (const part of fieldsOf(bytes, { hasReserved: false })) {
    if (part === "broken") return false;
    const [wireType, within] = OTLP[what]?.[part.number] ?? [part.wireType];
    if (part.wireType !== wireType || !isOtlp(part.bytes, within)) return false;
  }
  return true;
}

/** The fields of a message, one by one, and "broken" where they cannot be read on. */
function* fieldsOf(bytes: Uint8Array, options = { hasReserved: true }): Generator<Field | "broken", void, void> {
  let at = 0;
  const varint = (bytesMax: number, bits: bigint): bigint | undefined => {
    let value = 0n;
    for (let i = 0; i < bytesMax && at < bytes.length; i++) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return value < 1n << bits ? value : undefined;
    }
    return undefined;
  };
  while (at < bytes.length) {
    const tag = varint(5, 32n);
    if (tag === undefined || tag < 8n) return yield "broken";
    const number = Number(tag >> 3n);
    const wireType = Number(tag & 7n);
    // Whatever follows such a tag, the field itself is refused first.
    if (options.hasReserved && isReserved(number)) return yield { number, wireType, value: 0n, bytes };
    const value = wireType === 0 || wireType === 2 ? varint(10, 64n) : 0n;
    const length = { 0: 0n, 1: 8n, 2: value, 5: 4n }[wireType];
    if (value === undefined || length === undefined || length > BigInt(bytes.length - at)) return yield "broken";
    yield { number, wireType, value, bytes: bytes.subarray(at, at + Number(length)) };
    at += Number(length);
  }
}

function isReserved(number: number): boolean {
  return (number >= 8 && number <= 15) || (number >= 24 && number <= 31);
}

function isText(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
