// A range of bytes that is remembered until it is written somewhere else.
import type { ByteSink } from "../stream/byte-sink.ts";
import type { WireReader } from "../stream/wire.ts";

/** Bytes of a field, somewhere in a message. */
export class Span {
  start = 0;
  end = 0;

  get size(): number {
    return this.end - this.start;
  }

  clear(): void {
    this.start = 0;
    this.end = 0;
  }

  /** Reads the field whose length is next. */
  read(wire: WireReader): void {
    this.end = wire.span();
    this.start = wire.pos;
    wire.pos = this.end;
  }

  write(sink: ByteSink, tag: number, bytes: Uint8Array): void {
    sink.spanField(tag, bytes, this.start, this.end);
  }
}
