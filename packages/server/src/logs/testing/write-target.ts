// Where tests of writing write to: a log in memory.
import { ManualClock } from "@sluice/rpc/testing";
import { DEFAULT_LIMITS } from "../../limits.ts";
import { formatCursor } from "../../stream/cursor.ts";
import type { MemoryLog } from "../../stream/testing/memory-log.ts";
import { Ingest, type WriteTarget } from "../ingest.ts";
import { parseLogName } from "../log-name.ts";
import { WriteBudget } from "../../stream/write-budget.ts";

export function targetOf(log: MemoryLog): WriteTarget {
  const place = { log: parseLogName(log.name), reader: log, writer: log };
  return new Ingest({ ...place, clock: new ManualClock(), limits: DEFAULT_LIMITS });
}

export const newBudget = (): WriteBudget => new WriteBudget(DEFAULT_LIMITS.writesBytesMax);

/** Lets everything happen that waits for nothing outside. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** Of an entry of the log "default". */
export const cursor = (sequence: number): string => formatCursor("default", { epoch: 1, sequence });
/** An entry that is rejected. */
export const bad = { sequence: 1n };
