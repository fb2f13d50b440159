// The metrics service: subscriptions to all series, and what programs write.
import type { MetricsRequest, MetricsService, OtlpMetricsService, SeedMetricsService } from "@sluice/api";
import type { Call, FrameSource, HttpHandlers, ServiceHandlers } from "@sluice/rpc";
import type { Limits } from "../limits.ts";
import { type Authorize, subjectOf } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import type { DataFolder } from "../store/data-folder.ts";
import type { FileSystem } from "../store/file-system.ts";
import type { Reporter } from "../telemetry/instrument.ts";
import { createMetricsHttpHandlers } from "./expose-http.ts";
import type { ForwardSource } from "./forward.ts";
import { MetricIntake } from "./intake.ts";
import { listMetrics, listSeries } from "./listing.ts";
import { OWN_ORIGIN, OwnMetrics } from "./own-metrics.ts";
import { parseMetricsQuery, parseSeriesQuery } from "./query.ts";
import { OwnHistory } from "./history/own-history.ts";
import type { HistoryLog } from "./history/history-log.ts";
import { type HistorySettings, openHistory } from "./history/open-history.ts";
import { type Series, SeriesTable } from "./series.ts";
import { queryMetrics } from "./history/query-metrics.ts";
import { Subscriptions } from "./subscriptions.ts";
import { SYSTEM_ORIGIN, SystemMetrics } from "./system.ts";
import { createWriteEntrances, type WriteEntrances } from "./write-entrances.ts";

export interface MetricsServiceRequest {
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly folder: Pick<DataFolder, "path" | "metricsFolder">;
  readonly fileSystem: FileSystem;
  readonly history: HistorySettings;
  /** Hears of what goes wrong in the background, in a sentence. */
  readonly onFault?: (text: string) => void;
}

export interface MetricsServiceHandle extends AsyncDisposable {
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
  /** All series, and what happens to them. */
  readonly source: ForwardSource;
  /** undefined: none is kept. */
  readonly log: HistoryLog | undefined;
  /** Measures what is measured here. */
  refresh(): void;
  /** What it reports are metrics like any other from now on. */
  addReporter(reporter: Reporter): void;
  /** Ends all subscriptions with UNAVAILABLE; new ones are refused. */
  drain(): void;
}

const RESOURCE = { type: "metrics", name: "default" } as const;
/** A series without a point for so long is stale: five times the interval at which most programs export. */
const SILENT_MS = 5 * 60_000;

/** @throws what the opening of the history throws */
export async function openMetricsService(request: MetricsServiceRequest): Promise<MetricsServiceHandle> {
  const { authorize, clock, limits, onFault } = request;
  await using opened = new AsyncDisposableStack();
  const table = opened.use(new SeriesTable({ clock, seriesMax: limits.seriesMax, silentMs: SILENT_MS }));
  const log = await openHistory(request, table);
  if (log !== undefined) opened.use(log);
  const intake = opened.use(new MetricIntake({ table, log, ...(onFault === undefined ? {} : { onFault }) }));
  const system = opened.use(new SystemMetrics({ table, clock }));
  const entrances = opened.use(createWriteEntrances({ table, intake, authorize, clock, limits }));
  const own = new OwnMetrics({ table, clock });
  const refresh = (matchesName: (name: string) => boolean): void => {
    system.refresh(matchesName);
    own.refresh(matchesName);
  };
  if (log !== undefined) {
    const sample = (): void => {
      system.sample();
      own.refresh(() => true);
    };
    opened.use(new OwnHistory({ table, clock, intake, everyMs: request.history.intervalMs, sample, isOwn }));
  }
  const subscriptions = opened.use(new Subscriptions({ table, clock, limits, refresh, log }));

  function stream(isVersioned: boolean): (request: MetricsRequest, call: Call) => FrameSource {
    return (request, call) => {
      const query = parseMetricsQuery(request, limits, isVersioned);
      authorize(subjectOf(call), "read", RESOURCE);
      return subscriptions.open(query, call);
    };
  }

  own.add(subscriptions.reporter);
  const refreshAll = (): void => refresh(() => true);
  const resources = opened.move();
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
      queryMetrics(query, call) {
        authorize(subjectOf(call), "read", RESOURCE);
        const { keepMs } = request.history;
        return queryMetrics(query, { log, keepMs, clock, limits, signal: call.signal });
      },
    },
    seedHandlers: { streamMetrics: stream(false) },
    otlpHandlers: entrances.otlpHandlers,
    entrances,
    httpHandlers: createMetricsHttpHandlers({ authorize, limits, source: table, isOwn, refresh: refreshAll }),
    get subscriptions() {
      return subscriptions.size;
    },
    source: table,
    log,
    refresh: refreshAll,
    addReporter: (reporter) => own.add(reporter),
    drain: () => subscriptions.drain(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Of what the server measures itself. */
function isOwn({ description: { origin } }: Series): boolean {
  return origin === SYSTEM_ORIGIN || origin === OWN_ORIGIN;
}
