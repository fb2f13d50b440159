// OpenTelemetry's AnyValue and KeyValue, read from their wire form, as text.
import { fromBinary } from "@bufbuild/protobuf";
import { type AnyValue, AnyValueSchema } from "@sluice/api";
import type { ByteSink } from "../stream/byte-sink.ts";
import { MapTag, Tag as EntryTag } from "./entry-scan.ts";
import { bigintOf, varintSize, type WireReader } from "../stream/wire.ts";

/** Tags of AnyValue. */
export const AnyValueTag = {
  STRING: (1 << 3) | 2,
  BOOL: (2 << 3) | 0,
  INT: (3 << 3) | 0,
  DOUBLE: (4 << 3) | 1,
  ARRAY: (5 << 3) | 2,
  MAP: (6 << 3) | 2,
  BYTES: (7 << 3) | 2,
} as const;

/** The text of a value: where it lies in the bytes, or, when it is not there as such, the text itself. */
export class ValueText {
  start = 0;
  end = 0;
  text: string | undefined = undefined;
  /** Whether the value is a string and nothing else: then its text is all of it. */
  isPlain = false;

  /** The value that is not there. */
  clear(): void {
    this.isPlain = false;
    this.start = 0;
    this.end = 0;
    this.text = undefined;
  }

  /**
   * Reads the AnyValue in which `wire` is, to its end. Strings stay where they are; numbers become decimal, bytes
   * base64, arrays and maps JSON, null the empty text. What cannot be read fails the reader.
   */
  read(wire: WireReader): void {
    this.clear();
    const first = wire.pos;
    while (wire.pos < wire.end) {
      const start = wire.pos;
      const tag = wire.tag();
      this.isPlain = start === first && tag === AnyValueTag.STRING;
      switch (tag) {
        case AnyValueTag.STRING: {
          const end = wire.span();
          this.start = wire.pos;
          this.end = end;
          this.text = undefined;
          wire.pos = end;
          break;
        }
        case AnyValueTag.BOOL:
          wire.varint();
          this.text = (wire.low | wire.high) === 0 ? "false" : "true";
          break;
        case AnyValueTag.INT:
          wire.varint();
          this.text = bigintOf(wire.low, wire.high).toString();
          break;
        case AnyValueTag.DOUBLE:
          wire.fixed64();
          this.text = String(doubleOf(wire.low, wire.high));
          break;
        case AnyValueTag.BYTES: {
          const end = wire.span();
          this.text = Buffer.from(wire.bytes.subarray(wire.pos, end)).toString("base64");
          wire.pos = end;
          break;
        }
        case AnyValueTag.ARRAY:
        case AnyValueTag.MAP:
          wire.skip(tag);
          if (!wire.hasFailed) this.text = nestedText(wire, start);
          break;
        default:
          wire.skip(tag);
      }
    }
  }
}

const halves = new DataView(new ArrayBuffer(8));

function doubleOf(low: number, high: number): number {
  halves.setUint32(0, low, true);
  halves.setUint32(4, high, true);
  return halves.getFloat64(0, true);
}

/** Nested values are rare, and only protobuf's own decoder (which bounds their depth) is asked to decode them. */
function nestedText(wire: WireReader, start: number): string | undefined {
  try {
    return jsonOf(fromBinary(AnyValueSchema, wire.bytes.subarray(start, wire.pos)));
  } catch {
    wire.fail();
    return undefined;
  }
}

function jsonOf(value: AnyValue | undefined): string {
  const held = value?.value;
  switch (held?.case) {
    case "arrayValue":
      return `[${held.value.values.map(jsonOf).join(",")}]`;
    case "kvlistValue":
      return `{${held.value.values.map((pair) => `${JSON.stringify(pair.key)}:${jsonOf(pair.value)}`).join(",")}}`;
    case "stringValue":
      return JSON.stringify(held.value);
    case "bytesValue":
      return JSON.stringify(Buffer.from(held.value).toString("base64"));
    case "doubleValue":
      return Number.isFinite(held.value) ? JSON.stringify(held.value) : JSON.stringify(String(held.value));
    case "boolValue":
    case "intValue":
      return String(held.value);
    case undefined:
      return "null";
    default:
      return held satisfies never;
  }
}

/** Tags of KeyValue. */
export const KeyValueTag = { KEY: (1 << 3) | 2, VALUE: (2 << 3) | 2 } as const;

/** One attribute, and its text. */
export class KeyValue {
  readonly value = new ValueText();
  keyStart = 0;
  keyEnd = 0;
  /** The whole of it. */
  start = 0;
  end = 0;
  /** Whether key and text are all of it. */
  isPlain = false;

  /** Reads the KeyValue whose length is next. */
  read(wire: WireReader): void {
    this.keyStart = 0;
    this.keyEnd = 0;
    this.value.clear();
    const outerEnd = wire.enter();
    this.start = wire.pos;
    this.end = wire.end;
    let others = 0;
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === KeyValueTag.KEY) {
        this.keyEnd = wire.span();
        this.keyStart = wire.pos;
        wire.pos = this.keyEnd;
      } else if (tag === KeyValueTag.VALUE) {
        const pairEnd = wire.enter();
        this.value.read(wire);
        wire.leave(pairEnd);
      } else {
        wire.skip(tag);
        others++;
      }
    }
    wire.leave(outerEnd);
    this.isPlain = others === 0 && this.value.isPlain;
  }

  get hasText(): boolean {
    return this.value.text === undefined ? this.value.end > this.value.start : this.value.text !== "";
  }

  isKey(bytes: Uint8Array, key: Uint8Array): boolean {
    return key.length === this.keyEnd - this.keyStart && key.every((byte, i) => byte === bytes[this.keyStart + i]);
  }

  /** Writes the value as a field of text. */
  writeValue(sink: ByteSink, tag: number, bytes: Uint8Array): void {
    const { text, start, end } = this.value;
    if (text === undefined) sink.spanField(tag, bytes, start, end);
    else sink.textField(tag, text);
  }

  /** Writes it as an entry of the map `fields`; before it all of it, where that says more (R4). */
  write(sink: ByteSink, bytes: Uint8Array): void {
    if (!this.isPlain) sink.spanField(EntryTag.OTLP_ATTRIBUTES, bytes, this.start, this.end);
    const { text, start, end } = this.value;
    const keySize = this.keyEnd - this.keyStart;
    const valueSize = text === undefined ? end - start : Buffer.byteLength(text);
    sink.varint(EntryTag.FIELDS);
    sink.varint(2 + varintSize(keySize) + keySize + varintSize(valueSize) + valueSize);
    sink.spanField(MapTag.KEY, bytes, this.keyStart, this.keyEnd);
    this.writeValue(sink, MapTag.VALUE, bytes);
  }
}
