// Opens every service of a server, in order, with what each needs; they are closed in the opposite order.
import {
  ByteStream,
  FileService,
  LogService,
  MetricsService,
  NotificationService,
  OtlpLogsService,
  OtlpMetricsService,
  QueueService,
  SeedFileService,
  SeedLogService,
  SeedMetricsService,
  SeedNotificationService,
} from "@sluice/api";
import { serve, type ServedService } from "@sluice/rpc";
import type { Config } from "./config.ts";
import { type FileServiceHandle, openFileService } from "./files/service.ts";
import { createLogService, type LogServiceHandle } from "./logs/service.ts";
import type { MetricsServiceHandle } from "./metrics/service.ts";
import { openNotifications } from "./notifications/open-notifications.ts";
import type { NotificationServiceHandle } from "./notifications/service.ts";
import { openLogs } from "./open-logs.ts";
import { openMetrics } from "./open-metrics.ts";
import { openSinks } from "./open-sinks.ts";
import { createEngine } from "./queues/engine/queue.ts";
import { openQueues } from "./queues/open-queues.ts";
import { createQueueService, type QueueServiceHandle } from "./queues/service.ts";
import { type Authorize, SERVER_SUBJECT } from "./security/authorize.ts";
import type { DataFolder } from "./store/data-folder.ts";
import type { Surroundings } from "./surroundings.ts";
import { fileReporter, logReporter, queueReporter } from "./telemetry/server-metrics.ts";

export interface OpenServicesRequest {
  readonly config: Config;
  readonly folder: DataFolder;
  readonly authorize: Authorize;
  readonly surroundings: Surroundings;
}

/** The services; disposing closes what they keep. */
export interface OpenServices extends AsyncDisposable {
  readonly logs: LogServiceHandle;
  readonly files: FileServiceHandle;
  readonly queues: QueueServiceHandle;
  readonly metrics: MetricsServiceHandle;
  readonly notifications: NotificationServiceHandle;
  /** All of them by the names under which they are called. */
  readonly served: readonly ServedService[];
  /** Ends what would go on for ever, and takes nothing new. */
  drain(): void;
}

/** @throws what the opening of a service throws; the others are closed then */
export async function openServices(request: OpenServicesRequest): Promise<OpenServices> {
  const { config, folder, authorize, surroundings } = request;
  const { clock, fileSystem, logger, ownLog } = surroundings;
  const { limits, heartbeatMs, routes } = config;
  await using opened = new AsyncDisposableStack();

  const { served } = opened.use(await openLogs({ config, folder, clock, fileSystem, logger }));
  const logs = createLogService({ logs: served, routes, authorize, clock, limits, heartbeatMs });
  if (ownLog !== undefined) {
    opened.defer(() => ownLog.close());
    ownLog.start((entries) => logs.ingest(SERVER_SUBJECT, { entries: [...entries] }));
  }
  const { files: roots, filesRates: rates, filesUploadRates: uploadRates } = config;
  const files = opened.use(
    await openFileService({ roots, authorize, fileSystem, clock, limits, rates, uploadRates, heartbeatMs }),
  );
  const { queuesMax } = limits;
  const random = Math.random;
  const catalog = opened.use(await openQueues({ folder, fileSystem, clock, random, logger, queuesMax, createEngine }));
  const queues = createQueueService({ catalog, authorize, clock, limits });
  const notifications = opened.use(
    await openNotifications({
      folder,
      fileSystem,
      clock,
      random,
      logger,
      limits,
      authorize,
      awayMs: config.notifications.awayMs,
      openSinks: (parts) => openSinks({ config, folder, surroundings, catalog, ...parts }),
    }),
  );
  const metrics = opened.use(await openMetrics({ config, folder, authorize, surroundings }));
  metrics.addReporter(fileReporter(files));
  metrics.addReporter(logReporter({ logs: served, delivered: logs.delivered }));
  metrics.addReporter(queueReporter(() => catalog.list()));

  const parts = opened.move();
  return {
    logs,
    files,
    queues,
    metrics,
    notifications,
    served: [
      serve(LogService, logs.handlers),
      serve(SeedLogService, logs.seedHandlers),
      serve(OtlpLogsService, logs.otlpHandlers),
      serve(FileService, files.handlers),
      serve(SeedFileService, files.seedHandlers),
      serve(ByteStream, files.byteStreamHandlers),
      serve(QueueService, queues.handlers),
      serve(MetricsService, metrics.handlers),
      serve(SeedMetricsService, metrics.seedHandlers),
      serve(OtlpMetricsService, metrics.otlpHandlers),
      serve(NotificationService, notifications.handlers),
      serve(SeedNotificationService, notifications.seedHandlers),
    ],
    drain() {
      for (const service of [logs, files, queues, metrics, notifications]) service.drain();
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
