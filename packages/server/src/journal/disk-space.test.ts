import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { DiskSpace } from "./disk-space.ts";

function openSpace(freeBytes: () => Promise<number>) {
  const clock = new ManualClock();
  return { clock, space: new DiskSpace({ folder: "/data", fileSystem: { ...nodeFileSystem, freeBytes }, clock }) };
}

test("what was appended since the last measurement counts as taken, also while one is made", async () => {
  const answers = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
  let asked = 0;
  const { clock, space } = openSpace(() => answers[asked++]!.promise);
  expect(space.free).toBe(Number.POSITIVE_INFINITY);
  answers[0]!.resolve(1000);
  await space.measure();
  space.take(300);
  expect(space.free).toBe(700);
  // A second later the disk is asked again; what comes meanwhile may not be in its answer.
  await clock.advanceInTurns(1000);
  expect(asked).toBe(2);
  space.take(50);
  answers[1]!.resolve(690);
  await space.measure();
  expect(space.free).toBe(640);
  await space[Symbol.asyncDispose]();
  expect(clock.timers).toBe(0);
});

test("a disk that does not say what it has free refuses nothing", async () => {
  let isMute = false;
  const { space } = openSpace(() => (isMute ? Promise.reject(new Error("EIO")) : Promise.resolve(10)));
  await space.measure();
  expect(space.free).toBe(10);
  isMute = true;
  await space.measure();
  expect(space.free).toBe(Number.POSITIVE_INFINITY);
  await space[Symbol.asyncDispose]();
});

test("is asked only while somebody appends", async () => {
  let asked = 0;
  const { clock, space } = openSpace(() => Promise.resolve(asked++));
  await clock.advanceInTurns(10_000);
  expect(asked).toBe(0);
  space.take(1);
  space.take(1);
  await clock.advanceInTurns(10_000);
  expect(asked).toBe(1);
  await space[Symbol.asyncDispose]();
});
