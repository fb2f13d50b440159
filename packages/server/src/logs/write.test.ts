// WriteLogStream: batches in, acknowledgements out.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Durability, type WriteLogStreamResponseSchema, WriteLogStreamRequestSchema } from "@sluice/api";
import { afterEach, describe, expect, test } from "vitest";
import { DiskFull, NotFound } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { ProducerGap, type WriteTarget } from "./ingest.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { bad, cursor, newBudget, settle, targetOf } from "./testing/write-target.ts";
import { WriteBudget } from "../stream/write-budget.ts";
import { writeLogStream } from "./write.ts";

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

function connect(log: MemoryLog, budget?: WriteBudget): StreamClient {
  const client = new StreamClient(log, budget);
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
    expect(client.responses).toEqual([{ flow: { seen: 0n, window: 65_536, windowBytes: 65_536n } }]);
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

  test("has a share of what all streams may send, which follows their number", async () => {
    const log = new MemoryLog();
    const budget = new WriteBudget(8 * 1024 * 1024);
    const windowOf = ({ responses }: StreamClient) => responses.at(-1)?.flow?.windowBytes;
    const first = connect(log, budget);
    await settle();
    const others = Array.from({ length: 3 }, () => connect(log, budget));
    await settle();
    expect([windowOf(first), windowOf(others[2]!)]).toEqual([65_536n, 65_536n]);
    first.send({ entries: [{}] });
    await settle();
    expect(windowOf(first)).toBe(1_048_576n);
    for (const other of others) other.call.end();
    first.send({ entries: [{}] });
    await settle();
    expect(windowOf(first)).toBe(4_194_304n);
  });

  test("waits for room with what it has in hand, and is refused when all that wait have too much", async () => {
    const log = new MemoryLog();
    const { promise, resolve } = Promise.withResolvers<void>();
    log.roomGate = promise;
    const budget = new WriteBudget(1500);
    const entries = [{ message: "x".repeat(1000) }];
    const waiting = connect(log, budget);
    waiting.send({ entries });
    await settle();
    const refused = connect(log, budget);
    refused.send({ entries });
    await settle();
    expect([waiting.outcome, log.batches.length]).toEqual(["open", 0]);
    expect(refused.outcome).toMatchObject({ error: { name: "LimitExceeded", facts: { retryAfterMs: 500 } } });
    log.roomGate = undefined;
    resolve();
    await settle();
    expect(waiting.acknowledgements).toMatchObject([{ acknowledged: 1n }]);
    expect(budget.held).toBe(0);
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
