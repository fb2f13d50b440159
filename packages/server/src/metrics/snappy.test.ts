import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { LimitExceeded } from "../errors.ts";
import { BadSnappy, compressSnappy, decompressSnappy } from "./snappy.ts";

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const MAX = 1 << 20;

// From the tests of github.com/golang/snappy (TestDecode): each kind of element, and what is wrong with each.
test.each([
  ["nothing", "00", ""],
  ["a literal", "03 08 ff ff ff", "\ufffd"],
  ["a literal whose length is in one byte", "03 f0 02 61 62 63", "abc"],
  ["a literal whose length is in two bytes", "03 f4 02 00 61 62 63", "abc"],
  ["a literal whose length is in four bytes", "03 fc 02 00 00 00 61 62 63", "abc"],
  ["a short copy", "0d 0c 61 62 63 64 15 04", "abcdabcdabcda"],
  ["a copy that repeats one byte", "08 0c 61 62 63 64 01 01", "abcddddd"],
  ["a copy that repeats two bytes", "08 0c 61 62 63 64 01 02", "abcdcdcd"],
  ["a copy with two bytes of offset", "06 0c 61 62 63 64 06 03 00", "abcdbc"],
  ["a copy with four bytes of offset", "06 0c 61 62 63 64 07 03 00 00 00", "abcdbc"],
])("decompresses %s", (_, bytes, expected) => {
  const decompressed = decompressSnappy(hex(bytes), MAX);
  if (expected === "\ufffd") expect([...decompressed]).toEqual([0xff, 0xff, 0xff]);
  else expect(textOf(decompressed)).toBe(expected);
});

test.each([
  ["without a length", ""],
  ["whose length has no end", "80 80 80 80 80 00"],
  ["of more than 2^32 bytes", "ff ff ff ff 1f"],
  ["that holds less than it says", "05 0c 61 62 63 64"],
  ["that holds more than it says", "03 0c 61 62 63 64"],
  ["whose copy holds more than it says", "05 0c 61 62 63 64 01 04"],
  ["that ends within a literal", "04 0c 61 62"],
  ["that ends within a length", "03 f4 02"],
  ["that ends within a copy", "08 0c 61 62 63 64 06 03"],
  ["whose copy has no offset", "08 0c 61 62 63 64 01 00"],
  ["whose copy is from before the beginning", "08 0c 61 62 63 64 01 05"],
])("refuses a block %s", (_, bytes) => {
  expect(() => decompressSnappy(hex(bytes), MAX)).toThrow(BadSnappy);
});

test("takes no memory for what is larger than allowed", () => {
  expect(() => decompressSnappy(hex("ff ff ff ff 0f 00 61"), MAX)).toThrow(LimitExceeded);
  expect(() => decompressSnappy(compressSnappy(new Uint8Array(11)), 10)).toThrow(LimitExceeded);
});

/** Bytes with repetitions near and far, over several blocks. */
const content = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .tuple(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 90 }), { minLength: 1, maxLength: 12 }),
      fc.nat(4000),
      fc.nat(),
    )
    .map(([words, count, seed]) => {
      let state = seed | 1;
      const chosen = Array.from({ length: count }, () => {
        state = Math.imul(state, 1_103_515_245) + 12_345;
        return words[(state >>> 16) % words.length]!;
      });
      return Uint8Array.from(Buffer.concat(chosen));
    }),
);

test("whatever is compressed comes back, and is never much larger", () => {
  fc.assert(
    fc.property(content, (bytes) => {
      const compressed = compressSnappy(bytes);
      expect(compressed.length).toBeLessThanOrEqual(32 + bytes.length + bytes.length / 6);
      expect(Buffer.compare(decompressSnappy(compressed, bytes.length), bytes)).toBe(0);
    }),
    { numRuns: Math.ceil(100 * inject("propertyScale")) },
  );
});

test("what repeats becomes small", () => {
  const text = Buffer.from('{__name__="http_requests_total",instance="a",job="shop"}'.repeat(1000));
  expect(compressSnappy(text).length).toBeLessThan(text.length / 15);
});

test("garbage is refused or decompressed, and nothing else happens", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        expect(decompressSnappy(bytes, 4096).length).toBeLessThanOrEqual(4096);
      } catch (error) {
        expect(error instanceof BadSnappy || error instanceof LimitExceeded).toBe(true);
      }
    }),
    { numRuns: Math.ceil(1000 * inject("propertyScale")) },
  );
});
