// A process that writes is killed in the midst of it, again and again.
import { once } from "node:events";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import type { FoundLog } from "../support/crash-checker.ts";
import { systemClock } from "../../packages/server/src/store/clock.ts";
import { openDataFolder } from "../../packages/server/src/store/data-folder.ts";
import { examineDataFolder } from "../../packages/server/src/store/doctor.ts";
import { nodeFileSystem as fileSystem } from "../../packages/server/src/store/file-system-node.ts";
import { openLog } from "../../packages/server/src/store/log.ts";
import { CrashChecker } from "../support/crash-checker.ts";
import { testCodec } from "../../packages/server/src/store/testing/frames.ts";
import { between, seededRandom } from "../support/crash-random.ts";
import { readAll } from "../support/crash-simulation.ts";
import { payloadOf } from "../support/crash-writer.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const ROUNDS = Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 10);
const WRITER = new URL("../support/crash-writer.ts", import.meta.url).pathname;
const PRODUCERS = ["a", "b", "c", "d"];

/** What is known of a writer that was killed. */
interface Life {
  readonly acks: number;
  /** Batches that had been appended by a process before, whose answer was lost. */
  readonly knownBatches: number;
}

describe("a log whose process is killed", () => {
  test(`has every acknowledged entry once and in order, ${ROUNDS} times`, async () => {
    await using folder = await openTemporaryFolder("sigkill");
    const checker = new CrashChecker({ retention: false, loss: false });
    const acknowledged = Object.fromEntries(PRODUCERS.map((producer) => [producer, 0]));
    const random = seededRandom(20);
    let knownBatches = 0;
    for (let round = 1; round <= ROUNDS; round++) {
      const life = await writeAndKill(folder.path, { checker, acknowledged, acks: between(random, 1, 400) });
      knownBatches += life.knownBatches;
      expect(life.acks).toBeGreaterThan(0);
      expect(checker.check(await readLog(folder.path)), `round ${round}`).toEqual([]);
    }
    // Else no answer was lost between append and kill, and nothing was shown of retries.
    expect(knownBatches).toBeGreaterThan(0);
    const report = await examineDataFolder({
      folder: folder.path,
      fileSystem,
      codec: testCodec,
      clock: systemClock,
      repair: false,
    });
    expect(report).toMatchObject({ isHealthy: true, logs: [{ name: "default" }] });
  });
});

/** One life of the writer: until so many answers were heard. */
async function writeAndKill(
  folder: string,
  context: { checker: CrashChecker; acknowledged: Record<string, number>; acks: number },
): Promise<Life> {
  const { checker, acknowledged } = context;
  const child = spawn(process.execPath, ["--conditions=sluice-source", WRITER, folder, JSON.stringify(acknowledged)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  let acks = 0;
  let knownBatches = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, producer = "", ...numbers] = line.split(" ");
    const [first = 0, count = 0, epoch = 0, last = 0] = numbers.map(Number);
    if (word === "try") attempt(checker, producer, first, count);
    if (word === "known") knownBatches++;
    if (word === "ack" || word === "known") acknowledged[producer] = first + count - 1;
    if (word !== "ack") continue;
    expect(promise(checker, { producer, first, count, epoch, last })).toEqual([]);
    acks++;
    // Lines that it had written before are still heard.
    if (acks === context.acks) child.kill("SIGKILL");
  }
  await exited;
  expect(child.signalCode).toBe("SIGKILL");
  return { acks, knownBatches };
}

function attempt(checker: CrashChecker, producer: string, first: number, count: number): void {
  for (let number = first; number < first + count; number++) checker.attempt(payloadOf(producer, number));
}

function promise(
  checker: CrashChecker,
  ack: { producer: string; first: number; count: number; epoch: number; last: number },
): string[] {
  const { producer, first, count, epoch, last } = ack;
  return Array.from({ length: count }, (_, i) => ({
    epoch,
    sequence: last - count + 1 + i,
    payload: payloadOf(producer, first + i),
  })).flatMap((entry) => checker.promise(entry));
}

/** The lock of the dead process must not stand in the way. */
async function readLog(path: string): Promise<FoundLog> {
  await using folder = await openDataFolder({ folder: path, fileSystem });
  await using log = await openLog({
    folder: folder.logFolder("default"),
    name: "default",
    fileSystem,
    clock: systemClock,
    codec: testCodec,
  });
  return await readAll(log.reader, 256 * 1024);
}
