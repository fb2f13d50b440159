// Values one after the other, as a checkpoint has them (docs/formats/notifications.md): whoever writes them reads them in the
// same order, so nothing says what comes.
//
// V1. Numbers are integers from 0 to 2^53 - 1, or Infinity, as varints: 0 is Infinity, n + 1 is n.
// V2. Columns stand as the machine has them, least byte first, with their count before them.
import { ByteSink } from "../../stream/byte-sink.ts";
import { numberOf, WireReader } from "../../stream/wire.ts";

const FIRST_BYTES = 16 * 1024;

type Column = Float64Array | Int32Array | Uint32Array | Uint16Array | Uint8Array;
type Columns<C extends Column> = (new (buffer: ArrayBuffer) => C) & { readonly BYTES_PER_ELEMENT: number };

export class ValueWriter {
  readonly #sink = new ByteSink(FIRST_BYTES);

  /** What was written, as bytes of its own. */
  take(): Buffer {
    const { bytes, used } = this.#sink;
    this.#sink.used = 0;
    return Buffer.from(bytes.subarray(0, used));
  }

  /** V1. */
  number(value: number): void {
    this.#sink.varint(Number.isFinite(value) ? value + 1 : 0);
  }

  flag(value: boolean): void {
    this.#sink.varint(Number(value));
  }

  text(text: string): void {
    const size = Buffer.byteLength(text);
    this.#sink.varint(size);
    this.#sink.reserve(size);
    this.#sink.used += this.#sink.bytes.write(text, this.#sink.used);
  }

  bytes(bytes: Uint8Array): void {
    this.#sink.varint(bytes.length);
    this.#sink.raw(bytes, 0, bytes.length);
  }

  /** V2. */
  column(column: Column): void {
    this.#sink.varint(column.length);
    const { buffer, byteOffset, byteLength } = column;
    this.#sink.raw(new Uint8Array(buffer, byteOffset, byteLength), 0, byteLength);
  }

  /** How many there are, and each. */
  list<T>(
    items: Iterable<T> & ({ readonly size: number } | { readonly length: number }),
    write: (item: T) => void,
  ): void {
    this.number("size" in items ? items.size : items.length);
    for (const item of items) write(item);
  }
}

/** @throws RangeError when there is less than is asked for */
export class ValueReader {
  readonly #wire = new WireReader();
  readonly #buffer: Buffer;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#wire.open(bytes, 0, bytes.length);
  }

  /** Nothing is left. */
  get isAtEnd(): boolean {
    return this.#wire.pos === this.#wire.end;
  }

  number(): number {
    const value = this.#varint();
    return value === 0 ? Number.POSITIVE_INFINITY : value - 1;
  }

  flag(): boolean {
    return this.#varint() !== 0;
  }

  text(): string {
    const [start, end] = this.#span();
    return this.#buffer.toString("utf8", start, end);
  }

  bytes(): Uint8Array {
    const [start, end] = this.#span();
    return this.#buffer.subarray(start, end);
  }

  column<C extends Column>(type: Columns<C>): C {
    const [start, end] = this.#span(type.BYTES_PER_ELEMENT);
    const own = new ArrayBuffer(end - start);
    new Uint8Array(own).set(this.#buffer.subarray(start, end));
    return new type(own);
  }

  list<T>(read: () => T): T[] {
    const count = this.number();
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(read());
    return items;
  }

  #varint(): number {
    this.#wire.varint();
    if (this.#wire.hasFailed) throw new RangeError("Cannot read a value: the bytes end before it");
    return numberOf(this.#wire.low, this.#wire.high);
  }

  #span(unit = 1): readonly [start: number, end: number] {
    const size = this.#varint() * unit;
    const start = this.#wire.pos;
    if (size > this.#wire.end - start) throw new RangeError(`Cannot read ${size} bytes: the bytes end before it`);
    this.#wire.pos = start + size;
    return [start, start + size];
  }
}
