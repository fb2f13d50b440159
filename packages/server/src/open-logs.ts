// Opens all logs of a data folder: those that are configured, and those that are there. Owned by the composition root.
//
// G1. A log that nobody configured any more is served, and nothing of it is removed: who forgets a line of the
//     configuration must not lose what the log holds.
// G2. What the logs keep in memory is bounded for all of them together.
import type { Config, LogSettings } from "./config.ts";
import { ThreadFilterMaker } from "./logs/filter-maker.ts";
import { entryFrameCodec } from "./logs/frame-codec.ts";
import { isLogName } from "./logs/log-name.ts";
import { serveLog, type ServedLog } from "./logs/service.ts";
import type { Clock } from "./store/contract.ts";
import type { DataFolder } from "./store/data-folder.ts";
import { DiskGuard } from "./store/disk-guard.ts";
import type { FileSystem } from "./store/file-system.ts";
import { DEFAULT_LOG_OPTIONS, openLog } from "./store/log.ts";
import { createLogReporter } from "./telemetry/log-reporter.ts";
import type { Logger } from "./telemetry/logger.ts";

export interface OpenLogsRequest {
  readonly config: Config;
  readonly folder: DataFolder;
  readonly clock: Clock;
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
}

/** Open logs; disposing closes them. */
export interface OpenLogs extends AsyncDisposable {
  readonly served: readonly ServedLog[];
}

/** @throws what the opening of a log throws; the others are closed then */
export async function openLogs(request: OpenLogsRequest): Promise<OpenLogs> {
  const { config, folder, clock, fileSystem, logger } = request;
  await using opened = new AsyncDisposableStack();
  const settings = await findLogs(request);
  const guard = new DiskGuard({
    folder: folder.path,
    fileSystem,
    clock,
    onFault: (text) => logger.warn({ event: "fault" }, text),
  });
  const filterMaker = opened.use(new ThreadFilterMaker());
  const served: ServedLog[] = [];
  for (const [name, own] of settings) {
    const reporter = createLogReporter(logger, { log: name, clock });
    const log = opened.use(
      await openLog({
        folder: folder.logFolder(name),
        name,
        fileSystem,
        clock,
        codec: entryFrameCodec,
        filterMaker,
        options: { ...optionsOf(own, config), ...shareOf(settings.size) },
        beforeSegment: () => guard.look(),
        onEvent: (event) => reporter.onEvent(event),
      }),
    );
    reporter.opened(log);
    if (own.minFreeBytes !== undefined) guard.add(log, own.minFreeBytes);
    served.push(serveLog(name, log, own.quotaBytes));
  }
  opened.use(guard);
  const resources = opened.move();
  return { served, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** The settings of each log, by name: the configured ones first, then those that are only there (G1). */
async function findLogs({ config, folder, logger }: OpenLogsRequest): Promise<Map<string, LogSettings>> {
  const settings = new Map(config.logs);
  for (const log of await folder.listLogs()) {
    if (settings.has(log)) continue;
    if (!isLogName(log)) {
      logger.warn({ event: "log-ignored", log }, "a folder among the logs has not the name of a log; it is left alone");
      continue;
    }
    const facts = { event: "log-unconfigured", log };
    logger.warn(facts, "the configuration does not name this log; it is served, and nothing of it is removed");
    const { segmentBytes } = config.logDefaults;
    const off = { retainBytes: undefined, retainAgeMs: undefined, quotaBytes: undefined, minFreeBytes: undefined };
    settings.set(log, { segmentBytes, ...off, compressAfterMs: undefined });
  }
  return settings;
}

function optionsOf(settings: LogSettings, { limits }: Config) {
  const { segmentBytes, retainBytes, retainAgeMs, quotaBytes, compressAfterMs } = settings;
  const { pendingBytesMax, applicationsMax, producersMax } = limits;
  const bounds = { retentionBytes: retainBytes, retentionAgeMs: retainAgeMs, quotaBytes };
  return { segmentBytes, ...bounds, compressAfterMs, pendingBytesMax, applicationsMax, producersMax };
}

/** Of what one log alone would take (G2); a tail and a few files are needed to serve anybody at all. */
function shareOf(logs: number) {
  const { historyBytesMax, openFilesMax, tailBytes } = DEFAULT_LOG_OPTIONS;
  const share = (amount: number, least: number): number => Math.max(least, Math.floor(amount / logs));
  return {
    historyBytesMax: share(historyBytesMax, historyBytesMax / 16),
    openFilesMax: share(openFilesMax, openFilesMax / 16),
    tailBytes: share(tailBytes, tailBytes / 16),
  };
}
