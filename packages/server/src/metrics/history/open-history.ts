// The history of a server: opened, and what it knows of the newest points given back to the table.
import type { Limits } from "../../limits.ts";
import type { Clock } from "../../store/contract.ts";
import type { DataFolder } from "../../store/data-folder.ts";
import type { FileSystem } from "../../store/file-system.ts";
import { OWN_ORIGIN } from "../own-metrics.ts";
import type { SeriesTable } from "../series.ts";
import { SYSTEM_ORIGIN } from "../system.ts";
import type { History } from "./history.ts";
import { type HistoryLog, openHistoryLog } from "./history-log.ts";

export interface HistorySettings {
  /** So long points are kept; 0: no history. */
  readonly keepMs: number;
  /** How often what the server measures itself goes into it. */
  readonly intervalMs: number;
}

/** Undefined: there is to be none. @throws what the store says */
export async function openHistory(
  request: {
    readonly clock: Clock;
    readonly limits: Limits;
    readonly folder: Pick<DataFolder, "path" | "metricsFolder">;
    readonly fileSystem: FileSystem;
    readonly history: HistorySettings;
    readonly onFault?: (text: string) => void;
  },
  table: SeriesTable,
): Promise<HistoryLog | undefined> {
  const { clock, limits, folder, fileSystem, history: settings, onFault } = request;
  if (settings.keepMs === 0) return undefined;
  const log = await openHistoryLog({
    folder: folder.metricsFolder,
    parent: folder.path,
    fileSystem,
    clock,
    options: { keepMs: settings.keepMs, bytesMax: limits.metricsHistoryBytesMax },
    isLive: ({ key }) => table.find(key) !== undefined,
    ...(onFault === undefined ? {} : { onFault }),
  });
  restoreSeries(log.history, table, limits.seriesMax);
  return log;
}

/** Gives the table the series that had not ended, with their newest points. */
export function restoreSeries(history: History, table: SeriesTable, seriesMax: number): void {
  for (const [id, { key, description }] of history.all()) {
    const { origin } = description;
    // What the server measures itself is described by whoever measures it.
    if (origin === SYSTEM_ORIGIN || origin === OWN_ORIGIN || table.size >= seriesMax) continue;
    const [before, newest = before] = history.newestTwo(id);
    if (newest === undefined || newest.isStale) continue;
    const previous = before?.isStale === false ? before : undefined;
    const series = table.add(key, newest, () => description, previous);
    series.historyId = id;
    history.replace(id, series);
  }
}
