// Base64 that arrives in pieces, as gRPC-Web's text form has it: a row of segments that may each end in padding.

const GROUPS = /^(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*$/;

export class Base64Stream {
  /** The beginning of a group of four. */
  #rest = "";

  /** The bytes that are whole so far. @throws SyntaxError for anything but base64. */
  push(buffer: Buffer, start: number, end: number): Buffer {
    const text = this.#rest + buffer.toString("latin1", start, end);
    const whole = text.length - (text.length % 4);
    this.#rest = text.slice(whole);
    const groups = text.slice(0, whole);
    if (!GROUPS.test(groups)) throw new SyntaxError("not base64");
    if (!groups.includes("=")) return Buffer.from(groups, "base64");
    // Node's decoder ends at padding: one segment at a time.
    return Buffer.concat(groups.split(/(?<==)(?!=)/).map((segment) => Buffer.from(segment, "base64")));
  }

  /** @throws SyntaxError when the last group is not whole. */
  finish(): void {
    if (this.#rest !== "") throw new SyntaxError("base64 that breaks off");
  }
}

/** One padded segment. */
export function base64Of(bytes: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64"), "latin1");
}
