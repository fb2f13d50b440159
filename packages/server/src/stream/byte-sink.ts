// A growing buffer to which the fields of a protobuf message are written.
import { writeVarint, writeVarint64 } from "./wire.ts";

export class ByteSink {
  bytes: Buffer;
  used = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Makes room for `size` more bytes. */
  reserve(size: number): void {
    if (this.used + size <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.bytes.length, this.used + size));
    larger.set(this.bytes.subarray(0, this.used));
    this.bytes = larger;
  }

  varint(value: number): void {
    this.reserve(8);
    this.used = writeVarint(this.bytes, this.used, value);
  }

  /** A field of a 64-bit integer in two halves. */
  varint64Field(tag: number, low: number, high: number): void {
    this.varint(tag);
    this.reserve(10);
    this.used = writeVarint64(this.bytes, this.used, low, high);
  }

  fixed32Field(tag: number, value: number): void {
    this.varint(tag);
    this.reserve(4);
    this.used = this.bytes.writeUInt32LE(value >>> 0, this.used);
  }

  /** A field of 64 bits in two halves. */
  fixed64Field(tag: number, low: number, high: number): void {
    this.fixed32Field(tag, low);
    this.reserve(4);
    this.used = this.bytes.writeUInt32LE(high >>> 0, this.used);
  }

  varintField(tag: number, value: number): void {
    this.varint(tag);
    this.varint(value);
  }

  /** A field of bytes that are there already. */
  spanField(tag: number, from: Uint8Array, start: number, end: number): void {
    this.varint(tag);
    this.varint(end - start);
    this.raw(from, start, end);
  }

  textField(tag: number, text: string): void {
    const size = Buffer.byteLength(text);
    this.varint(tag);
    this.varint(size);
    this.reserve(size);
    this.used += this.bytes.write(text, this.used);
  }

  raw(from: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    this.bytes.set(start === 0 && end === from.length ? from : from.subarray(start, end), this.used);
    this.used += end - start;
  }
}
