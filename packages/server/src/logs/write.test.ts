import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  Durability,
  WriteLogsRequestSchema,
  type WriteLogStreamResponseSchema,
  WriteLogStreamRequestSchema,
} from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { DiskFull, InvalidRequest, NotFound } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { formatCursor } from "../stream/cursor.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { Ingest, ProducerGap, type WriteTarget } from "./ingest.ts";
import { parseLogName } from "./log-name.ts";
import { FakeCall } from "./testing/fake-call.ts";
import { WriteBudget } from "./write-budget.ts";
import { parseWriteRequest } from "./write-request.ts";
import { writeLogs, writeLogStream } from "./write.ts";

function targetOf(log: MemoryLog): WriteTarget {
  const place = { log: parseLogName(log.name), reader: log, writer: log };
  return new Ingest({ ...place, clock: new ManualClock(), limits: DEFAULT_LIMITS });
}

const newBudget = (): WriteBudget => new WriteBudget(DEFAULT_LIMITS.writesBytesMax);

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}

const cursor = (sequence: number): string => formatCursor("default", { epoch: 1, sequence });
/** An entry that is rejected. */
const bad = { sequence: 1n };

describe("one batch", () => {
  function write(log: MemoryLog, init: MessageInitShape<typeof WriteLogsRequestSchema>): ReturnType<typeof writeLogs> {
    const bytes = toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, init));
    const request = parseWriteRequest(bytes, DEFAULT_LIMITS);
    return writeLogs(request, { target: targetOf(log), budget: newBudget(), atBound: "refuse" });
  }

  test("is answered with what became of it", async () => {
    const log = new MemoryLog();
    await log.write({}, {});
    expect(await write(log, { entries: [{ message: "a" }, bad, { message: "b" }] })).toMatchObject({
      accepted: 2n,
      duplicates: 0n,
      rejected: [{ index: 1n, reason: "RESERVED_FIELD" }],
      lastSequence: 4n,
      lastCursor: cursor(4),
    });
  });

  test("of nothing, or of nothing good, is answered too", async () => {
    const log = new MemoryLog();
    const nothing = { accepted: 0n, duplicates: 0n, lastSequence: 0n, lastCursor: "" };
    expect(await write(log, {})).toMatchObject({ ...nothing, rejected: [] });
    expect(await write(log, { entries: [bad] })).toMatchObject({ ...nothing, rejected: [{ index: 0n }] });
  });

  test("is answered when it is durable, or at once when that is asked for", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const answered: string[] = [];
    const disk = write(log, { entries: [{}] }).then(() => answered.push("disk"));
    await write(log, { entries: [{}], durability: Durability.MEMORY }).then(() => answered.push("memory"));
    expect(answered).toEqual(["memory"]);
    log.commit();
    await disk;
    expect(answered).toEqual(["memory", "disk"]);
  });

  test("of more than a slice is answered when the last of its slices is durable", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    let isAnswered = false;
    const entries = Array.from({ length: 5000 }, () => ({}));
    const writing = write(log, { entries }).then((response) => {
      isAnswered = true;
      return response;
    });
    await expect.poll(() => log.batches.length).toBe(1);
    log.commit();
    await settle();
    expect([log.batches.length, log.head.sequence, isAnswered]).toEqual([2, 4096, false]);
    log.commit();
    expect(await writing).toMatchObject({ accepted: 5000n, lastSequence: 5000n, lastCursor: cursor(5000) });
  });

  test("that cannot become durable fails", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const writing = write(log, { entries: [{}] });
    const rejected = expect(writing).rejects.toBeInstanceOf(DiskFull);
    await settle();
    log.failPending(new DiskFull("default"));
    await rejected;
  });

  test("sent again is answered as the first time, with the duplicates counted", async () => {
    const log = new MemoryLog();
    const request = { producer: "p", firstProducerSequence: 1n, entries: [{ message: "a" }, bad, { message: "b" }] };
    const first = await write(log, request);
    expect(await write(log, request)).toEqual({ ...first, duplicates: 2n });
    expect(log.head.sequence).toBe(2);
  });

  test("with numbers that do not fit is refused whole", async () => {
    await expect(write(new MemoryLog(), { producer: "p", entries: [{}] })).rejects.toBeInstanceOf(InvalidRequest);
  });
});

type StreamRequest = MessageInitShape<typeof WriteLogStreamRequestSchema>;
type StreamResponse = MessageInitShape<typeof WriteLogStreamResponseSchema>;

/** A client of one stream, its requests and responses in the test's hands. */
class StreamClient {
  readonly responses: StreamResponse[] = [];
  readonly call = new FakeCall();
  outcome: "open" | "ended" | { readonly error: unknown } = "open";
  /** How many requests were taken. */
  taken = 0;
  isReading = true;
  readonly #requests: Uint8Array[] = [];
  #isClosed = false;
  #wake: () => void = () => {};
  #wakeReader: () => void = () => {};

  constructor(log: MemoryLog, budget = newBudget()) {
    const target = targetOf(log);
    const open = (name: string): WriteTarget => {
      if (name !== "" && name !== log.name) throw new NotFound("log", name, "there is none");
      return target;
    };
    void this.#run(writeLogStream(this.#sent(), this.call, { limits: DEFAULT_LIMITS, budget, open }));
  }

  send(init: StreamRequest): void {
    this.#requests.push(toBinary(WriteLogStreamRequestSchema, create(WriteLogStreamRequestSchema, init)));
    this.#wake();
  }

  finish(): void {
    this.#isClosed = true;
    this.#wake();
  }

  readOn(): void {
    this.isReading = true;
    this.#wakeReader();
  }

  /** The responses but for their flow. */
  get acknowledgements(): StreamResponse[] {
    return this.responses.slice(1).map(({ flow: _, ...rest }) => rest);
  }

  async #run(responses: AsyncIterable<StreamResponse>): Promise<void> {
    try {
      for await (const response of responses) {
        this.responses.push(response);
        while (!this.isReading) {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
        }
      }
      this.outcome = "ended";
    } catch (error) {
      this.outcome = { error };
    }
    this.call.end();
  }

  async *#sent(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#requests.shift();
      if (next !== undefined) {
        this.taken++;
        yield next;
      } else if (this.#isClosed || this.call.isEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

const clients: StreamClient[] = [];

function connect(log: MemoryLog): StreamClient {
  const client = new StreamClient(log);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.call.end();
    client.finish();
    client.readOn();
  }
  await settle();
});

describe("a stream of batches", () => {
  test("begins with headers and the window, before anything is sent", async () => {
    const client = connect(new MemoryLog());
    await settle();
    expect(client.call.hasHeaders).toBe(true);
    expect(client.responses).toEqual([{ flow: { seen: 0n, window: 65_536, windowBytes: 8_388_608n } }]);
  });

  test("is acknowledged when it is durable, in order, several batches at a time", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    client.send({ entries: [{ message: "1" }, bad] });
    client.send({ entries: [{ message: "2" }, { message: "3" }] });
    client.send({ entries: [bad] });
    await settle();
    expect(client.acknowledgements).toEqual([]);
    log.commit();
    await settle();
    expect(client.acknowledgements).toMatchObject([
      {
        acknowledged: 5n,
        rejected: [{ index: 1n }, { index: 4n }],
        lastSequence: 3n,
        lastCursor: cursor(3),
        duplicates: 0n,
      },
    ]);
    expect(client.responses.at(-1)?.flow).toMatchObject({ seen: 5n });
    client.finish();
    await settle();
    expect(client.outcome).toBe("ended");
  });

  test("keeps its place when what comes next is refused, or was there before", async () => {
    const log = new MemoryLog();
    const client = connect(log);
    client.send({ producer: "p", firstProducerSequence: 1n, entries: [{ message: "1" }, { message: "2" }] });
    await settle();
    client.send({ firstProducerSequence: 3n, entries: [bad] });
    await settle();
    client.send({ firstProducerSequence: 1n, entries: [{ message: "1" }] });
    await settle();
    expect(client.acknowledgements).toMatchObject([
      { acknowledged: 2n, lastSequence: 2n, lastCursor: cursor(2) },
      { acknowledged: 3n, lastSequence: 2n, lastCursor: cursor(2) },
      { acknowledged: 4n, lastSequence: 2n, lastCursor: cursor(2), duplicates: 1n },
    ]);
  });

  test("that is closed by its client ends after the last acknowledgement", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    client.send({ entries: [{}] });
    client.finish();
    await settle();
    expect(client.outcome).toBe("open");
    log.commit();
    await settle();
    expect([client.outcome, client.acknowledgements.length]).toEqual(["ended", 1]);
  });

  test("may ask for memory: then it is acknowledged first, and told what is durable later", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    client.send({ entries: [{}], durability: Durability.MEMORY });
    await settle();
    log.commit();
    client.send({ entries: [{}], durability: Durability.MEMORY });
    await settle();
    expect(client.acknowledgements.map(({ acknowledged, lastSequence }) => [acknowledged, lastSequence])).toEqual([
      [1n, 0n],
      [2n, 1n],
    ]);
  });

  test("resumes on another stream without a twin", async () => {
    const log = new MemoryLog();
    const first = connect(log);
    first.send({ producer: "p", firstProducerSequence: 1n, entries: [{ message: "1" }, { message: "2" }] });
    await settle();
    first.call.end();
    const second = connect(log);
    second.send({ producer: "p", firstProducerSequence: 2n, entries: [{ message: "2" }, { message: "3" }] });
    second.send({ firstProducerSequence: 4n, entries: [{ message: "4" }] });
    await settle();
    expect(log.head.sequence).toBe(4);
    expect(second.acknowledgements.reduce((sum, each) => sum + Number(each.duplicates), 0)).toBe(1);
    expect(second.acknowledgements.at(-1)).toMatchObject({ acknowledged: 3n, lastSequence: 4n });
  });

  test("that goes wrong fails after what went well is acknowledged", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    client.send({ producer: "p", firstProducerSequence: 1n, entries: [{}] });
    client.send({ firstProducerSequence: 7n, entries: [{}] });
    await settle();
    expect(client.outcome).toBe("open");
    log.commit();
    await settle();
    expect(client.acknowledgements).toMatchObject([{ acknowledged: 1n }]);
    expect(client.outcome).toMatchObject({ error: { name: "ProducerGap" } });
    expect((client.outcome as { error: unknown }).error).toBeInstanceOf(ProducerGap);
  });

  test("that cannot become durable fails, the acknowledged part aside", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    client.send({ entries: [{}] });
    await settle();
    log.commit();
    await settle();
    client.send({ entries: [{}] });
    client.send({ entries: [{}] });
    await settle();
    log.failPending(new DiskFull("default"));
    await settle();
    expect(client.acknowledgements).toMatchObject([{ acknowledged: 1n }]);
    expect(client.outcome).toMatchObject({ error: { name: "DiskFull" } });
  });

  test.each([
    ["an unknown log", [{ log: "other", entries: [{}] }], "NotFound"],
    ["another log in between", [{ entries: [{}] }, { log: "other" }], "InvalidRequest"],
    [
      "another producer in between",
      [{ producer: "p", firstProducerSequence: 1n, entries: [{}] }, { producer: "q" }],
      "InvalidRequest",
    ],
    ["no numbers", [{ producer: "p", entries: [{}] }], "InvalidRequest"],
  ])("with %s is refused", async (_, requests, name) => {
    const client = connect(new MemoryLog());
    for (const request of requests) client.send(request);
    await settle();
    expect(client.outcome).toMatchObject({ error: { name } });
  });

  test("is not read while too much waits to be acknowledged, and goes on then", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    for (let i = 0; i < 400; i++) client.send({ entries: [{}] });
    for (let i = 0; i < 50; i++) await settle();
    expect(client.taken).toBeLessThanOrEqual(257);
    log.isAutomatic = true;
    log.commit();
    for (let i = 0; i < 50; i++) await settle();
    expect([client.taken, log.head.sequence]).toEqual([400, 400]);
  });

  test("whose client does not read its acknowledgements does not heap up rejections", async () => {
    const log = new MemoryLog();
    const client = connect(log);
    client.isReading = false;
    const entries = Array.from({ length: 1000 }, () => bad);
    for (let i = 0; i < 100; i++) client.send({ entries });
    for (let i = 0; i < 50; i++) await settle();
    expect(client.taken).toBeLessThanOrEqual(67);
    client.readOn();
    client.finish();
    for (let i = 0; i < 50; i++) await settle();
    expect(client.outcome).toBe("ended");
    expect(client.acknowledgements.reduce((sum, each) => sum + (each.rejected?.length ?? 0), 0)).toBe(100_000);
  });

  test("that is cut off ends without waiting for anything", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const client = connect(log);
    client.send({ entries: [{}] });
    await settle();
    client.call.end();
    client.finish();
    await settle();
    expect(client.outcome).toBe("ended");
    log.commit();
    await settle();
    expect(log.head.sequence).toBe(1);
  });
});
