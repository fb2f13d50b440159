import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { describe, expect, test } from "vitest";
import { DiskFull, LimitExceeded } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { Ingest, type Numbering, ProducerGap, type SliceOutcome } from "./ingest.ts";
import { parseLogName } from "./log-name.ts";
import type { EntrySpans } from "./write-request.ts";

type EntryInit = MessageInitShape<typeof LogEntrySchema> | Uint8Array;

/** Breaks the wire format. */
const BROKEN = Uint8Array.of(0x22, 0x09);

function spansOf(...entries: readonly EntryInit[]): EntrySpans {
  const starts: number[] = [];
  const ends: number[] = [];
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const entry of entries) {
    const bytes = entry instanceof Uint8Array ? entry : toBinary(LogEntrySchema, create(LogEntrySchema, entry));
    pieces.push(bytes);
    starts.push(at);
    at += bytes.length;
    ends.push(at);
  }
  return { bytes: Buffer.concat(pieces), starts, ends };
}

function messages(...texts: readonly string[]): EntrySpans {
  return spansOf(...texts.map((message) => ({ message })));
}

function ingestInto(log: MemoryLog, limits: Partial<Limits> = {}): Ingest {
  return new Ingest({
    log: parseLogName(log.name),
    reader: log,
    writer: log,
    clock: new ManualClock(),
    limits: { ...DEFAULT_LIMITS, ...limits },
  });
}

async function append(ingest: Ingest, spans: EntrySpans, numbering?: Numbering): Promise<SliceOutcome[]> {
  const outcomes: SliceOutcome[] = [];
  for await (const outcome of ingest.append(spans, numbering, { atBound: "wait" })) outcomes.push(outcome);
  return outcomes;
}

function stored(log: MemoryLog): string[] {
  return Array.from({ length: log.head.sequence }, (_, i) => {
    const entry = fromBinary(LogEntrySchema, log.frame(i + 1).subarray(5));
    expect(entry.sequence).toBe(BigInt(i + 1));
    return entry.message;
  });
}

describe("entries without a producer", () => {
  test("are kept, but for the bad ones, which are named by their place", async () => {
    const log = new MemoryLog();
    const [outcome] = await append(
      ingestInto(log),
      spansOf(
        { message: "a" },
        BROKEN,
        { message: "b" },
        { sequence: 5n },
        { traceId: new Uint8Array(3) },
        { message: "c" },
      ),
    );
    expect(stored(log)).toEqual(["a", "b", "c"]);
    expect(outcome).toMatchObject({ count: 6, accepted: 3, duplicates: 0, lastSequence: 3 });
    expect(outcome!.rejected.map(({ index, reason }) => [index, reason])).toEqual([
      [1, "MALFORMED"],
      [3, "RESERVED_FIELD"],
      [4, "INVALID_TRACE_ID"],
    ]);
  });

  test("that fill more than a slice are named by their place in all of them", async () => {
    const log = new MemoryLog();
    const all = Array.from({ length: 4100 }, (_, i) => (i === 4098 ? BROKEN : { message: String(i) }));
    const outcomes = await append(ingestInto(log), spansOf(...all));
    expect(outcomes.map(({ count, accepted }) => [count, accepted])).toEqual([
      [4096, 4096],
      [4, 3],
    ]);
    expect(outcomes[1]!.rejected).toMatchObject([{ index: 4098, reason: "MALFORMED" }]);
  });

  test("none of which is good append nothing, and are answered at once", async () => {
    const log = new MemoryLog();
    const [outcome] = await append(ingestInto(log), spansOf(BROKEN));
    await outcome!.durable;
    expect([outcome!.accepted, outcome!.lastSequence, log.batches.length]).toEqual([0, 0, 0]);
  });

  test("get the labels of their applications, the empty one among them", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    await append(ingest, spansOf({ application: "a" }, { application: "b" }, {}, { application: "a" }));
    await append(ingest, spansOf({ application: "b" }));
    expect(log.labels().map(({ name, count }) => [name, count])).toEqual([
      ["a", 2],
      ["b", 2],
      ["", 1],
    ]);
  });

  test("of one application too many are rejected, the others kept", async () => {
    const log = new MemoryLog("default", { labelsMax: 1 });
    log.labelError = new LimitExceeded('Cannot take application "b": the limit of 1 is reached', "applications");
    const [outcome] = await append(
      ingestInto(log),
      spansOf({ application: "a", message: "1" }, { application: "b" }, { application: "a", message: "2" }),
    );
    expect(stored(log)).toEqual(["1", "2"]);
    expect(outcome!.rejected).toMatchObject([{ index: 1, reason: "TOO_MANY_APPLICATIONS" }]);
  });

  test("over the limit of bytes are rejected with their size and the limit", async () => {
    const log = new MemoryLog();
    const spans = spansOf({ message: "x".repeat(200) }, { message: "x".repeat(100) });
    const [outcome] = await append(ingestInto(log, { entryBytesMax: 200 }), spans);
    expect(outcome!.rejected).toMatchObject([{ index: 0, reason: "ENTRY_TOO_LARGE" }]);
    expect(outcome!.rejected[0]!.text).toContain("203 bytes");
    expect(log.frame(1).length).toBeLessThanOrEqual(200);

    const max = Number(/the limit is (\d+)/u.exec(outcome!.rejected[0]!.text)?.[1]);
    const edge = [max - 3, max - 2].map((length) => ({ message: "x".repeat(length) })); // tag and length take three bytes
    const [atLimit] = await append(ingestInto(log, { entryBytesMax: 200 }), spansOf(...edge));
    expect(atLimit!.rejected).toMatchObject([{ index: 1 }]);
    expect(log.frame(2).length).toBeLessThanOrEqual(200);
  });

  test("of a large request are appended slice by slice, and others get in between", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    const large = messages(...Array.from({ length: 10_000 }, (_, i) => `large ${i}`));
    const [outcomes] = await Promise.all([append(ingest, large), append(ingest, messages("small"))]);
    expect(outcomes.length).toBeGreaterThan(2);
    const all = stored(log);
    expect(all).toHaveLength(10_001);
    expect(all.indexOf("small")).toBeLessThan(9000);
    expect(all.filter((message) => message !== "small")).toEqual(
      Array.from({ length: 10_000 }, (_, i) => `large ${i}`),
    );
  });

  test("wait until the log has room", async () => {
    const log = new MemoryLog();
    let open: () => void = () => {};
    log.roomGate = new Promise((resolve) => {
      open = resolve;
    });
    const appending = append(ingestInto(log), messages("a"));
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(log.batches).toHaveLength(0);
    log.roomGate = undefined;
    open();
    await appending;
    expect(stored(log)).toEqual(["a"]);
  });

  test("wait once more when somebody else was quicker, and fail when there is nothing to wait for", async () => {
    const log = new MemoryLog();
    const full = new LimitExceeded("Cannot append 50 bytes: the limit is reached", "bytes waiting for the disk");
    const appendNow = log.append.bind(log);
    let refusals = 2;
    log.append = (next, batch) => {
      if (refusals-- > 0) throw full;
      return appendNow(next, batch);
    };
    log.roomGate = Promise.resolve();
    await append(ingestInto(log), messages("a"));
    expect(stored(log)).toEqual(["a"]);
    log.roomGate = undefined;
    refusals = 1;
    await expect(append(ingestInto(log), messages("b"))).rejects.toBe(full);
  });

  test("that cannot become durable fail whoever waits for that, and nobody else", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const [outcome] = await append(ingestInto(log), messages("a"));
    log.failPending(new DiskFull("default"));
    await expect(outcome!.durable).rejects.toBeInstanceOf(DiskFull);
    log.isAutomatic = true;
    await append(ingestInto(log), messages("b"));
    expect(stored(log)).toEqual(["b"]);
  });
});

describe("entries of an idempotent producer", () => {
  const from = (first: number, settled = 0): Numbering => ({ producer: "p", first, settled });

  test("carry its id and their numbers", async () => {
    const log = new MemoryLog();
    await append(ingestInto(log), messages("a", "b"), from(5));
    const entry = fromBinary(LogEntrySchema, log.frame(2).subarray(5));
    expect([entry.producer, entry.producerSequence]).toEqual(["p", 6n]);
  });

  test("are written once, however often and however overlapping they are sent", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    await append(ingest, messages("1", "2", "3"), from(1));
    const [again] = await append(ingest, messages("1", "2", "3"), from(1));
    const [overlap] = await append(ingest, messages("2", "3", "4", "5"), from(2));
    const [part] = await append(ingest, messages("4"), from(4));
    expect(stored(log)).toEqual(["1", "2", "3", "4", "5"]);
    expect([again, overlap, part].map((each) => [each!.accepted, each!.duplicates, each!.lastSequence])).toEqual([
      [3, 3, 3],
      [4, 2, 5],
      [1, 1, 5],
    ]);
  });

  test("that are sent again before they are durable are answered when they are", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const ingest = ingestInto(log);
    await append(ingest, messages("1"), from(1));
    const [again] = await append(ingest, messages("1"), from(1));
    let isDurable = false;
    const heard = again!.durable.then(() => {
      isDurable = true;
    });
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    expect(isDurable).toBe(false);
    log.commit();
    await heard;
    expect(stored(log)).toEqual(["1"]);
  });

  test("are written once when the log knows them from before a crash", async () => {
    const log = new MemoryLog();
    await append(ingestInto(log), messages("1", "2"), from(1));
    const [again] = await append(ingestInto(log), messages("2", "3"), from(2));
    expect(stored(log)).toEqual(["1", "2", "3"]);
    expect(again).toMatchObject({ accepted: 2, duplicates: 1 });
  });

  test("may not jump over what may still come; what was settled does not", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    await append(ingest, messages("1"), from(1));
    const jump = append(ingest, messages("4"), from(4));
    await expect(jump).rejects.toBeInstanceOf(ProducerGap);
    await expect(jump).rejects.toMatchObject({ facts: { reason: "PRODUCER_GAP", metadata: { expected: "2" } } });
    await expect(append(ingest, messages("4"), from(4, 2))).rejects.toMatchObject({
      facts: { metadata: { expected: "3" } },
    });
    await append(ingest, messages("4"), from(4, 3));
    expect(stored(log)).toEqual(["1", "4"]);
  });

  test("may begin anywhere when the log knows nothing of the producer", async () => {
    const log = new MemoryLog();
    await append(ingestInto(log), messages("1000"), from(1000));
    expect(stored(log)).toEqual(["1000"]);
  });

  test("hear the same rejections again, and those are no gap", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    const spans = spansOf({ message: "1" }, BROKEN, { message: "3" }, BROKEN);
    const first = await append(ingest, spans, from(1));
    const again = await append(ingest, spans, from(1));
    expect(again[0]!.rejected).toEqual(first[0]!.rejected);
    expect(again[0]).toMatchObject({ accepted: 2, duplicates: 2 });
    await append(ingest, messages("5"), from(5));
    expect(stored(log)).toEqual(["1", "3", "5"]);
  });

  test("go on after a batch of which nothing was kept", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    await append(ingest, messages("1"), from(1));
    await append(ingest, spansOf(BROKEN, BROKEN), from(2));
    await append(ingest, spansOf(BROKEN), from(4));
    await append(ingest, messages("5"), from(5));
    expect(stored(log)).toEqual(["1", "5"]);
    await expect(append(ingest, messages("7"), from(7))).rejects.toBeInstanceOf(ProducerGap);
  });

  test("of which nothing was kept are remembered for a bounded number of producers", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log, { producersMax: 2 });
    for (const producer of ["a", "b", "c"]) {
      await append(ingest, messages("1"), { producer, first: 1, settled: 0 });
      await append(ingest, spansOf(BROKEN), { producer, first: 2, settled: 0 });
    }
    const next = (producer: string): Promise<unknown> =>
      append(ingest, messages("3"), { producer, first: 3, settled: 0 });
    await expect(next("a")).rejects.toBeInstanceOf(ProducerGap);
    await next("b");
    await next("c");
  });

  test("of two producers do not touch each other", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    await append(ingest, messages("p1"), from(1));
    await append(ingest, messages("q1"), { producer: "q", first: 1, settled: 0 });
    await append(ingest, messages("p2"), from(2));
    expect(stored(log)).toEqual(["p1", "q1", "p2"]);
  });

  test("of a large request keep their numbers across slices", async () => {
    const log = new MemoryLog();
    const ingest = ingestInto(log);
    const large = messages(...Array.from({ length: 9000 }, (_, i) => String(i + 1)));
    await append(ingest, messages("1", "2"), from(1));
    const outcomes = await append(ingest, large, from(1));
    expect(outcomes.reduce((sum, each) => sum + each.duplicates, 0)).toBe(2);
    expect(stored(log)).toEqual(Array.from({ length: 9000 }, (_, i) => String(i + 1)));
  });
});
