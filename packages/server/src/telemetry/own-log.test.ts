import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLogger } from "./logger.ts";
import { createOwnLog, type OwnEntry } from "./own-log.ts";
import { StillClock } from "./testing/still-clock.ts";

function setUp() {
  const clock = new StillClock();
  const ownLog = createOwnLog(clock);
  const logger = createLogger({
    format: "json",
    level: "info",
    clock,
    write: () => {},
    copy: (line) => ownLog.write(line),
  });
  return { clock, ownLog, logger };
}

/** An append that answers when it is told to. */
function createAppend() {
  const batches: OwnEntry[][] = [];
  const answers: PromiseWithResolvers<void>[] = [];
  const append = (entries: readonly OwnEntry[]) => {
    batches.push([...entries]);
    const answer = Promise.withResolvers<void>();
    answers.push(answer);
    return answer.promise;
  };
  return { append, batches, answers };
}

test("what was logged before the store opened is kept, with time, level and fields", async () => {
  const { ownLog, logger, clock } = setUp();
  const { append, batches } = createAppend();
  logger.warn({ log: "default", cut: 3 }, "cut a torn tail");
  expect(batches).toEqual([]);
  ownLog.start(append);
  await turn();
  expect(batches).toEqual([
    [
      {
        timestamp: BigInt(clock.ms) * 1_000_000n,
        level: "WARN",
        application: "sluice",
        message: "cut a torn tail",
        fields: { log: "default", cut: "3" },
      },
    ],
  ]);
});

test("one write at a time: what comes meanwhile goes with the next one", async () => {
  const { ownLog, logger } = setUp();
  const { append, batches, answers } = createAppend();
  ownLog.start(append);
  logger.info("one");
  await turn();
  logger.info("two");
  logger.info("three");
  expect(batches.map((batch) => batch.map((each) => each.message))).toEqual([["one"]]);
  answers[0]?.resolve();
  await expect
    .poll(() => batches.map((batch) => batch.map((each) => each.message)))
    .toEqual([["one"], ["two", "three"]]);
});

test("a failed write is told by the next one that succeeds, and by nothing else", async () => {
  const { ownLog, logger } = setUp();
  const { append, batches, answers } = createAppend();
  ownLog.start(append);
  logger.info("lost");
  await turn();
  answers[0]?.reject(new Error("disk full"));
  await turn();
  expect(batches).toHaveLength(1);
  logger.info("next");
  await turn();
  expect(batches[1]?.map((each) => each.message)).toEqual([
    "next",
    "1 lines of the server's own log were dropped here",
  ]);
});

test("more than may wait is dropped and counted", async () => {
  const { ownLog, logger, clock } = setUp();
  const { append, batches } = createAppend();
  for (let i = 0; i < 1500; i += 1) {
    clock.ms += 10;
    logger.info(`line ${i}`);
  }
  ownLog.start(append);
  await turn();
  expect(batches[0]).toHaveLength(1025);
  expect(batches[0]?.at(-1)?.fields).toEqual({ event: "own-log-dropped", count: "476" });
});

test("a loop that logs for each entry is held to 1,000 lines a second", async () => {
  const { ownLog, logger, clock } = setUp();
  let appended = 0;
  ownLog.start(async (entries) => {
    appended += entries.length;
    for (const { message } of entries) logger.info({ message }, "appended an entry");
  });
  logger.info("start");
  await expect.poll(() => appended).toBe(1000);
  clock.ms += 1000;
  logger.info("later");
  await ownLog.close();
  expect(appended).toBeLessThanOrEqual(2001);
});

test("close writes what waits, and takes no more", async () => {
  const { ownLog, logger } = setUp();
  const { append, batches, answers } = createAppend();
  ownLog.start(append);
  logger.info("one");
  await turn();
  logger.info("two");
  const closed = ownLog.close();
  logger.info("too late");
  answers[0]?.resolve();
  await turn();
  answers[1]?.resolve();
  await closed;
  expect(batches.flat().map((each) => each.message)).toEqual(["one", "two"]);
});
