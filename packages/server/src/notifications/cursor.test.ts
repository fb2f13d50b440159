import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { formatInboxCursor, type InboxPosition, leastOf, parseInboxCursor, positionAt } from "./cursor.ts";

const sequence = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const position: fc.Arbitrary<InboxPosition> = fc.record({
  epoch: fc.integer({ min: 0, max: 65_535 }),
  through: fc.oneof(
    sequence.map((each) => positionAt(1, each).through.slice()),
    fc.array(sequence, { minLength: 8, maxLength: 8 }),
  ),
});
const reasonOf = (read: () => unknown): unknown => {
  try {
    read();
    return "none";
  } catch (error) {
    return (error as { facts: { reason: string } }).facts.reason;
  }
};

test("what a cursor says is what was written, for its user and, without a tag, for everyone", () => {
  fc.assert(
    fc.property(position, fc.option(fc.string(), { nil: undefined }), fc.string(), (wanted, user, reader) => {
      const text = formatInboxCursor(wanted, user);
      expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(parseInboxCursor(text, user ?? reader, "c")).toEqual(wanted);
    }),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});

test("eight equal sequences are one: what goes to everyone has a short cursor that is the same for all", () => {
  expect(formatInboxCursor(positionAt(1, 300), undefined)).toBe(formatInboxCursor(positionAt(1, 300), undefined));
  expect(formatInboxCursor(positionAt(1, 300), undefined).length).toBeLessThan(8);
  expect(leastOf({ epoch: 1, through: [5, 5, 5, 5, 5, 5, 9, 9] })).toBe(5);
});

test("another user's cursor is refused, and whatever is none", () => {
  const mine = formatInboxCursor(positionAt(1, 7), "ann");
  expect(reasonOf(() => parseInboxCursor(mine, "bob", "c"))).toBe("CURSOR_OF_ANOTHER_USER");
  const plain = formatInboxCursor(positionAt(1, 7), undefined);
  for (const text of ["", "?", "A", "AA", `${plain}AA`, plain.slice(0, -2), "_".repeat(400), mine.slice(0, 4)]) {
    expect(reasonOf(() => parseInboxCursor(text, "ann", "c"))).toBe("MALFORMED_CURSOR");
  }
  // More than 2^53 is no sequence.
  expect(
    reasonOf(() => parseInboxCursor(Buffer.from("00018080808080808010", "hex").toString("base64url"), "a", "c")),
  ).toBe("MALFORMED_CURSOR");
});

test("bytes that somebody made up are read as a position or refused as a request, never worse", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), (bytes) => {
      const reason = reasonOf(() => parseInboxCursor(Buffer.from(bytes).toString("base64url"), "ann", "c"));
      expect(["none", "MALFORMED_CURSOR", "CURSOR_OF_ANOTHER_USER"]).toContain(reason);
    }),
    { numRuns: Math.ceil(300 * inject("propertyScale")) },
  );
});
