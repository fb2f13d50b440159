import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidRequest, SluiceError } from "../errors.ts";
import { CURSOR_LENGTH, CursorStamp, cursorOf, formatCursor, parseCursor, readEpoch, resumeAfter } from "./cursor.ts";
import { MemoryLog } from "./testing/memory-log.ts";

const positions = fc.record({
  epoch: fc.integer({ min: 0, max: 0xffff }),
  sequence: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
});

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SluiceError) return error.facts.reason;
    throw error;
  }
  return "none";
}

describe("a cursor", () => {
  test("comes back as the position it was made of, and stays opaque text of 14 characters", () => {
    fc.assert(
      fc.property(positions, (position) => {
        const cursor = formatCursor("default", position);
        expect(cursor).toMatch(/^[A-Za-z0-9_-]{14}$/);
        expect(parseCursor("default", cursor, "resume_after")).toEqual(position);
        expect(readEpoch(cursor)).toBe(position.epoch);
      }),
    );
  });

  test("is stamped byte for byte as it is formatted", () => {
    fc.assert(
      fc.property(positions, ({ epoch, sequence }) => {
        const bytes = Buffer.alloc(CURSOR_LENGTH + 4);
        const stamp = new CursorStamp("default", epoch);
        stamp.write(bytes, 2, 1);
        stamp.write(bytes, 2, sequence);
        expect(bytes.toString("latin1", 2, 2 + CURSOR_LENGTH)).toBe(formatCursor("default", { epoch, sequence }));
      }),
    );
  });

  test("is refused when it is none, or of another log", () => {
    const cursor = formatCursor("default", { epoch: 1, sequence: 5 });
    for (const bad of ["", "abc", `${cursor}A`, `${cursor.slice(0, 13)}B`, cursor.replace(/^./, "!"), "ä".repeat(14)]) {
      expect(
        reasonOf(() => parseCursor("default", bad, "resume_after")),
        bad,
      ).toBe("MALFORMED_CURSOR");
    }
    expect(reasonOf(() => parseCursor("other", cursor, "resume_after"))).toBe("CURSOR_OF_ANOTHER_LOG");
    expect(() => parseCursor("other", cursor, "resume_after")).toThrow(InvalidRequest);
    expect(readEpoch("not a cursor")).toBe(-1);
  });

  test("never makes the parser fail in another way than by InvalidRequest", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), (text) => {
        expect(["none", "MALFORMED_CURSOR", "CURSOR_OF_ANOTHER_LOG"]).toContain(
          reasonOf(() => parseCursor("default", text, "resume_after")),
        );
      }),
    );
  });
});

describe("resuming", () => {
  function logOfThreeEras(): MemoryLog {
    const log = new MemoryLog();
    // Era 1 wrote up to 20, of which 11 and more were cut; era 4 began at 11 and wrote up to 15; era 5 began at 16.
    log.epochs = [
      { epoch: 1, sequence: 1 },
      { epoch: 4, sequence: 11 },
      { epoch: 5, sequence: 16 },
    ];
    Object.defineProperty(log, "head", { value: { epoch: 5, sequence: 30 } });
    return log;
  }

  test.each([
    ["of the present era", { epoch: 5, sequence: 20 }, { after: 20, cut: undefined }],
    ["at the head", { epoch: 5, sequence: 30 }, { after: 30, cut: undefined }],
    ["before the first entry", { epoch: 5, sequence: 0 }, { after: 0, cut: undefined }],
    ["of an old era, before its cut", { epoch: 1, sequence: 10 }, { after: 10, cut: undefined }],
    ["of an old era that was not cut", { epoch: 4, sequence: 15 }, { after: 15, cut: undefined }],
    [
      "of an old era, past its cut",
      { epoch: 1, sequence: 20 },
      { after: 10, cut: { seen: { epoch: 1, sequence: 20 }, count: 10 } },
    ],
    [
      "of an old era, the first entry past its cut",
      { epoch: 1, sequence: 11 },
      { after: 10, cut: { seen: { epoch: 1, sequence: 11 }, count: 1 } },
    ],
    [
      "of an era without entries here",
      { epoch: 3, sequence: 12 },
      { after: 10, cut: { seen: { epoch: 3, sequence: 12 }, count: 2 } },
    ],
  ])("after a cursor %s", (_, position, expected) => {
    expect(resumeAfter(logOfThreeEras(), position)).toEqual(expected);
  });

  test.each([
    ["behind the head", { epoch: 5, sequence: 31 }],
    ["of an era to come", { epoch: 6, sequence: 3 }],
  ])("after a cursor %s is out of range", (_, position) => {
    expect(reasonOf(() => resumeAfter(logOfThreeEras(), position))).toBe("CURSOR_AHEAD");
  });

  test("a sequence gets the cursor of the era that wrote it", () => {
    const log = logOfThreeEras();
    expect(cursorOf(log, 10)).toBe(formatCursor("default", { epoch: 1, sequence: 10 }));
    expect(cursorOf(log, 11)).toBe(formatCursor("default", { epoch: 4, sequence: 11 }));
    expect(cursorOf(log, 30)).toBe(formatCursor("default", { epoch: 5, sequence: 30 }));
  });

  test("an epoch that a cursor cannot hold is refused", () => {
    expect(() => formatCursor("default", { epoch: 0x1_0000, sequence: 1 })).toThrow(RangeError);
  });
});
