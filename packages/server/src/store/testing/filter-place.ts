// A data folder whose logs have segment filters, made when the test says so, and whose reads are counted.
import { readdir } from "node:fs/promises";
import { expect } from "vitest";
import type { EmbeddedPlace } from "./place.ts";
import { nodeFileSystem } from "../file-system-node.ts";
import { countReads, markedCodec, plainMaker } from "./filters.ts";
import { openEmbeddedPlace } from "./place.ts";

const TICK_MS = 5000;

export interface FilterPlace extends EmbeddedPlace {
  /** Resolves when every sealed segment that can have a filter has one. */
  makeFilters(): Promise<void>;
  /** Bytes read while `work` runs, by the ending of the files' names. */
  readsOf(work: () => Promise<unknown>): Promise<Map<string, number>>;
}

export async function openFilterPlace(): Promise<FilterPlace> {
  const { fileSystem, read } = countReads(nodeFileSystem);
  let made = 0;
  const filterMaker: typeof plainMaker = {
    make(...segment) {
      made++;
      return plainMaker.make(...segment);
    },
  };
  const options = { segmentBytes: 4096, groupBytesMax: 2048, historyBytesMax: 1, tickMs: TICK_MS };
  const place = await openEmbeddedPlace(options, { fileSystem, codec: markedCodec, filterMaker });
  const count = async (suffix: string) =>
    (await readdir(place.logFolder)).filter((name) => name.endsWith(suffix)).length;
  return Object.assign(place, {
    async makeFilters() {
      await expect.poll(async () => (await count(".frames")) - (await count(".index"))).toBe(1);
      // While the builder works it has no timer.
      const timers = place.clock.timers;
      for (let before = -1; made > before;) {
        before = made;
        place.clock.advance(TICK_MS);
        await expect.poll(() => place.clock.timers).toBe(timers);
      }
    },
    async readsOf(work: () => Promise<unknown>) {
      read.clear();
      await work();
      return new Map(read);
    },
  });
}
