// Everything by which others write points: OTLP over gRPC and HTTP, WriteMetrics, Prometheus' remote write.
import type { ExportMetricsServiceResponseSchema, MetricsService, OtlpMetricsService } from "@sluice/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HttpHandlers, HttpRequest, RpcError, ServiceHandlers } from "@sluice/rpc";
import type { Limits } from "../limits.ts";
import { type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import { WriteBudget } from "../stream/write-budget.ts";
import type { MetricIntake } from "./intake.ts";
import { createOtlpMetricsHandler, OTLP_METRICS_PATH } from "./otlp-http.ts";
import { MetricsIngest } from "./otlp.ts";
import { createRemoteWriteHandler, REMOTE_WRITE_PATH } from "./remote-write.ts";
import { SeriesGuard } from "./series-guard.ts";
import type { SeriesTable } from "./series.ts";
import { writeMetrics } from "./write-metrics.ts";
import { PointWriter } from "./write-points.ts";

export interface WriteEntrancesOptions {
  readonly table: SeriesTable;
  readonly intake: MetricIntake;
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits: Limits;
}

export interface WriteEntrances extends Disposable {
  readonly handlers: Pick<ServiceHandlers<typeof MetricsService>, "writeMetrics">;
  readonly otlpHandlers: ServiceHandlers<typeof OtlpMetricsService>;
  /** For what writes on the server's own behalf. */
  readonly writer: PointWriter;
  /** @param statusOf of whatever was thrown; the server's own log hears of what nobody foresaw */
  httpHandlers(statusOf: (error: unknown, request: HttpRequest) => RpcError): HttpHandlers;
}

const RESOURCE = { type: "metrics", name: "default" } as const;

export function createWriteEntrances(options: WriteEntrancesOptions): WriteEntrances {
  const { table, intake, authorize, clock, limits } = options;
  const { messageBytesMax } = limits;
  const guard = new SeriesGuard({ table, clock, perSubjectMax: limits.seriesPerSubjectMax });
  const ingest = new MetricsIngest({ table, intake, guard });
  const writer = new PointWriter(intake, guard);
  const budget = new WriteBudget(limits.writesBytesMax);

  async function exportOtlp(
    subject: Subject,
    bytes: Uint8Array,
  ): Promise<MessageInitShape<typeof ExportMetricsServiceResponseSchema>> {
    authorize(subject, "write", RESOURCE);
    const release = budget.take(bytes.length);
    try {
      return await ingest.export(bytes, subject.name);
    } finally {
      release();
    }
  }

  return {
    writer,
    handlers: {
      writeMetrics(requests, call) {
        const subject = subjectOf(call);
        authorize(subject, "write", RESOURCE);
        return writeMetrics(requests, call, { writer, budget, clock, owner: subject.name });
      },
    },
    otlpHandlers: {
      export: { raw: true, unary: (bytes, call) => exportOtlp(subjectOf(call), bytes) },
    },
    httpHandlers: (statusOf) => ({
      [OTLP_METRICS_PATH]: createOtlpMetricsHandler({ exportMetrics: exportOtlp, messageBytesMax, statusOf }),
      [REMOTE_WRITE_PATH]: createRemoteWriteHandler({ writer, authorize, budget, messageBytesMax, statusOf }),
    }),
    [Symbol.dispose]() {
      ingest[Symbol.dispose]();
      guard[Symbol.dispose]();
    },
  };
}
