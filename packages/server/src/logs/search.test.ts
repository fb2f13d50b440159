import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type LogEntry, LogStreamRequestSchema } from "@sluice/api";
import type { FrameSource } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { DEFAULT_LIMITS } from "../limits.ts";
import { allowAll, SERVER_SUBJECT } from "../security/authorize.ts";
import type { FilterMaker } from "../store/filter-builder.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { openLog } from "../store/log.ts";
import { addMarks, FilterBits } from "../store/segment-filter.ts";
import { countReads } from "../store/testing/filters.ts";
import { PulledStream } from "../stream/testing/pulled-stream.ts";
import { parseFilters } from "./filter.ts";
import { entryFrameCodec } from "./frame-codec.ts";
import { entryMarks } from "./marks.ts";
import { createLogService, type LogServiceHandle, serveLog } from "./service.ts";
import { parseSeverity } from "./severity.ts";
import { producerEntry } from "./testing/arbitrary-entries.ts";
import { arbitraryTerm } from "./testing/arbitrary-terms.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { matchesPlainly } from "./testing/plain-match.ts";

const TICK_MS = 5000;
/** Segments of some dozens of entries. */
const options = { segmentBytes: 8192, groupBytesMax: 4096, historyBytesMax: 1, tickMs: TICK_MS };
const { fileSystem, read } = countReads(nodeFileSystem);

const filterMaker: FilterMaker = {
  async make(frameBytes, pieces) {
    const bits = new FilterBits(frameBytes);
    for await (const frames of pieces) addMarks(bits, entryMarks, frames);
    return bits.finish();
  },
};

type Query = MessageInitShape<typeof LogStreamRequestSchema>;

interface Opened extends AsyncDisposable {
  readonly service: LogServiceHandle;
  /** Resolves when every sealed segment has its filter. */
  makeFilters(): Promise<void>;
}

async function open(folder: string): Promise<Opened> {
  const clock = new ManualClock();
  const engine = { fileSystem, clock, codec: entryFrameCodec, filterMaker };
  const log = await openLog({ folder, name: "default", options, ...engine });
  const service = createLogService({ logs: [serveLog("default", log)], authorize: allowAll, clock });
  return {
    service,
    async makeFilters() {
      const missing = async (): Promise<number> => {
        const names = await readdir(folder);
        const count = (suffix: string): number => names.filter((name) => name.endsWith(suffix)).length;
        return count(".frames") - 1 - count(".marks");
      };
      await expect
        .poll(
          async () => {
            clock.advance(TICK_MS);
            return await missing();
          },
          { timeout: 30_000 },
        )
        .toBe(0);
    },
    [Symbol.asyncDispose]: () => log[Symbol.asyncDispose](),
  };
}

async function ask(service: LogServiceHandle, query: Query): Promise<LogEntry[]> {
  const call = new FakeCall();
  const { streamLogs } = service.handlers;
  if (typeof streamLogs !== "function") throw new Error("streamLogs takes messages");
  try {
    const request = create(LogStreamRequestSchema, { controlFrames: false, ...query });
    const pulled = new PulledStream(streamLogs(request, call) as FrameSource);
    await expect.poll(() => pulled.ending, { interval: 1 }).not.toBe("open");
    if (pulled.ending !== "ended") throw (pulled.ending as { error: unknown }).error;
    return pulled.entries;
  } finally {
    call.end();
  }
}

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-search-"));
  try {
    await work(join(folder, "default"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const numbers = (entries: readonly LogEntry[]): number[] => entries.map(({ sequence }) => Number(sequence));

test("every filter over any log gives what decoding each entry gives, from the tail, from files and with segments left out", async () => {
  let found = 0;
  const enough = 200 * inject("propertyScale");
  const property = fc.asyncProperty(
    fc.array(producerEntry, { minLength: 1, maxLength: 300, size: "max" }),
    fc.array(
      fc.record({
        filters: fc.array(arbitraryTerm, { minLength: 1, maxLength: 3 }),
        logLevel: fc.constantFrom("", "", "info", "ERROR"),
        tail: fc.integer({ min: 1, max: 20 }),
      }),
      { minLength: 5, maxLength: 15 },
    ),
    async (entries, queries) => {
      await withFolder(async (folder) => {
        let stored: LogEntry[] = [];
        const expected = ({ filters, logLevel }: (typeof queries)[number]): number[] => {
          const terms = parseFilters(filters, DEFAULT_LIMITS);
          const least = parseSeverity(logLevel, "log_level");
          return numbers(stored.filter((entry) => entry.severityNumber >= least && matchesPlainly(entry, terms)));
        };
        {
          await using opened = await open(folder);
          for (let i = 0; i < entries.length; i += 25) {
            await opened.service.ingest(SERVER_SUBJECT, { entries: entries.slice(i, i + 25) });
          }
          stored = await ask(opened.service, {});
          for (const { tail: _, ...query } of queries) {
            expect(numbers(await ask(opened.service, query))).toEqual(expected({ ...query, tail: 0 }));
          }
          await opened.makeFilters();
        }
        await using opened = await open(folder);
        for (const { tail, ...query } of queries) {
          const all = expected({ ...query, tail });
          found += all.length;
          expect(numbers(await ask(opened.service, query))).toEqual(all);
          expect(numbers(await ask(opened.service, { ...query, tailLines: BigInt(tail) }))).toEqual(all.slice(-tail));
        }
      });
    },
  );
  // Filters that find nothing prove little: more of them are tried.
  for (let round = 0; round < 5 && found <= enough; round++) {
    await fc.assert(property, { numRuns: Math.ceil(6 * inject("propertyScale")) });
  }
  expect(found).toBeGreaterThan(enough);
}, 120_000);

test("a needle costs the frames of one segment, and a block of a filter of each of the others", async () => {
  await withFolder(async (folder) => {
    const random = (i: number): string => Math.imul(i + 1, 0x9e37_79b1).toString(16);
    {
      await using opened = await open(folder);
      for (let batch = 0; batch < 60; batch++) {
        const entries = Array.from({ length: 20 }, (_, i) => ({
          message: `request ${random(batch * 20 + i)} took ${i} ms${batch === 20 && i === 7 ? " and woke the kraken" : ""}`,
          fields: { trace: random(-1 - batch * 20 - i) },
        }));
        await opened.service.ingest(SERVER_SUBJECT, { entries });
      }
      await opened.makeFilters();
    }
    const segments = (await readdir(folder)).filter((name) => name.endsWith(".frames")).length;
    expect(segments).toBeGreaterThan(10);
    await using opened = await open(folder);
    await ask(opened.service, {});
    for (const filters of [["woke the kra"], [`trace=${random(-408)}`], ["took", "message~oke the kr[a-z]+"]]) {
      read.clear();
      expect(numbers(await ask(opened.service, { filters }))).toEqual([408]);
      // That segment, the open one, and perhaps one more that looks as if it had it.
      expect(read.get(".frames"), filters.join()).toBeLessThanOrEqual(3 * options.segmentBytes);
      expect(read.get(".marks"), filters.join()).toBeLessThanOrEqual(16 * 4096 + segments * (64 + 2 * 4096));
    }
  });
});
