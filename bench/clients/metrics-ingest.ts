// Exporters of metrics at the highest rate that a server answers: OTLP by gRPC or by HTTP/1.1, one moment after another.

import { fromBinary } from "@bufbuild/protobuf";
import { ExportMetricsServiceResponseSchema } from "@sluice/api";
import { MetricGroup, seriesPerRequest } from "../metric-load.ts";
import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { type BodyStamp, openHttpExport } from "./otlp-http.ts";
import { requestFields } from "./request-headers.ts";

export interface MetricsIngestTask {
  readonly address: string;
  readonly protocol: "grpc" | "http";
  /** Of HTTP. */
  readonly path: string;
  /** Each has a connection and series of its own. */
  readonly exporters: number;
  readonly requestsPerExporter: number;
  /** Of one exporter that are sent and not yet answered, at most. */
  readonly requestsUnderWay: number;
  readonly series: number;
  /** Of the first points, Unix ms; every further request of a series is a ms later. */
  readonly firstMs: number;
}

export interface MetricsIngestOutcome {
  readonly points: number;
  readonly seconds: number;
}

/** The same in every body until it is stamped; nothing else in it looks like that. */
const UNSTAMPED_NS = 0x1122_3344_5566_7788n;
/** Tag of `NumberDataPoint.as_double`, which stands behind the time. */
const AS_DOUBLE = 0x21;

/** Gives all points of a body a time and a value that they did not have yet. */
class Stamp implements BodyStamp {
  readonly #firstNs: bigint;
  readonly #bodies = new Map<Buffer, { readonly places: readonly number[]; round: number }>();

  constructor(firstMs: number) {
    this.#firstNs = BigInt(firstMs) * 1_000_000n;
  }

  write(body: Buffer): void {
    let known = this.#bodies.get(body);
    if (known === undefined) {
      known = { places: placesOf(body), round: 0 };
      this.#bodies.set(body, known);
    }
    const timeNs = this.#firstNs + BigInt(known.round) * 1_000_000n;
    for (const [i, place] of known.places.entries()) {
      body.writeBigUInt64LE(timeNs, place);
      body.writeDoubleLE(known.round + (i % 3 === 0 ? 0 : i / 100), place + 9);
    }
    known.round++;
  }
}

function placesOf(body: Buffer): number[] {
  const mark = Buffer.alloc(8);
  mark.writeBigUInt64LE(UNSTAMPED_NS);
  const places: number[] = [];
  for (let at = body.indexOf(mark); at >= 0; at = body.indexOf(mark, at + 8)) {
    if (body[at + 8] !== AS_DOUBLE) throw new Error("A point's value does not stand behind its time");
    places.push(at);
  }
  return places;
}

/** A unary call for each batch. */
class Exporter implements WireHandler {
  readonly #task: MetricsIngestTask;
  readonly #bodies: readonly Buffer[];
  readonly #stamp: Stamp;
  readonly #encoder = new HeaderEncoder();
  readonly #answers = new Answers();
  readonly #readers = new Map<number, MessageReader>();
  readonly #done = Promise.withResolvers<void>();
  #connection: WireConnection | undefined;
  #sent = 0;
  #answered = 0;

  constructor(task: MetricsIngestTask, bodies: readonly Buffer[], stamp: Stamp) {
    this.#task = task;
    this.#bodies = bodies;
    this.#stamp = stamp;
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  start(connection: WireConnection): void {
    this.#connection = connection;
    this.onReadEnd();
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    const reader = this.#readers.get(streamId) ?? new MessageReader();
    this.#readers.set(streamId, reader);
    for (const message of reader.take(buffer.subarray(start, end))) {
      const { partialSuccess } = fromBinary(ExportMetricsServiceResponseSchema, message);
      if (partialSuccess !== undefined) throw new Error(partialSuccess.errorMessage);
    }
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.#answers.count(block);
  }

  onEnd(streamId: number): void {
    this.#readers.delete(streamId);
    this.#answered++;
  }

  onReadEnd(): void {
    const { requestsPerExporter, requestsUnderWay, address } = this.#task;
    if (this.#answered === requestsPerExporter) this.#done.resolve();
    while (this.#sent < requestsPerExporter && this.#sent - this.#answered < requestsUnderWay) {
      const streamId = this.#sent * 2 + 1;
      const path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
      const block = this.#encoder.encode(requestFields(path, address, "plain", 0));
      const body = this.#bodies[this.#sent % this.#bodies.length]!;
      this.#stamp.write(body);
      this.#sent++;
      this.#connection?.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      this.#connection?.send(streamId, dataFrames(streamId, grpcFrame(body), { endStream: true }));
    }
  }

  verify(): void {
    this.#answers.verify(this.#task.requestsPerExporter);
  }
}

async function run(task: MetricsIngestTask): Promise<MetricsIngestOutcome> {
  const groups = Array.from({ length: Math.ceil(task.series / seriesPerRequest) }, (_, i) =>
    new MetricGroup(i * seriesPerRequest, seriesPerRequest).at(UNSTAMPED_NS),
  );
  const bodiesOf = (exporter: number) => groups.filter((_, i) => i % task.exporters === exporter);
  const points = task.exporters * task.requestsPerExporter * seriesPerRequest;
  const stamp = new Stamp(task.firstMs);
  if (task.protocol === "http") return { points, seconds: await runHttp(task, bodiesOf, stamp) };
  const lines = await Promise.all(
    Array.from({ length: task.exporters }, async (_, index) => {
      const exporter = new Exporter(task, bodiesOf(index), stamp);
      return { exporter, connection: await WireConnection.open(task.address, exporter) };
    }),
  );
  const start = performance.now();
  await Promise.all(
    lines.map(async ({ exporter, connection }) => {
      exporter.start(connection);
      await Promise.race([exporter.done, connection.failure]);
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const { exporter, connection } of lines) {
    connection.close();
    exporter.verify();
  }
  return { points, seconds };
}

/** A connection takes one request at a time, and the points of a series must come in order: one connection for each exporter. */
async function runHttp(
  task: MetricsIngestTask,
  bodiesOf: (exporter: number) => readonly Buffer[],
  stamp: Stamp,
): Promise<number> {
  const { address, path, requestsPerExporter: requestsPerConnection } = task;
  const each = { address, path, connections: 1, requestsPerConnection };
  const runs = await Promise.all(
    Array.from({ length: task.exporters }, (_, index) => openHttpExport(each, bodiesOf(index), stamp)),
  );
  const start = performance.now();
  await Promise.all(runs.map((send) => send()));
  return (performance.now() - start) / 1000;
}

await carryOut(run);
