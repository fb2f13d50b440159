import { type Delivery, NackKind, ResultCode } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { settle } from "../testing/chance.ts";
import { cut, leaseOf, openRelay, results, type Said, session } from "../testing/model-relay.ts";

const numberOf = ({ number, lease }: Delivery) => [Number(number), Number(lease!.attempt)];

test("on the next stream the worker's session goes on: leases, unanswered words, window; its numbers go on, too", async () => {
  const { streams, read, say, relay, reconnect, deliveries, events, told } = openRelay({ workerId: "w", leaseMs: 500 });
  const [first] = streams;
  first!.tell(session());
  for (const attempt of [11, 12, 13]) first!.deliver(attempt - 10, attempt);
  await read();
  say({ case: "ack", value: { request: 1n, leases: [leaseOf(11)] } });
  say({ case: "flow", value: { seen: 2n, window: 2 } });
  say({ case: "throttle", value: { fairnessKey: "known", until: 5n } });
  await settle();
  expect(first!.cases()).toEqual(["subscribe", "ack", "flow", "throttle"]);
  expect([relay.running, relay.unanswered, relay.free]).toEqual([3, 1, 1]);
  const second = await reconnect();
  expect(second.cases()).toEqual(["subscribe", "ack"]);
  const subscribe = second.last("subscribe");
  expect(subscribe).toMatchObject({ queue: "tax", workerId: "w", leaseMs: 500, sessionToken: Uint8Array.of(7) });
  expect(second.held()).toEqual([11, 12, 13]);
  // One of three is unseen: of the two that the worker would take it has one on its way.
  expect(subscribe).toMatchObject({ flow: { seen: 0n, window: 1 } });
  second.tell(session([11, 12, 13]), results(11, ResultCode.OK));
  second.deliver(1, 21);
  await read();
  expect(deliveries().map(numberOf)).toEqual([[1, 11], [2, 12], [3, 13], [4, 21]]); // prettier-ignore
  expect(told.filter((each) => each.case === "session")).toHaveLength(1);
  expect([events, relay.unanswered]).toEqual([["attached", "lost", "attached", "ack 1"], 0]);
  say({ case: "flow", value: { seen: 4n, window: 3 } });
  await settle();
  expect(second.last("flow")).toMatchObject({ seen: 1n, window: 3 });
  second.tell({ case: "flowState", value: { sent: 1n, credit: 3 } });
  await read();
  expect(told.at(-1)).toMatchObject({ case: "flowState", value: { sent: 4n, credit: 3 } });
});

test("what the cut took is told: offers by a recall, leases by their loss; a Start on its way is asked about again", async () => {
  const { streams, read, say, reconnect, told, relay } = openRelay({ explicitStart: true });
  const [first] = streams;
  first!.tell(session());
  for (const attempt of [11, 12, 13, 14]) first!.deliver(attempt - 10, attempt, { isOffer: true });
  await read();
  say({ case: "start", value: { request: 1n, leases: [leaseOf(11)] } });
  await settle();
  first!.tell(results(11, ResultCode.OK));
  await read();
  say({ case: "start", value: { request: 3n, leases: [leaseOf(12)] } });
  await settle();
  expect([relay.offered, relay.running]).toEqual([3, 1]);
  const second = await reconnect();
  await read();
  expect(told.find((each) => each.case === "recall")).toMatchObject({ value: { leases: [leaseOf(13), leaseOf(14)] } });
  expect(second.held()).toEqual([11, 12]);
  // Both places are free again, before the worker says so.
  expect(second.last("subscribe")).toMatchObject({ flow: { seen: 0n, window: 2 } });
  expect(second.last("start")).toMatchObject({ leases: [leaseOf(12)] });
  second.tell(session([12], [11]), results(12, ResultCode.DUPLICATE));
  await read();
  expect(told.slice(-2)).toMatchObject([
    { case: "leaseLost", value: { leases: [leaseOf(11)] } },
    { case: "results", value: { results: [{ code: ResultCode.DUPLICATE }] } },
  ]);
  expect([relay.offered, relay.running]).toEqual([0, 1]);
});

test("a worker that is gone gives back what it had; what it had said before is said until it is answered", async () => {
  const { streams, read, say, relay, reconnect, events } = openRelay();
  const [first] = streams;
  first!.tell(session());
  for (const attempt of [11, 12]) first!.deliver(attempt - 10, attempt);
  await read();
  say({ case: "ack", value: { request: 1n, leases: [leaseOf(11)] } });
  await settle();
  relay.leave();
  await settle();
  expect(first!.cases()).toEqual(["subscribe", "ack", "drain", "nack"]);
  expect(first!.last("nack")).toMatchObject({ lease: leaseOf(12), kind: 1 });
  first!.deliver(3, 13); // it crossed the drain
  await settle();
  expect(first!.last("nack")).toMatchObject({ lease: leaseOf(13), kind: 1 });
  const second = await reconnect();
  expect(second.cases()).toEqual(["subscribe", "ack", "nack", "nack", "drain"]);
  expect(second.last("subscribe")).not.toHaveProperty("flow");
  second.tell(
    session([11, 12, 13]),
    results(11, ResultCode.OK),
    results(12, ResultCode.OK),
    results(13, ResultCode.OK),
  );
  second.answers.end();
  await settle();
  expect(events).toEqual(["attached", "returned 1", "returned 1", "lost", "attached", "ack 1", "over"]);
});

test("a worker that is gone without a word has no next stream: the server gives back what it had", async () => {
  const { streams, read, relay, events, clock } = openRelay();
  streams[0]!.tell(session());
  streams[0]!.deliver(1, 11);
  await read();
  streams[0]!.answers.end(cut);
  await settle();
  relay.leave();
  await settle();
  clock.advance(60_000);
  await settle();
  expect([streams.length, events.at(-1), clock.timers]).toEqual([1, "over", 0]);
});

test("what a worker does not read stays with the server", async () => {
  const { streams, read, deliveries } = openRelay({ flow: { window: 100 } });
  const [first] = streams;
  first!.tell(session());
  for (let number = 1; number <= 20; number++) first!.deliver(number, number, { bytes: 100_000 });
  for (let turn = 0; turn < 10; turn++) await settle();
  expect(first!.answers.pulled).toBe(4);
  await read();
  for (let turn = 0; turn < 10; turn++) await read();
  expect(deliveries()).toHaveLength(20);
});

test("a worker that says more than the server answers is not read any more", async () => {
  const { say, worker, streams } = openRelay();
  streams[0]!.tell(session());
  const ack: Said = { case: "ack", value: { request: 1n, leases: [leaseOf(1)] } };
  say(...Array.from({ length: 10_050 }, () => ack));
  await expect.poll(() => worker.pulled).toBe(10_000);
  for (let turn = 0; turn < 10; turn++) await settle();
  expect(worker.pulled).toBe(10_000);
  streams[0]!.tell(results(1, ResultCode.NOT_FOUND));
  await expect.poll(() => worker.pulled).toBe(10_001);
});

test("while the server is away its heartbeats come from the sidecar, and end with it", async () => {
  const { streams, read, told, clock, relay, events } = openRelay({ heartbeatMs: 1000 });
  streams[0]!.tell(session());
  streams[0]!.deliver(1, 11);
  await read();
  for (let failures = 0; failures < 4; failures++) {
    streams.at(-1)!.answers.end(cut);
    await settle();
    clock.advance(1500);
    await settle();
  }
  await read();
  const beats = told.flatMap((each) => (each.case === "flowState" ? [each.value] : []));
  expect(beats.length).toBeGreaterThan(0);
  expect(beats.at(-1)).toMatchObject({ sent: 1n, credit: 3 });
  expect(events.filter((each) => each === "attached")).toHaveLength(1);
  relay.close();
  await settle();
  expect(clock.timers).toBe(0);
});

test("a server that is silent for two heartbeats is given up, and the worker hears of the sidecar at once", async () => {
  const { streams, read, told, clock, events } = openRelay({ heartbeatMs: 1000 });
  streams[0]!.tell(session());
  await read();
  clock.advance(1900);
  streams[0]!.tell({ case: "flowState", value: { credit: 4 } });
  await read();
  clock.advance(1900);
  await read();
  expect([events, told.length]).toEqual([["attached"], 2]);
  clock.advance(200);
  await read();
  expect(events).toEqual(["attached", "lost"]);
  expect(told.at(-1)).toMatchObject({ case: "flowState", value: { sent: 0n, credit: 4 } });
  expect(told).toHaveLength(3);
});

test("before the server has taken a worker, only its absence is waited for", async () => {
  const { reconnect, ending, read, events, told } = openRelay();
  const second = await reconnect();
  await read();
  expect(told).toEqual([]); // a session comes first
  const refusal = new RpcError(Code.RESOURCE_EXHAUSTED, "the limit is reached");
  second.answers.end(refusal);
  await read();
  expect([ending(), events]).toEqual([refusal, ["lost", "refused", "over"]]);
});

test("a drain: no more jobs, and the worker's stream ends when it has nothing left", async () => {
  const { streams, read, say, relay, ending, told } = openRelay();
  const [first] = streams;
  first!.tell(session());
  first!.deliver(1, 11);
  await read();
  relay.drain();
  relay.drain();
  await settle();
  expect([first!.cases(), relay.free]).toEqual([["subscribe", "drain"], 0]);
  say({ case: "ack", value: { request: 1n, leases: [leaseOf(11)] } });
  await settle();
  first!.tell(results(11, ResultCode.OK), { case: "drained", value: { lastNumber: 1n } });
  first!.answers.end();
  await read();
  expect(told.map((each) => each.case)).toEqual(["session", "delivery", "results"]);
  expect(ending()).toMatchObject({ code: Code.UNAVAILABLE });
});

test("a worker's own drain ends as at the server", async () => {
  const { streams, read, say, ending, told } = openRelay();
  const [first] = streams;
  first!.tell(session());
  await read();
  say({ case: "drain", value: { deadlineMs: 700 } });
  await settle();
  expect(first!.last("drain")).toMatchObject({ deadlineMs: 700 });
  first!.tell({ case: "drained", value: { lastNumber: 0n } });
  first!.answers.end();
  await read();
  expect([told.at(-1)?.case, ending()]).toEqual(["drained", "well"]);
});

test("a worker that has nothing drains without a server, too", async () => {
  const { streams, read, say, ending, told } = openRelay();
  streams[0]!.tell(session());
  await read();
  streams[0]!.answers.end(cut);
  await settle();
  say({ case: "drain", value: { deadlineMs: 0 } });
  await read();
  expect([told.at(-1)?.case, ending(), streams.length]).toEqual(["drained", "well", 1]);
});

test("a throttle that came while the server was away is said before what goes back", async () => {
  const { streams, read, say, reconnect } = openRelay();
  streams[0]!.tell(session());
  streams[0]!.deliver(1, 11);
  await read();
  streams[0]!.answers.end(cut);
  await settle();
  say({ case: "throttle", value: { fairnessKey: "gold", until: 5n } });
  say({ case: "nack", value: { lease: leaseOf(11), kind: NackKind.RETURN } });
  const second = await reconnect();
  expect(second.cases()).toEqual(["subscribe", "throttle", "nack"]);
  expect(second.last("throttle")).toMatchObject({ fairnessKey: "gold", until: 5n });
});

test("a worker that has seen what it was not sent is told so, in its subscription and later", async () => {
  const flow = { seen: 10n ** 17n, window: 1 };
  expect(() => openRelay({ flow })).toThrow(
    "flow.seen: 100000000000000000 deliveries cannot have been seen: 0 were sent",
  );
  const { streams, read, say, ending } = openRelay();
  streams[0]!.tell(session());
  streams[0]!.deliver(1, 11);
  await read();
  say({ case: "flow", value: { seen: 2n, window: 1 } });
  await read();
  expect(ending()).toMatchObject({
    code: Code.INVALID_ARGUMENT,
    message: expect.stringContaining("1 were sent") as string,
  });
  expect(streams[0]!.cases()).toEqual(["subscribe", "drain", "nack"]);
});

const MISTAKES: readonly (readonly [string, Uint8Array, string])[] = [
  ["bytes that are no request", Uint8Array.of(0xff), "is no WorkRequest"],
  ["a kind of a newer contract", Uint8Array.of(0xfa, 0x01, 0x00), "kind: is missing"],
  ["a second subscription", Uint8Array.of(0x0a, 0x00), "subscribe: comes once"],
];
test.for(MISTAKES)("%s ends the worker's stream, and what it had goes back", async ([, bytes, text]) => {
  const { streams, read, worker, ending } = openRelay();
  streams[0]!.tell(session());
  streams[0]!.deliver(1, 11);
  await read();
  worker.push(bytes);
  await read();
  expect(ending()).toMatchObject({ code: Code.INVALID_ARGUMENT, message: expect.stringContaining(text) as unknown });
  expect(streams[0]!.cases()).toEqual(["subscribe", "drain", "nack"]);
});
