// Many subscribers to metrics, each with a stream of its own, and one program that exports: how long a round is on its way.

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type ExportMetricsServiceRequestSchema, MetricsRequestSchema, OtlpMetricsService } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import { carryOut, type Pause } from "./client-process.ts";
import { MessageCounters } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface MetricsSubscribeTask {
  readonly address: string;
  readonly connections: number;
  readonly subscribersPerConnection: number;
  readonly seriesPerSubscriber: number;
  /** Subscriber n asks for group n % groups. */
  readonly groups: number;
  /** No two subscribers ask for the same: each is encoded for itself. */
  readonly isDistinct: boolean;
  /** For so many rounds of a second all series get a new point each second; pauses at "open" and at "over". */
  readonly rounds: number;
}

export interface MetricsSubscribeOutcome {
  readonly points: number;
  /** From the first byte of a round to its last, one for each round. */
  readonly spreadsMs: readonly number[];
}

/** Nothing has come for so long: what comes next is another round. */
const quietMs = 300;

class Subscribers implements WireHandler {
  readonly counters: MessageCounters;
  openStreams = 0;
  points = 0;
  onProgress: () => void = () => {};

  constructor(subscribers: number) {
    this.counters = new MessageCounters(subscribers);
  }

  open(connection: WireConnection, bodies: readonly Buffer[], address: string): void {
    const encoder = new HeaderEncoder();
    for (const [subscriber, body] of bodies.entries()) {
      const streamId = subscriber * 2 + 1;
      const block = encoder.encode(
        requestFields("/sluice.metrics.v1.MetricsService/StreamMetrics", address, "plain", 0),
      );
      connection.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      connection.send(streamId, dataFrames(streamId, body, { endStream: true }));
    }
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    this.points += this.counters.take(streamId >> 1, buffer, start, end);
  }

  onHeaders(): void {
    this.openStreams++;
  }

  onEnd(streamId: number): void {
    throw new Error(`The server ended the subscription on stream ${streamId}`);
  }

  onReadEnd(): void {
    this.onProgress();
  }
}

async function runSubscribe(task: MetricsSubscribeTask, pause: Pause): Promise<MetricsSubscribeOutcome> {
  const { address, subscribersPerConnection: each } = task;
  const channel = openChannel(address);
  const otlp = createClient(OtlpMetricsService, channel);
  for (const request of exportsOf(task, 0)) await otlp.export(request);
  await pause("exported");
  const groups = Array.from({ length: task.connections }, () => new Subscribers(each));
  const connections = await Promise.all(groups.map((group) => WireConnection.open(address, group)));
  const failure = Promise.race(connections.map((connection) => connection.failure));
  const spreads = new Spreads();
  for (const [i, group] of groups.entries()) {
    group.onProgress = () => spreads.note(performance.now());
    const bodies = Array.from({ length: each }, (_, subscriber) => bodyOf(task, i * each + subscriber));
    group.open(connections[i]!, bodies, address);
  }
  const total = () => groups.reduce((sum, { points }) => sum + points, 0);
  // All as it is, and `sync`, at each of them.
  const first = task.connections * each * (task.seriesPerSubscriber + 1);
  while (total() < first) await Promise.race([new Promise((resolve) => setTimeout(resolve, 50)), failure]);
  await pause("open");
  const before = total();
  spreads.begin();
  for (let round = 1; round <= task.rounds; round++) {
    const dueMs = performance.now() + 1000;
    for (const request of exportsOf(task, round)) await otlp.export(request);
    await Promise.race([
      new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now()))),
      failure,
    ]);
  }
  const points = total() - before;
  const spreadsMs = spreads.end();
  await pause("over");
  for (const connection of connections) connection.close();
  await channel.close();
  const least = task.connections * each * task.seriesPerSubscriber * (task.rounds - 2);
  if (points < least) throw new Error(`${points} points came, at least ${least} should have`);
  return { points, spreadsMs };
}

/** When the bytes of rounds come. */
class Spreads {
  #spreads: number[] = [];
  #firstMs = -Infinity;
  #lastMs = -Infinity;

  note(nowMs: number): void {
    if (nowMs - this.#lastMs > quietMs) {
      if (this.#firstMs > 0) this.#spreads.push(this.#lastMs - this.#firstMs);
      this.#firstMs = nowMs;
    }
    this.#lastMs = nowMs;
  }

  begin(): void {
    this.#spreads = [];
  }

  /** Of whole rounds but the first, which had begun before. */
  end(): number[] {
    return this.#spreads.slice(1);
  }
}

function bodyOf(task: MetricsSubscribeTask, subscriber: number): Buffer {
  const request = create(MetricsRequestSchema, {
    metricNames: ["bench.gauge"],
    labels: { group: String(subscriber % task.groups) },
    intervalMs: 1000,
    // Another bound makes another selection.
    maxSeries: task.isDistinct ? task.seriesPerSubscriber + 1 + subscriber : 0,
  });
  return grpcFrame(toBinary(MetricsRequestSchema, request));
}

/** Every series once, a request for each ten groups. */
function* exportsOf(
  { groups, seriesPerSubscriber }: MetricsSubscribeTask,
  round: number,
): Generator<MessageInitShape<typeof ExportMetricsServiceRequestSchema>> {
  const text = (value: string) => ({ value: { case: "stringValue" as const, value } });
  for (let first = 0; first < groups; first += 10) {
    const timeUnixNano = BigInt(Date.now()) * 1_000_000n;
    const dataPoints = Array.from({ length: Math.min(10, groups - first) * seriesPerSubscriber }, (_, i) => ({
      timeUnixNano,
      value: { case: "asDouble" as const, value: round + i / 1000 },
      attributes: [
        { key: "group", value: text(String(first + Math.floor(i / seriesPerSubscriber))) },
        { key: "instance", value: text(`instance-${i % seriesPerSubscriber}`) },
      ],
    }));
    const metric = { name: "bench.gauge", unit: "1", data: { case: "gauge" as const, value: { dataPoints } } };
    yield { resourceMetrics: [{ scopeMetrics: [{ metrics: [metric] }] }] };
  }
}

await carryOut(runSubscribe);
