import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeMarks, encodeMark } from "./upload-marks.ts";

const marks = fc
  .array(fc.record({ length: fc.integer({ min: 1, max: 2 ** 40 }), crc32: fc.nat({ max: 0xffff_ffff }) }), {
    maxLength: 20,
  })
  .map((lengths) => {
    let end = 0;
    return lengths.map(({ length, crc32 }) => ({ end: (end += length), crc32 }));
  });

test("what was written is read, up to a torn end", () => {
  fc.assert(
    fc.property(marks, fc.nat({ max: 15 }), (written, torn) => {
      const bytes = Buffer.concat(written.map(encodeMark));
      expect(decodeMarks(bytes)).toEqual(written);
      expect(decodeMarks(Buffer.concat([bytes, Buffer.alloc(torn, 0xff)]))).toEqual(written);
    }),
  );
});

test("a mark that is damaged ends them, whatever is behind it", () => {
  const damaged = fc.record({ written: marks, at: fc.nat(), bit: fc.nat({ max: 7 }) });
  fc.assert(
    fc.property(damaged, ({ written, at, bit }) => {
      fc.pre(written.length > 0);
      const bytes = Buffer.concat(written.map(encodeMark));
      const place = at % bytes.length;
      bytes[place]! ^= 1 << bit;
      expect(decodeMarks(bytes)).toEqual(written.slice(0, Math.floor(place / 16)));
    }),
  );
});

test("a file of zeros holds none", () => {
  expect(decodeMarks(Buffer.alloc(64))).toEqual([]);
});
