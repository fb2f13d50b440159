// Waiting for what goes on by itself: promises, turns of the event loop, the thread pool.
import { promisify } from "node:util";
import { gunzip, gzipSync } from "node:zlib";

const inflate = promisify(gunzip);
const NOTHING = gzipSync("");

/** Turns of the event loop, each with whatever is in the thread pool, after which it counts as stuck. */
const TURNS_MAX = 1000;

/** @throws Error when `isDone` does not become true */
export async function settle(isDone: () => boolean, what: () => string): Promise<void> {
  for (let turns = 0; !isDone(); turns++) {
    if (turns > TURNS_MAX) throw new Error(`It never came to an end: ${what()}`);
    await new Promise((resolve) => setImmediate(resolve));
    if (turns > 0) await poolIsDone();
  }
}

/** With one thread what was given to it before has come back after one round; with more, nearly always after some. */
const ROUNDS = process.env["UV_THREADPOOL_SIZE"] === "1" ? 1 : 4;

/** Waits until whatever was given to the thread pool before has come back. */
export async function poolIsDone(): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) await inflate(NOTHING);
}
