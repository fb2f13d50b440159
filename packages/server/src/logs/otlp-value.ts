// OpenTelemetry's AnyValue as text, read from its wire form.
import { fromBinary } from "@bufbuild/protobuf";
import { type AnyValue, AnyValueSchema } from "@sluice/api";
import { bigintOf, type WireReader } from "./wire.ts";

/** Tags of AnyValue. */
const Tag = {
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

  /** The value that is not there. */
  clear(): void {
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
    while (wire.pos < wire.end) {
      const start = wire.pos;
      const tag = wire.tag();
      switch (tag) {
        case Tag.STRING: {
          const end = wire.span();
          this.start = wire.pos;
          this.end = end;
          this.text = undefined;
          wire.pos = end;
          break;
        }
        case Tag.BOOL:
          wire.varint();
          this.text = (wire.low | wire.high) === 0 ? "false" : "true";
          break;
        case Tag.INT:
          wire.varint();
          this.text = bigintOf(wire.low, wire.high).toString();
          break;
        case Tag.DOUBLE:
          wire.fixed64();
          this.text = String(doubleOf(wire.low, wire.high));
          break;
        case Tag.BYTES: {
          const end = wire.span();
          this.text = Buffer.from(wire.bytes.subarray(wire.pos, end)).toString("base64");
          wire.pos = end;
          break;
        }
        case Tag.ARRAY:
        case Tag.MAP:
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
