import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { LINE_BYTES_MAX, LineSplitter, type Piece } from "./line-splitter.ts";

/** Everything that a splitter makes of these chunks. */
function split(chunks: readonly Uint8Array[], splitter = new LineSplitter()): Piece[] {
  const pieces: Piece[] = [];
  for (const chunk of chunks) pieces.push(...splitter.push(chunk));
  const last = splitter.end();
  return last === undefined ? pieces : [...pieces, last];
}
/** Bytes as strings, which are compared at once: megabytes of bytes are compared one by one. */
const comparable = (pieces: readonly Piece[]) =>
  pieces.map((piece) => ({ ...piece, bytes: Buffer.from(piece.bytes).toString("latin1") }));
const texts = (pieces: readonly Piece[]): string[] => pieces.map(({ bytes }) => Buffer.from(bytes).toString());

test("lines end with a newline, with or without a carriage return; the last one may lack it", () => {
  const pieces = split([Buffer.from("a\r\n\nb\nüc")]);
  expect(texts(pieces)).toEqual(["a", "", "b", "üc"]);
  expect(pieces.map(({ start }) => start)).toEqual([0, 3, 4, 6]);
  expect(pieces.map(({ end, part, isLast }) => [end, part, isLast])).toEqual([
    [3, 0, true],
    [4, 0, true],
    [6, 0, true],
    [9, 0, true],
  ]);
});

test("a long line is cut between characters, into numbered pieces, and nothing of it is lost", () => {
  const line = "€".repeat(LINE_BYTES_MAX); // three bytes each
  const pieces = split([Buffer.from(`${line}\nshort\n`)]);
  const parts = pieces.slice(0, -1);
  expect(texts(parts).join("")).toBe(line);
  expect(parts.map(({ part }) => part)).toEqual([1, 2, 3, 4]);
  expect(parts.map(({ isLast }) => isLast)).toEqual([false, false, false, true]);
  expect(Math.max(...parts.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(LINE_BYTES_MAX);
  expect(texts(pieces.slice(-1))).toEqual(["short"]);
});

test("however the bytes are chunked, and wherever one goes on, the pieces are the same", () => {
  const line = fc.oneof(
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.constantFrom("x".repeat(LINE_BYTES_MAX), "x".repeat(LINE_BYTES_MAX + 1), "ä".repeat(LINE_BYTES_MAX), "\r", ""),
  );
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 5 }),
      fc.array(fc.nat({ max: 2_000_000 }), { maxLength: 6 }),
      fc.nat(),
      (lines, cuts, where) => {
        const bytes = Buffer.from(lines.join("\n"));
        const whole = split([bytes]);
        const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
        const chunks = places.slice(1).map((to, i) => bytes.subarray(places[i], to));
        expect(comparable(split(chunks))).toEqual(comparable(whole));
        const from = whole[where % Math.max(whole.length, 1)];
        if (from === undefined) return;
        const resumed = split([bytes.subarray(from.end)], new LineSplitter(from.end, from.isLast ? 0 : from.part));
        expect(comparable(resumed)).toEqual(comparable(whole.slice(whole.indexOf(from) + 1)));
      },
    ),
    { numRuns: Math.ceil(100 * inject("propertyScale")) },
  );
});

test("what it holds is what has no end yet", () => {
  const splitter = new LineSplitter();
  expect([...splitter.push(Buffer.from("one\ntw"))]).toHaveLength(1);
  expect(splitter.held).toBe(2);
});
