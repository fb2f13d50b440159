// What RFC 9113 §8 says about single fields, decided once per field and kept with it in the tables of HPACK.

/** What a field means to the protocol. Pseudo-header fields are bits, so that a list's are one mask. */
export const FieldKind = {
  ORDINARY: 0,
  METHOD: 1,
  SCHEME: 2,
  PATH: 4,
  AUTHORITY: 8,
  STATUS: 16,
  /** `:method` with the value CONNECT, which turns the rules for the others round (§8.5). */
  CONNECT: 32,
  CONTENT_LENGTH: 64,
  TE: 128,
  /** No message may have it: wrong characters, an unknown pseudo-header field, a field that is about HTTP/1.1's connection. */
  MALFORMED: 256,
} as const;

const PSEUDO_MASK = FieldKind.METHOD | FieldKind.SCHEME | FieldKind.PATH | FieldKind.AUTHORITY | FieldKind.STATUS;

const NAMED_KINDS: ReadonlyMap<string, number> = new Map([
  [":method", FieldKind.METHOD],
  [":scheme", FieldKind.SCHEME],
  [":path", FieldKind.PATH],
  [":authority", FieldKind.AUTHORITY],
  [":status", FieldKind.STATUS],
  ["content-length", FieldKind.CONTENT_LENGTH],
  ["te", FieldKind.TE],
  ["connection", FieldKind.MALFORMED],
  ["keep-alive", FieldKind.MALFORMED],
  ["proxy-connection", FieldKind.MALFORMED],
  ["transfer-encoding", FieldKind.MALFORMED],
  ["upgrade", FieldKind.MALFORMED],
]);

/** RFC 9110's token without the upper case that HTTP/2 forbids. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** NUL, CR and LF nowhere, no space or tab at either end (RFC 9113 §8.2.1). */
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/;
/** RFC 9110 §9.1; the RFC's own methods are upper-case, others need not be. */
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 3986 §3.1. */
const SCHEME = /^[A-Za-z][A-Za-z0-9+\-.]*$/;
/** What begins with a slash and has no space or control character in it, or the asterisk of OPTIONS (RFC 9113 §8.3.1). */
const PATH = /^(?:\/[!-~\u0080-\u00ff]*|\*)$/;
const DIGITS = /^[0-9]{1,15}$/;
const STATUS = /^[1-9][0-9]{2}$/;

export function isPseudo(kind: number): boolean {
  return (kind & PSEUDO_MASK) !== 0;
}

/** The kind that a name gives to its field. */
export function kindOfName(name: string): number {
  return NAMED_KINDS.get(name) ?? (NAME.test(name) ? FieldKind.ORDINARY : FieldKind.MALFORMED);
}

/** The kind of a whole field; `nameKind` is its name's. */
export function kindOfField(nameKind: number, value: string): number {
  if (BAD_VALUE.test(value)) return FieldKind.MALFORMED;
  switch (nameKind) {
    case FieldKind.ORDINARY:
      return nameKind;
    case FieldKind.METHOD:
      if (value === "CONNECT") return FieldKind.METHOD | FieldKind.CONNECT;
      return METHOD.test(value) ? nameKind : FieldKind.MALFORMED;
    case FieldKind.SCHEME:
      return SCHEME.test(value) ? nameKind : FieldKind.MALFORMED;
    case FieldKind.PATH:
      return PATH.test(value) ? nameKind : FieldKind.MALFORMED;
    case FieldKind.STATUS:
      return STATUS.test(value) ? nameKind : FieldKind.MALFORMED;
    case FieldKind.CONTENT_LENGTH:
      return DIGITS.test(value) ? nameKind : FieldKind.MALFORMED;
    case FieldKind.TE:
      return value === "trailers" ? nameKind : FieldKind.MALFORMED;
    default:
      return nameKind;
  }
}
