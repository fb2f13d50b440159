// Logs whose sealed segments are compressed: how a test waits for that.
import { readdir } from "node:fs/promises";
import { expect } from "vitest";
import type { EmbeddedPlace } from "./place.ts";

/** Names of the log's files that end with `suffix`, sorted. */
export async function filesOf(place: EmbeddedPlace, suffix: string): Promise<string[]> {
  return (await readdir(place.logFolder)).filter((name) => name.endsWith(suffix)).sort();
}

/** Opens the log with compression and closes it again when only the last segment is plain. Returns the compressed ones. */
export async function compressAll(place: EmbeddedPlace): Promise<string[]> {
  await using _log = await place.open({ compressAfterMs: 0 });
  await expect
    .poll(
      async () => {
        place.clock.advance(5000);
        return (await filesOf(place, ".frames")).length;
      },
      { timeout: 60_000 },
    )
    .toBe(1);
  return await filesOf(place, ".frames.zst");
}
