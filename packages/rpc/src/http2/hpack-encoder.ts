// Encodes header blocks (RFC 7541) without any dynamic-table reference, so that one encoding serves every connection.
import type { HeaderBlock } from "../transport.ts";
import { STATIC_TABLE } from "./hpack-table.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";

const INDEX_BY_NAME = new Map<string, number>();
const INDEX_BY_FIELD = new Map<string, number>();
for (const [place, field] of STATIC_TABLE.entries()) {
  if (!INDEX_BY_NAME.has(field.name)) INDEX_BY_NAME.set(field.name, place + 1);
  if (field.value !== "") INDEX_BY_FIELD.set(`${field.name}\n${field.value}`, place + 1);
}

/** Credentials: no proxy on the way may keep them in a table (RFC 7541 §7.1.3). */
const NEVER_INDEXED = new Set(["authorization", "proxy-authorization", "cookie", "set-cookie"]);

const INDEXED = 0x80;
const LITERAL = 0x00;
const LITERAL_NEVER_INDEXED = 0x10;
const SIZE_UPDATE = 0x20;
/** The most that an integer takes here. */
const INTEGER_BYTES_MAX = 6;

/** The block's encoded form, made on first use and kept in the block. */
export function encodedBlock(block: HeaderBlock): Uint8Array {
  return (block.encoded ??= encodeFields(block.fields));
}

/** @param fields name, value, …; lower-case names, one latin1 character per byte. */
export function encodeFields(fields: readonly string[]): Uint8Array {
  let bytesMax = 0;
  for (const text of fields) bytesMax += text.length + 2 * INTEGER_BYTES_MAX;
  const out = Buffer.allocUnsafe(bytesMax);
  let at = 0;
  for (let place = 0; place < fields.length; place += 2) at = writeField(out, at, fields[place]!, fields[place + 1]!);
  return Uint8Array.prototype.slice.call(out, 0, at);
}

/** A dynamic table size update (RFC 7541 §6.3), to be put before a block. */
export function encodeSizeUpdate(bytesMax: number): Uint8Array {
  const out = new Uint8Array(INTEGER_BYTES_MAX);
  return out.subarray(0, writeInteger(out, 0, SIZE_UPDATE, 5, bytesMax));
}

function writeField(out: Buffer, at: number, name: string, value: string): number {
  const whole = INDEX_BY_FIELD.get(`${name}\n${value}`);
  if (whole !== undefined) return writeInteger(out, at, INDEXED, 7, whole);
  const named = INDEX_BY_NAME.get(name) ?? 0;
  let place = writeInteger(out, at, NEVER_INDEXED.has(name) ? LITERAL_NEVER_INDEXED : LITERAL, 4, named);
  if (named === 0) place = writeText(out, place, name);
  return writeText(out, place, value);
}

function writeText(out: Buffer, at: number, text: string): number {
  const huffmanBytes = huffmanLength(text);
  if (huffmanBytes < text.length) {
    return encodeHuffman(text, out, writeInteger(out, at, 0x80, 7, huffmanBytes));
  }
  const place = writeInteger(out, at, 0, 7, text.length);
  return place + out.write(text, place, "latin1");
}

/** RFC 7541 §5.1. */
function writeInteger(out: Uint8Array, at: number, pattern: number, prefixBits: number, value: number): number {
  const mask = (1 << prefixBits) - 1;
  let place = at;
  if (value < mask) {
    out[place++] = pattern | value;
    return place;
  }
  out[place++] = pattern | mask;
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out[place++] = 0x80 | (rest % 128);
  out[place++] = rest;
  return place;
}
