import fc from "fast-check";
import { expect, test } from "vitest";
import { ErrorCode, FrameType } from "./frame.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { dataFrame, frame } from "./testing/frames.ts";

/** Writes down what it hears, the pieces of a DATA frame put together. */
class Recorder implements FrameSink {
  isReading = true;
  readonly frames: string[] = [];
  #content = "";
  #head = "";

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    this.frames.push(`${type} ${flags} ${streamId} ${bytes.toString("hex", start, end)}`);
  }

  onDataFrame(flags: number, streamId: number, frameBytes: number, contentBytes: number): void {
    this.#head = `DATA ${flags} ${streamId} ${frameBytes} ${contentBytes}`;
    this.#content = "";
  }

  onDataBytes(bytes: Buffer, start: number, end: number, isLast: boolean): void {
    this.#content += bytes.toString("hex", start, end);
    if (isLast) this.frames.push(`${this.#head} ${this.#content}`);
  }
}

function read(pieces: readonly Buffer[]): string[] {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder, 16_384);
  for (const piece of pieces) reader.read(piece);
  return recorder.frames;
}

const PADDED_DATA = frame(FrameType.DATA, 8 | 1, 7, Buffer.concat([Buffer.of(3), Buffer.from("abc"), Buffer.alloc(3)]));
const ONLY_PADDING = frame(FrameType.DATA, 8, 7, Buffer.concat([Buffer.of(2), Buffer.alloc(2)]));
const FRAMES = Buffer.concat([
  frame(FrameType.SETTINGS, 0, 0),
  frame(FrameType.PING, 0, 0, Buffer.from("12345678")),
  dataFrame(1, "hello"),
  PADDED_DATA,
  dataFrame(3, "", { endStream: true }),
  ONLY_PADDING,
  frame(FrameType.HEADERS, 4, 0x7fffffff, Buffer.from("block")),
  frame(0xff, 0xff, 0, Buffer.from("unknown")),
  dataFrame(5, "x"),
]);
const EXPECTED = [
  "4 0 0 ",
  "6 0 0 3132333435363738",
  "DATA 0 1 5 5 68656c6c6f",
  "DATA 9 7 7 3 616263",
  "DATA 1 3 0 0 ",
  "DATA 8 7 3 0 ",
  "1 4 2147483647 626c6f636b",
  "255 255 0 756e6b6e6f776e",
  "DATA 0 5 1 1 78",
];

test("reads frames that arrive at once", () => {
  expect(read([FRAMES])).toEqual(EXPECTED);
});

test("reads the same frames wherever they are cut in two", () => {
  for (let at = 0; at <= FRAMES.length; at += 1) {
    expect(read([FRAMES.subarray(0, at), FRAMES.subarray(at)])).toEqual(EXPECTED);
  }
});

test("reads the same frames byte by byte", () => {
  expect(read([...FRAMES].map((byte) => Buffer.of(byte)))).toEqual(EXPECTED);
});

test("reads the same frames in any pieces", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(FRAMES.length), { maxLength: 10 }), (cuts) => {
      const places = [0, ...cuts, FRAMES.length].toSorted((a, b) => a - b);
      expect(read(places.slice(1).map((end, at) => FRAMES.subarray(places[at], end)))).toEqual(EXPECTED);
    }),
  );
});

test("passes on the content of a DATA frame before all of it is there", () => {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder, 16_384);
  const pieces: string[] = [];
  recorder.onDataBytes = (bytes, start, end, isLast) =>
    pieces.push(`${bytes.toString("latin1", start, end)} ${isLast}`);
  const whole = dataFrame(1, "hello world");
  reader.read(whole.subarray(0, 14));
  reader.read(whole.subarray(14));
  expect(pieces).toEqual(["hello false", " world true"]);
});

test("drops the reserved bit of a stream id", () => {
  const bytes = frame(FrameType.PING, 0, 1, Buffer.alloc(8));
  bytes[5]! |= 0x80;
  expect(read([bytes])).toEqual(["6 0 1 0000000000000000"]);
});

test.each([
  ["a frame over the limit", frame(FrameType.HEADERS, 0, 1, Buffer.alloc(16_385)), ErrorCode.FRAME_SIZE_ERROR],
  ["a DATA frame over the limit", dataFrame(1, Buffer.alloc(16_385)), ErrorCode.FRAME_SIZE_ERROR],
  ["padding as long as the payload", frame(FrameType.DATA, 8, 1, Buffer.of(1)), ErrorCode.PROTOCOL_ERROR],
  ["padding longer than the payload", frame(FrameType.DATA, 8, 1, Buffer.of(9, 0, 0)), ErrorCode.PROTOCOL_ERROR],
  ["padding in an empty frame", frame(FrameType.DATA, 8, 1), ErrorCode.FRAME_SIZE_ERROR],
])("refuses %s, from its header on", (_what, bytes, code) => {
  expect(() => read([bytes])).toThrow(expect.objectContaining({ code }));
  expect(() => read([bytes.subarray(0, 10)])).toThrow(expect.objectContaining({ code }));
});

test("stops as soon as its sink does", () => {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder, 16_384);
  recorder.onFrame = () => {
    recorder.isReading = false;
    recorder.frames.push("one");
  };
  reader.read(FRAMES);
  expect(recorder.frames).toEqual(["one"]);
});
