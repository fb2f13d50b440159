import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { DataLoss, type SluiceError } from "../errors.ts";
import { createLogger } from "../telemetry/logger.ts";
import type { NotificationStore } from "./contract.ts";
import { openReopeningStore } from "./reopening-store.ts";
import { MemoryStore } from "./testing/memory-store.ts";

class FailingStore extends MemoryStore {
  fail: (error: Error) => void = () => {};
  isClosed = false;
  override onFailure(listener?: (error: Error) => void): void {
    this.fail = listener ?? this.fail;
  }
  override [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

const reasonOf = (read: () => unknown): string => {
  try {
    read();
    return "";
  } catch (error) {
    return (error as SluiceError).facts.reason;
  }
};

/** Opens what the test has prepared, one after the other. */
async function prepare(...outcomes: (NotificationStore | Error)[]) {
  const clock = new ManualClock();
  let opened = 0;
  const open = (): Promise<NotificationStore> => {
    const outcome = outcomes[opened++] ?? new Error("no more");
    return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome);
  };
  const logger = createLogger({ level: "fatal", format: "json", clock, write: () => {} });
  const store = await openReopeningStore({ open, clock, logger });
  return { clock, store, opened: () => opened };
}

test("one that fails is closed and opened again, and whoever reads it hears of it", async () => {
  const [first, second] = [new FailingStore(), new FailingStore()];
  const { clock, store } = await prepare(first, new Error("still broken"), second);
  const failures: string[] = [];
  store.onFailure(({ message }) => failures.push(message));
  expect(store.current).toBe(first);
  first.fail(new Error("disk"));
  expect(failures).toEqual(["disk"]);
  expect(reasonOf(() => store.current)).toBe("STORE_UNAVAILABLE");
  await clock.advanceInTurns(100);
  expect(first.isClosed).toBe(true);
  expect(reasonOf(() => store.current)).toBe("STORE_UNAVAILABLE");
  await clock.advanceInTurns(199);
  await clock.advanceInTurns(1);
  await expect.poll(() => reasonOf(() => store.current)).toBe("");
  expect(store.current).toBe(second);
  // What the first one says now is nobody's business.
  first.fail(new Error("late"));
  expect(failures).toEqual(["disk"]);
  await store[Symbol.asyncDispose]();
  expect([second.isClosed, clock.timers]).toEqual([true, 0]);
});

test("one that does not prove itself is refused, and not tried again", async () => {
  const { clock, store, opened } = await prepare(new DataLoss("damaged", {}));
  expect(reasonOf(() => store.current)).toBe("CHECKSUM_MISMATCH");
  await clock.advanceInTurns(100_000);
  expect([opened(), clock.timers]).toEqual([1, 0]);
  await store[Symbol.asyncDispose]();
});

test("one that waits to be opened leaves no timer when the server stops", async () => {
  const { clock, store } = await prepare(new Error("EACCES"));
  expect(clock.timers).toBe(1);
  await store[Symbol.asyncDispose]();
  expect(clock.timers).toBe(0);
});
