// Writes the parts of a header block (RFC 7541 §5, §6).
import { STATIC_TABLE } from "./hpack-table.ts";
import { encodeHuffman, huffmanLength } from "./huffman.ts";

const INDEX_BY_NAME = new Map<string, number>();
const INDEX_BY_FIELD = new Map<string, ReadonlyMap<string, number>>();
for (const [place, { name, value }] of STATIC_TABLE.entries()) {
  if (!INDEX_BY_NAME.has(name)) INDEX_BY_NAME.set(name, place + 1);
  if (value !== "") INDEX_BY_FIELD.set(name, new Map(INDEX_BY_FIELD.get(name)).set(value, place + 1));
}

/** The first bits of a field or string, and how many bits of the byte they leave for a number. */
export interface Form {
  readonly pattern: number;
  readonly bits: number;
}
export const INDEXED: Form = { pattern: 0x80, bits: 7 };
export const LITERAL_INDEXED: Form = { pattern: 0x40, bits: 6 };
export const SIZE_UPDATE: Form = { pattern: 0x20, bits: 5 };
export const LITERAL_NEVER_INDEXED: Form = { pattern: 0x10, bits: 4 };
export const LITERAL: Form = { pattern: 0x00, bits: 4 };
const HUFFMAN_TEXT: Form = { pattern: 0x80, bits: 7 };
const PLAIN_TEXT: Form = { pattern: 0x00, bits: 7 };

/** The most that an integer takes here. */
export const INTEGER_BYTES_MAX = 6;

/** More than any encoding of these fields takes, a size update before them included. */
export function encodedBytesMax(fields: readonly string[]): number {
  let bytes = INTEGER_BYTES_MAX;
  for (const text of fields) bytes += text.length + 2 * INTEGER_BYTES_MAX;
  return bytes;
}

/** The index in the static table of a whole field; undefined when it is not there. */
export function staticIndex(name: string, value: string): number | undefined {
  return INDEX_BY_FIELD.get(name)?.get(value);
}

/** The index in the static table of a field with this name; 0 when there is none. */
export function staticNameIndex(name: string): number {
  return INDEX_BY_NAME.get(name) ?? 0;
}

/**
 * Each writer returns the place after what it wrote.
 * @param nameIndex of the name in either table; 0 writes it as text.
 */
export function writeLiteral(
  out: Buffer,
  at: number,
  form: Form,
  nameIndex: number,
  name: string,
  value: string,
): number {
  const place = writeInteger(out, at, form, nameIndex);
  return writeText(out, nameIndex === 0 ? writeText(out, place, name) : place, value);
}

function writeText(out: Buffer, at: number, text: string): number {
  const huffmanBytes = huffmanLength(text);
  if (huffmanBytes < text.length) {
    return encodeHuffman(text, out, writeInteger(out, at, HUFFMAN_TEXT, huffmanBytes));
  }
  const place = writeInteger(out, at, PLAIN_TEXT, text.length);
  return place + out.write(text, place, "latin1");
}

export function writeInteger(out: Uint8Array, at: number, form: Form, value: number): number {
  const mask = (1 << form.bits) - 1;
  let place = at;
  if (value < mask) {
    out[place++] = form.pattern | value;
    return place;
  }
  out[place++] = form.pattern | mask;
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) out[place++] = 0x80 | (rest % 128);
  out[place++] = rest;
  return place;
}
