import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import { expect, test } from "vitest";
import { addMarks, FilterBits } from "../store/segment-filter.ts";
import { ThreadFilterMaker } from "./filter-maker.ts";
import { entryMarks } from "./marks.ts";

function piece(number: number): Uint8Array<ArrayBuffer> {
  const frames = Array.from({ length: 50 }, (_, i) =>
    frameOf(
      toBinary(LogEntrySchema, create(LogEntrySchema, { message: `piece ${number} entry ${i}`, fields: { n: "1" } })),
    ),
  );
  return Uint8Array.from(Buffer.concat(frames));
}

async function* pieces(first: number, last: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let number = first; number <= last; number++) yield await Promise.resolve(piece(number));
}

function madeHere(frameBytes: number, first: number, last: number): Uint8Array {
  const bits = new FilterBits(frameBytes);
  for (let number = first; number <= last; number++) addMarks(bits, entryMarks, piece(number));
  return bits.finish();
}

test("the thread makes the filter of each segment, whoever asks at the same time, and ends with its owner", async () => {
  await using maker = new ThreadFilterMaker();
  const made = await Promise.all([maker.make(1_000_000, pieces(1, 5)), maker.make(200_000, pieces(6, 9))]);
  expect(made.map((blocks) => Buffer.from(blocks))).toEqual([
    Buffer.from(madeHere(1_000_000, 1, 5)),
    Buffer.from(madeHere(200_000, 6, 9)),
  ]);
});

test("a segment that cannot be read to its end has no filter, and the next one has its own", async () => {
  await using maker = new ThreadFilterMaker();
  const failing = maker.make(
    100_000,
    (async function* () {
      yield* pieces(1, 2);
      throw new Error("damaged");
    })(),
  );
  await expect(failing).rejects.toThrow("damaged");
  expect(Buffer.from(await maker.make(100_000, pieces(3, 3)))).toEqual(Buffer.from(madeHere(100_000, 3, 3)));
});

test("a thread that dies takes one filter with it; the next one has a new thread", async () => {
  await using maker = new ThreadFilterMaker();
  // Not even the header of a frame.
  const broken = Uint8Array.from([0, 0]);
  await expect(
    maker.make(
      100_000,
      (async function* () {
        yield await Promise.resolve(broken);
      })(),
    ),
  ).rejects.toThrow("outside the bounds");
  expect(Buffer.from(await maker.make(100_000, pieces(3, 3)))).toEqual(Buffer.from(madeHere(100_000, 3, 3)));
});

test("who asks when the owner has ended is told so", async () => {
  const maker = new ThreadFilterMaker();
  await maker[Symbol.asyncDispose]();
  await expect(maker.make(1, pieces(1, 1))).rejects.toThrow("The server ends");
});
