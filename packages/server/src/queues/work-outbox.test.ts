// What leaves when, over a journal whose disk and whose bodies answer when the test says so.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { JobSchema, ResultCode, type WorkResponse, WorkResponseSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameStream } from "@sluice/rpc";
import { beforeEach, describe, expect, test } from "vitest";
import type { Handout, Journal, Place } from "./contract.ts";
import { Credit } from "./credit.ts";
import { workFrame } from "./work-frames.ts";
import { WorkOutbox } from "./work-outbox.ts";
import type { LeaseList } from "./work-requests.ts";

class FakeJournal implements Pick<Journal, "durable" | "body"> {
  durableThrough: Place = 0;
  /** Bodies that are on disk alone: their reads wait here. */
  readonly reads = new Map<Place, PromiseWithResolvers<Uint8Array>>();
  readonly onDisk = new Set<Place>();
  #waiting: { place: Place; resolve: () => void; reject: (error: Error) => void }[] = [];

  durable(place: Place): Promise<void> | undefined {
    if (place <= this.durableThrough) return undefined;
    return new Promise((resolve, reject) => this.#waiting.push({ place, resolve, reject }));
  }

  body(place: Place): Uint8Array | Promise<Uint8Array> {
    if (!this.onDisk.has(place)) return jobAt(place);
    const read = this.reads.get(place) ?? Promise.withResolvers<Uint8Array>();
    this.reads.set(place, read);
    return read.promise;
  }

  async commit(place: Place): Promise<void> {
    this.durableThrough = place;
    const ready = this.#waiting.filter((each) => each.place <= place);
    this.#waiting = this.#waiting.filter((each) => each.place > place);
    for (const { resolve } of ready) resolve();
    await Promise.resolve();
  }

  async fail(error: Error): Promise<void> {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    await Promise.resolve();
  }
}

const jobAt = (place: Place) => toBinary(JobSchema, create(JobSchema, { body: Buffer.from(`job ${place}`) }));

let journal: FakeJournal;
let credit: Credit;
let outbox: WorkOutbox;
let places: Map<number, Place>;
let unreadable: unknown[];
let failures: unknown[];
let ended: string[];
let wakes: number;

beforeEach(() => {
  journal = new FakeJournal();
  credit = new Credit();
  credit.setFlow({ seen: 0, window: 100, windowBytes: 0 });
  places = new Map();
  unreadable = [];
  failures = [];
  ended = [];
  wakes = 0;
  outbox = new WorkOutbox(journal as unknown as Journal, credit, {
    placeOf: (number) => places.get(number),
    onUnreadable: (handout, error) => void unreadable.push(handout.lease.number, error),
    onFailure: (error) => void failures.push(error),
  });
  const stream: FrameStream = {
    wake: () => void wakes++,
    end: () => void ended.push("well"),
    fail: (error) => void ended.push((error as Error).message),
  };
  outbox.attach(stream);
});

/** All that leaves now, in short. */
function pulled(maxBytes = 16_384): string[] {
  const words: string[] = [];
  for (let frames = outbox.pull(maxBytes); frames !== undefined; frames = outbox.pull(maxBytes)) {
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
    for (let at = 0; at < frames.length;) {
      const end = at + FRAME_HEADER_BYTES + view.getUint32(at + 1);
      words.push(describeMessage(fromBinary(WorkResponseSchema, frames.subarray(at + FRAME_HEADER_BYTES, end)).kind));
      at = end;
    }
  }
  return words;
}

function describeMessage(kind: WorkResponse["kind"]): string {
  if (kind.case === "delivery") return `${kind.value.number}: ${Buffer.from(kind.value.job!.body).toString()}`;
  if (kind.case === "results") return `results ${kind.value.request}`;
  return kind.case ?? "";
}

/** An offer of job `number`, or, with a place of its start, a started one. */
function handout(number: number, recordPlace = 0): Handout {
  const lease = { number, attempt: number + 1000 };
  const leaseUntilMs = recordPlace === 0 ? 0 : 5000;
  return {
    lease,
    place: number,
    jobId: String(number),
    bytes: 10,
    priority: 3,
    failures: 0,
    leaseUntilMs,
    recordPlace,
  };
}

function asked(request: number): LeaseList {
  const lease = Uint8Array.of(0x0a, 1, 0x31);
  return {
    requestLow: request,
    requestHigh: 0,
    bytes: lease,
    starts: [0],
    ends: [3],
    leases: [{ number: 1, attempt: 1 }],
  };
}
const ok = [{ code: ResultCode.OK, leaseUntilMs: 0 }];
const recall = workFrame({ case: "recall", value: {} });

test("a body is read while the start of its job is on its way to disk (OB2)", async () => {
  journal.onDisk.add(1);
  outbox.deliver(handout(1, 7));
  expect(pulled()).toEqual([]);
  const read = journal.reads.get(1);
  expect(read).toBeDefined();
  read!.resolve(jobAt(1));
  await read!.promise;
  expect(pulled()).toEqual([]);
  await journal.commit(7);
  expect(pulled()).toEqual(["1: job 1"]);
});

test("an answer leaves when it is durable, in order, and an offer does not wait for it (OB1, OB2)", async () => {
  outbox.answer(asked(1), ok, 5);
  outbox.answer(asked(2), ok, 3);
  outbox.deliver(handout(1));
  expect(pulled()).toEqual(["1: job 1"]);
  await journal.commit(4);
  expect(pulled()).toEqual([]);
  const before = wakes;
  await journal.commit(5);
  expect(wakes).toBeGreaterThan(before);
  expect(pulled()).toEqual(["results 1", "results 2"]);
});

test("a started job leaves when its start is durable, and what is delivered later waits behind it", async () => {
  outbox.deliver(handout(1, 7));
  outbox.deliver(handout(2));
  expect(pulled()).toEqual([]);
  expect([credit.sent, credit.underWay]).toEqual([0, 2]);
  await journal.commit(7);
  expect(pulled()).toEqual(["1: job 1", "2: job 2"]);
});

test("a recall comes after its delivery and before what is delivered later; before that it leaves no trace (OB3)", () => {
  outbox.deliver(handout(1));
  expect(pulled()).toEqual(["1: job 1"]);
  outbox.deliver(handout(2));
  const leases = [handout(1).lease, handout(2).lease];
  expect(outbox.withdraw(leases)).toEqual([handout(1).lease]);
  expect(credit.underWay).toBe(1);
  outbox.sayRecall(recall);
  outbox.deliver(handout(3));
  expect(pulled()).toEqual(["recall", "2: job 3"]);
});

describe("bodies that are on disk", () => {
  test("are read when they are next, with a few ahead, and leave in order (OB4)", async () => {
    for (let number = 1; number <= 100; number++) {
      journal.onDisk.add(number);
      outbox.deliver(handout(number));
    }
    expect(journal.reads.size).toBe(0);
    expect(pulled()).toEqual([]);
    expect(journal.reads.size).toBeGreaterThan(1);
    expect(journal.reads.size).toBeLessThan(50);
    journal.reads.get(2)!.resolve(jobAt(2));
    await Promise.resolve();
    expect(pulled()).toEqual([]);
    journal.reads.get(1)!.resolve(jobAt(1));
    await Promise.resolve();
    expect(pulled()).toEqual(["1: job 1", "2: job 2"]);
  });

  test("are looked for at their new place when they were carried, and given up when they cannot be read", async () => {
    journal.onDisk.add(1).add(2);
    for (const number of [1, 2, 3]) outbox.deliver(handout(number));
    expect(pulled()).toEqual([]);
    places.set(1, 50);
    places.set(2, 2);
    journal.reads.get(1)!.reject(new Error("gone from there"));
    journal.reads.get(2)!.reject(new Error("damaged"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(pulled()).toEqual(["1: job 50", "2: job 3"]);
    expect(unreadable).toEqual([2, new Error("damaged")]);
    expect(credit.underWay).toBe(2);
  });
});

describe("the end", () => {
  test("comes behind the answers, and no delivery leaves any more", async () => {
    outbox.answer(asked(1), ok, 5);
    outbox.deliver(handout(1));
    outbox.end();
    outbox.fail(new Error("too late"));
    expect([pulled(), ended]).toEqual([[], []]);
    await journal.commit(5);
    expect([pulled(), ended]).toEqual([["results 1"], ["well"]]);
  });

  test("with an error is the same", () => {
    outbox.fail(new Error("so be it"));
    expect([pulled(), ended]).toEqual([[], ["so be it"]]);
  });

  test("a journal that fails is told to the owner", async () => {
    outbox.answer(asked(1), ok, 5);
    expect(pulled()).toEqual([]);
    await journal.fail(new Error("no disk"));
    expect(failures).toEqual([new Error("no disk")]);
  });
});

describe("a worker that does not read (OB5)", () => {
  test("is not read from while too many answers wait", async () => {
    const many = Array.from({ length: 20_001 }, () => ok[0]!);
    const list = { ...asked(1), starts: many.map(() => 0), ends: many.map(() => 3) };
    expect(outbox.room()).toBeUndefined();
    outbox.answer(list, many, 0);
    const room = outbox.room();
    expect(room).toBeDefined();
    pulled();
    await room;
    expect(outbox.room()).toBeUndefined();
  });

  test("is cut when recalls and lost leases fill its outbox", async () => {
    const frame = new Uint8Array(1024 * 1024);
    for (let i = 0; i < 4; i++) outbox.sayRecall(frame);
    expect(failures).toEqual([]);
    outbox.say(new Uint8Array(1), 0);
    expect(failures).toEqual([]);
    await Promise.resolve();
    expect(failures).toMatchObject([{ kind: "limit-exceeded", facts: { reason: "SLOW_WORKER" } }]);
  });
});
