import fc from "fast-check";
import { expect, test } from "vitest";
import { entryOfJournal } from "./journal-entry.ts";
import { beginsJournalExport, JournalSplitter, parseJournalExport } from "./journal-export.ts";
import { LINE_BYTES_MAX, type Piece } from "./line-splitter.ts";

/** A field in the form that holds any bytes. */
function binary(name: string, value: Uint8Array): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from("\n")]);
}

/** By the format's own description, https://systemd.io/JOURNAL_EXPORT_FORMATS/. */
const first = Buffer.from(
  "__CURSOR=s=bcce4fb8ffcb40e9a6e05eee8b7831bf;i=5ef603;b=ec25d6795f0645619ddac9afdef453ee\n" +
    "__REALTIME_TIMESTAMP=1342540861416351\n__MONOTONIC_TIMESTAMP=16587527\nPRIORITY=6\n_PID=35\n" +
    "MESSAGE=Received EOF from the client\nSYSLOG_IDENTIFIER=python3\n",
);
const second = Buffer.concat([
  Buffer.from("__CURSOR=s=2\n__REALTIME_TIMESTAMP=1342540861421465\n"),
  binary("MESSAGE", Buffer.from("foo\n\nbar=1\nMESSAGE=x\n")),
  Buffer.from("_TRANSPORT=journal\n"),
]);
const newline = Buffer.from("\n");
const both = Buffer.concat([first, newline, second, newline]);

function split(chunks: readonly Uint8Array[], offset = 0): Piece[] {
  const splitter = new JournalSplitter(offset);
  const pieces = chunks.flatMap((chunk) => [...splitter.push(chunk)]);
  const rest = splitter.end();
  return rest === undefined ? pieces : [...pieces, rest];
}

test("entries end at blank lines, but for those in a value", () => {
  const pieces = split([both]);
  expect(pieces.map(({ bytes }) => Buffer.from(bytes))).toEqual([first, second]);
  expect(pieces.map(({ start, end }) => [start, end])).toEqual([
    [0, first.length + 1],
    [first.length + 1, both.length],
  ]);
});

test("however the bytes are chunked, and from whichever entry one begins, the pieces are the same", () => {
  const stream = Buffer.concat([both, first, newline, newline, second, newline]);
  const whole = split([stream]);
  fc.assert(
    fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), fc.nat(whole.length - 1), (cuts, from) => {
      const start = from === 0 ? 0 : (whole[from - 1]?.end ?? 0);
      const places = [start, ...cuts.filter((cut) => cut > start).toSorted((a, b) => a - b), stream.length];
      const chunks = places.slice(1).map((end, i) => stream.subarray(places[i], end));
      expect(split(chunks, start)).toEqual(whole.slice(from));
    }),
  );
});

test("fields become an entry's: text, level, time, program; the others stay under their names", () => {
  const [one, two] = split([both]).map(({ bytes }) => entryOfJournal(parseJournalExport(bytes) ?? [])?.entry);
  expect(one).toMatchObject({
    message: "Received EOF from the client",
    level: "info",
    severityNumber: 9,
    timestamp: 1_342_540_861_416_351_000n,
    application: "python3",
    fields: { _PID: "35", __MONOTONIC_TIMESTAMP: "16587527" },
  });
  expect(two).toMatchObject({ message: "foo\n\nbar=1\nMESSAGE=x\n", fields: { _TRANSPORT: "journal" } });
});

test("an entry that is too long comes in pieces, all of it; the next one is found behind it", () => {
  const large = Buffer.concat([
    Buffer.from("__CURSOR=s=1\n"),
    binary("COREDUMP", Buffer.alloc(2 * LINE_BYTES_MAX, "a=b\n\n")),
    Buffer.from(`TEXT=${"x".repeat(LINE_BYTES_MAX + 10)}\nMESSAGE=m\n`),
  ]);
  const stream = Buffer.concat([large, newline, second, newline]);
  for (const size of [1000, 100_000, stream.length]) {
    const chunks = Array.from({ length: Math.ceil(stream.length / size) }, (_, i) =>
      stream.subarray(i * size, (i + 1) * size),
    );
    const pieces = split(chunks);
    expect(pieces.map(({ part, isLast }) => [part, isLast])).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, true],
      [0, true],
    ]);
    expect(Buffer.concat(pieces.slice(0, 4).map(({ bytes }) => bytes)).equals(large)).toBe(true);
    expect(Buffer.from(pieces[4]?.bytes ?? []).equals(second)).toBe(true);
  }
});

test.each([
  ["a value that is cut off", Buffer.concat([Buffer.from("A=1\n"), binary("B", Buffer.alloc(10)).subarray(0, 12)])],
  ["a name without a value", Buffer.from("A=1\nNAME")],
  ["a length that is cut off", Buffer.from("NAME\n\u0001\u0000")],
])("%s is no entry, and is not taken for one", (_name, bytes) => {
  expect(parseJournalExport(bytes)).toBeUndefined();
});

test("an export is told by its first field, as soon as that is there", () => {
  expect(beginsJournalExport(first)).toBe(true);
  expect(beginsJournalExport(first.subarray(0, 8))).toBeUndefined();
  expect(beginsJournalExport(Buffer.from("__CURSORS"))).toBe(false);
  expect(beginsJournalExport(Buffer.from("2026"))).toBe(false);
});
