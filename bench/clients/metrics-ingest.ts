// Exporters of metrics at the highest rate that a server answers: OTLP by gRPC or by HTTP/1.1, one moment after another.

import { fromBinary } from "@bufbuild/protobuf";
import { ExportMetricsServiceResponseSchema } from "@sluice/api";
import { MetricGroup, seriesPerRequest } from "../metric-load.ts";
import { carryOut } from "./client-process.ts";
import { type BodyStamp, openHttpExport, placesOf } from "./otlp-http.ts";
import { timeSenders, UnaryExporter } from "./unary-exporter.ts";

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
      known = { places: valuePlacesOf(body), round: 0 };
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

function valuePlacesOf(body: Buffer): number[] {
  const places = placesOf(body, UNSTAMPED_NS);
  if (places.some((at) => body[at + 8] !== AS_DOUBLE))
    throw new Error("A point's value does not stand behind its time");
  return places;
}

function checkAnswer(answer: Uint8Array): void {
  const { partialSuccess } = fromBinary(ExportMetricsServiceResponseSchema, answer);
  if (partialSuccess !== undefined) throw new Error(partialSuccess.errorMessage);
}

async function run(task: MetricsIngestTask): Promise<MetricsIngestOutcome> {
  const groups = Array.from({ length: Math.ceil(task.series / seriesPerRequest) }, (_, i) =>
    new MetricGroup(i * seriesPerRequest, seriesPerRequest).at(UNSTAMPED_NS),
  );
  const bodiesOf = (exporter: number) => groups.filter((_, i) => i % task.exporters === exporter);
  const points = task.exporters * task.requestsPerExporter * seriesPerRequest;
  const stamp = new Stamp(task.firstMs);
  if (task.protocol === "http") return { points, seconds: await runHttp(task, bodiesOf, stamp) };
  const exporters = Array.from(
    { length: task.exporters },
    (_, index) =>
      new UnaryExporter({
        address: task.address,
        path: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        requests: task.requestsPerExporter,
        underWay: task.requestsUnderWay,
        bodies: bodiesOf(index),
        prepare: (body) => stamp.write(body),
        check: checkAnswer,
      }),
  );
  return { points, seconds: await timeSenders(task.address, exporters) };
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
