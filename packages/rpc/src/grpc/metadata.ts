// What travels beside the messages of a call: ASCII fields, and binary ones whose names end in "-bin".
//
// Kept in wire form (base64 for binary fields), decoded when asked for: most calls never look.

const NAME = /^[0-9a-z_.-]+$/;
const ASCII_VALUE = /^[\x20-\x7e]*$/;
/** HTTP's own fields and those that HTTP/2 forbids. */
const HTTP_NAMES = new Set([
  "te",
  "content-type",
  "content-length",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "host",
]);
/** gRPC's own fields, which a receiver does not show. Others that start with "grpc-" (tracing) are shown, but not set. */
const PROTOCOL_NAMES = new Set([
  "grpc-timeout",
  "grpc-encoding",
  "grpc-accept-encoding",
  "grpc-status",
  "grpc-message",
  "grpc-status-details-bin",
]);

/** An ordered multimap; names are case-insensitive. */
export class Metadata implements Iterable<readonly [name: string, value: string]> {
  /** name, value, name, value, …: lower-case names, values in wire form. */
  #fields: string[] = [];
  #isSealed = false;

  /** @param init names with their values; a list of values repeats the name. */
  constructor(init?: Readonly<Record<string, string | Uint8Array | readonly (string | Uint8Array)[]>>) {
    for (const [name, given] of Object.entries(init ?? {})) {
      const values = typeof given === "string" || given instanceof Uint8Array ? [given] : given;
      for (const value of values) this.append(name, value);
    }
  }

  /** Of received header fields (name, value, …), without HTTP's and gRPC's own. Cannot be changed. */
  static received(fields: readonly string[]): Metadata {
    const metadata = new Metadata();
    for (let at = 0; at + 1 < fields.length; at += 2) {
      const name = fields[at] ?? "";
      if (name.charCodeAt(0) === 0x3a || HTTP_NAMES.has(name) || PROTOCOL_NAMES.has(name)) continue;
      metadata.#fields.push(name, fields[at + 1] ?? "");
    }
    metadata.#isSealed = true;
    return metadata;
  }

  /** How many fields, repeated ones counted each. */
  get size(): number {
    return this.#fields.length / 2;
  }

  has(name: string): boolean {
    return this.#find(name.toLowerCase()) >= 0;
  }

  /** The first value of an ASCII field. */
  get(name: string): string | undefined {
    const at = this.#find(name.toLowerCase());
    return at < 0 ? undefined : this.#fields[at + 1];
  }

  /** All values of an ASCII field, in order. */
  getAll(name: string): string[] {
    const wanted = name.toLowerCase();
    const values: string[] = [];
    for (let at = 0; at < this.#fields.length; at += 2) {
      if (this.#fields[at] === wanted) values.push(this.#fields[at + 1] ?? "");
    }
    return values;
  }

  /** The first value of a binary field. */
  getBinary(name: string): Uint8Array | undefined {
    return this.getAllBinary(name)[0];
  }

  /** All values of a binary field; those that a proxy joined with commas are taken apart. */
  getAllBinary(name: string): Uint8Array[] {
    checkBinaryName(name.toLowerCase());
    // Node reads base64 with and without padding, and both alphabets.
    return this.getAll(name).flatMap((text) => text.split(",").map((each) => Buffer.from(each.trim(), "base64")));
  }

  /** Replaces all values of a field. */
  set(name: string, value: string | Uint8Array): this {
    this.delete(name);
    return this.append(name, value);
  }

  /**
   * Adds a value; bytes for a name that ends in "-bin", printable ASCII for any other.
   * @throws TypeError for a name or value that cannot be sent, and for names that belong to HTTP or gRPC.
   */
  append(name: string, value: string | Uint8Array): this {
    this.#checkWritable();
    const lower = name.toLowerCase();
    if (!NAME.test(lower)) throw new TypeError(`Cannot use "${name}" as a metadata name: allowed are 0-9 a-z _ . -`);
    if (lower.startsWith("grpc-") || HTTP_NAMES.has(lower)) {
      throw new TypeError(
        `Cannot set the metadata "${lower}": the name belongs to ${lower.startsWith("grpc-") ? "gRPC" : "HTTP"}`,
      );
    }
    this.#fields.push(lower, wireValue(lower, value));
    return this;
  }

  delete(name: string): void {
    this.#checkWritable();
    const unwanted = name.toLowerCase();
    this.#fields = this.#fields.filter((_, at) => this.#fields[at & ~1] !== unwanted);
  }

  /** Fields in order, binary values as base64. */
  *[Symbol.iterator](): Iterator<readonly [name: string, value: string]> {
    for (let at = 0; at < this.#fields.length; at += 2) yield [this.#fields[at] ?? "", this.#fields[at + 1] ?? ""];
  }

  /** In wire form: name, value, name, value, …. */
  get fields(): readonly string[] {
    return this.#fields;
  }

  /** From now on a change throws: what it stood for has been sent. */
  seal(): void {
    this.#isSealed = true;
  }

  #find(name: string): number {
    for (let at = 0; at < this.#fields.length; at += 2) if (this.#fields[at] === name) return at;
    return -1;
  }

  #checkWritable(): void {
    if (this.#isSealed) throw new TypeError("Cannot change metadata that was received or already sent");
  }
}

function wireValue(name: string, value: string | Uint8Array): string {
  if (name.endsWith("-bin")) {
    if (typeof value === "string")
      throw new TypeError(`Cannot set the metadata "${name}" to text: a name with -bin takes bytes`);
    // Unpadded, as the protocol recommends.
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64").replace(/=+$/, "");
  }
  if (typeof value !== "string")
    throw new TypeError(`Cannot set the metadata "${name}" to bytes: its name must end in -bin`);
  if (!ASCII_VALUE.test(value)) {
    throw new TypeError(
      `Cannot set the metadata "${name}": its value may hold printable ASCII only; use "${name}-bin"`,
    );
  }
  return value.trim();
}

function checkBinaryName(name: string): void {
  if (!name.endsWith("-bin"))
    throw new TypeError(`Cannot read the metadata "${name}" as bytes: its name does not end in -bin`);
}
