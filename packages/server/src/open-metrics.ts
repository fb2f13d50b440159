// Opens metrics: their service, who is asked for some, and to whom they are handed on.
import type { Config } from "./config.ts";
import { openForward } from "./metrics/open-forward.ts";
import { Scraper } from "./metrics/scrape.ts";
import { type MetricsServiceHandle, openMetricsService } from "./metrics/service.ts";
import type { Authorize } from "./security/authorize.ts";
import { readWhole } from "./store/atomic-file.ts";
import type { DataFolder } from "./store/data-folder.ts";
import type { Surroundings } from "./surroundings.ts";

export interface OpenMetricsRequest {
  readonly config: Config;
  readonly folder: DataFolder;
  readonly authorize: Authorize;
  readonly surroundings: Surroundings;
}

/** @throws what the opening of the history throws */
export async function openMetrics(request: OpenMetricsRequest): Promise<MetricsServiceHandle> {
  const { config, folder, authorize, surroundings } = request;
  const { clock, fileSystem, logger } = surroundings;
  const { limits, metricsHistory: history, metricsForward, scrape } = config;
  await using opened = new AsyncDisposableStack();
  const onFault = (text: string): void => logger.warn({ event: "fault" }, text);
  const metrics = opened.use(
    await openMetricsService({ authorize, clock, limits, folder, fileSystem, history, onFault }),
  );
  const { source, log } = metrics;
  const { writer } = metrics.entrances;
  const readFile = (path: string): Promise<Buffer | undefined> => readWhole(fileSystem, path);
  if (scrape.targets.length > 0) opened.use(new Scraper({ ...scrape, writer, clock, logger, readFile }));
  const refresh = (): void => metrics.refresh();
  const own = { clock, fileSystem, logger, folder: folder.metricsFolder, random: Math.random };
  const forward = opened.use(await openForward({ ...metricsForward, ...own, source, log, refresh }));
  metrics.addReporter(forward.reporter);
  const parts = opened.move();
  return Object.assign(metrics, { [Symbol.asyncDispose]: () => parts.disposeAsync() });
}
