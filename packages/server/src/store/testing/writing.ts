// Entries for tests, and their way into a log.
import type { LogWriter } from "../contract.ts";
import type { TestEntry } from "./frames.ts";
import { makeBatch } from "./frames.ts";

export function makeEntry(number: number, changes: Partial<TestEntry> = {}): TestEntry {
  return {
    timestamp: BigInt(number) * 1_000_000_000n,
    severity: 9,
    label: "shop",
    payload: `entry ${number}`,
    ...changes,
  };
}

/** Appends entries; resolves when they are durable. */
export function append(writer: LogWriter, entries: readonly TestEntry[]): Promise<number> {
  return writer.append(writer.next, makeBatch(writer, entries));
}
