// The metrics service: subscriptions to all series, and what programs write.
import type { MetricsRequest, MetricsService, OtlpMetricsService, SeedMetricsService } from "@sluice/api";
import type { Call, FrameSource, HttpHandlers, ServiceHandlers } from "@sluice/rpc";
import type { Limits } from "../limits.ts";
import { type Authorize, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import type { Reporter } from "../telemetry/instrument.ts";
import { createMetricsHttpHandlers } from "./expose-http.ts";
import { MetricIntake } from "./intake.ts";
import { listMetrics, listSeries } from "./listing.ts";
import { OWN_ORIGIN, OwnMetrics } from "./own-metrics.ts";
import { parseMetricsQuery, parseSeriesQuery } from "./query.ts";
import { SeriesTable } from "./series.ts";
import { Subscriptions } from "./subscriptions.ts";
import { SYSTEM_ORIGIN, SystemMetrics } from "./system.ts";
import { createWriteEntrances, type WriteEntrances } from "./write-entrances.ts";

export interface MetricsServiceOptions {
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits: Limits;
}

export interface MetricsServiceHandle extends Disposable {
  readonly handlers: ServiceHandlers<typeof MetricsService>;
  /** Of the unversioned service. */
  readonly seedHandlers: ServiceHandlers<typeof SeedMetricsService>;
  /** Of OpenTelemetry's service. */
  readonly otlpHandlers: ServiceHandlers<typeof OtlpMetricsService>;
  /** What others write by. */
  readonly entrances: WriteEntrances;
  /** Of /metrics and /federate. */
  readonly httpHandlers: HttpHandlers;
  readonly subscriptions: number;
  /** What it reports are metrics like any other from now on. */
  addReporter(reporter: Reporter): void;
  /** Ends all subscriptions with UNAVAILABLE; new ones are refused. */
  drain(): void;
}

const RESOURCE = { type: "metrics", name: "default" } as const;
/** A series without a point for so long is stale: five times the interval at which most programs export. */
const SILENT_MS = 5 * 60_000;

export function createMetricsService({ authorize, clock, limits }: MetricsServiceOptions): MetricsServiceHandle {
  const table = new SeriesTable({ clock, seriesMax: limits.seriesMax, silentMs: SILENT_MS });
  const system = new SystemMetrics({ table, clock });
  const intake = new MetricIntake({ table });
  const entrances = createWriteEntrances({ table, intake, authorize, clock, limits });
  const own = new OwnMetrics({ table, clock });
  const refresh = (matchesName: (name: string) => boolean): void => {
    system.refresh(matchesName);
    own.refresh(matchesName);
  };
  const subscriptions = new Subscriptions({ table, clock, limits, refresh });

  function stream(isVersioned: boolean): (request: MetricsRequest, call: Call) => FrameSource {
    return (request, call) => {
      const query = parseMetricsQuery(request, limits, isVersioned);
      authorize(subjectOf(call), "read", RESOURCE);
      return subscriptions.open(query, call);
    };
  }

  return {
    handlers: {
      ...entrances.handlers,
      streamMetrics: stream(true),
      listMetrics(request, call) {
        authorize(subjectOf(call), "describe", RESOURCE);
        return listMetrics(table, request, limits);
      },
      listSeries(request, call) {
        authorize(subjectOf(call), "read", RESOURCE);
        const query = parseSeriesQuery(request, limits);
        refresh(query.matchesName);
        return listSeries(table, request, query);
      },
    },
    seedHandlers: { streamMetrics: stream(false) },
    otlpHandlers: entrances.otlpHandlers,
    entrances,
    httpHandlers: createMetricsHttpHandlers({
      authorize,
      limits,
      all: () => table.all(),
      isOwn: ({ description: { origin } }) => origin === SYSTEM_ORIGIN || origin === OWN_ORIGIN,
      refresh: () => refresh(() => true),
    }),
    get subscriptions() {
      return subscriptions.size;
    },
    addReporter: (reporter) => own.add(reporter),
    drain: () => subscriptions.drain(),
    [Symbol.dispose]() {
      subscriptions[Symbol.dispose]();
      entrances[Symbol.dispose]();
      system[Symbol.dispose]();
      table[Symbol.dispose]();
    },
  };
}
