// LogStreamRequest, parsed: every field checked, once, with all that is wrong said at once.
import type { LogStreamRequest } from "@sluice/api";
import { Order, SlowReader } from "@sluice/api";
import { type FieldViolation, InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { SlowReaderPolicy } from "../stream/slow-reader.ts";
import { type FilterTerm, parseFilters } from "./filter.ts";
import { type LogName, parseLogName } from "./log-name.ts";
import { parseSeverity } from "./severity.ts";

export interface LogQuery {
  readonly log: LogName;
  /** Empty: all. */
  readonly applications: readonly string[];
  /** 0: all. */
  readonly minSeverity: number;
  /** Unix ns, inclusive and exclusive; undefined: no bound. */
  readonly startTimestamp: bigint | undefined;
  readonly endTimestamp: bigint | undefined;
  /** All must hold. */
  readonly terms: readonly FilterTerm[];
  readonly isFollowing: boolean;
  /** Empty: from the beginning. */
  readonly resumeAfter: string;
  readonly isStrict: boolean;
  /** undefined: all of history. */
  readonly tail: number | undefined;
  /** Infinity: none. */
  readonly limit: number;
  /** 0: none. */
  readonly heartbeatMs: number;
  readonly hasControls: boolean;
  /** undefined: it catches up from disk. */
  readonly slowReader: SlowReaderPolicy | undefined;
  readonly isNewestFirst: boolean;
  /** Empty: no end. */
  readonly untilCursor: string;
  /** Of StreamLogBatches. */
  readonly batch: { readonly entriesMax: number; readonly delayMs: number } | undefined;
}

export interface QueryDefaults {
  /** Whether controls are sent to who says nothing about them. */
  readonly hasControls: boolean;
  /** Heartbeat interval for who says nothing about it. */
  readonly heartbeatMs: number;
  /** Whether entries are given in batches. */
  readonly hasBatches: boolean;
}

const LAG_MAX_ENTRIES = 10_000;
const SAMPLE_PER_SECOND_MAX = 1_000_000;
const BATCH_ENTRIES = 1000;
const BATCH_ENTRIES_MAX = 65_536;
const BATCH_DELAY_MS_MAX = 60_000;

/** @throws InvalidRequest */
export function parseLogQuery(request: LogStreamRequest, limits: Limits, defaults: QueryDefaults): LogQuery {
  const problems = new Problems();
  const log = problems.collect(() => parseLogName(request.log));
  const minSeverity = problems.collect(() => parseSeverity(request.logLevel, "log_level"));
  const terms = problems.collect(() => parseFilters(request.filters, limits));
  const applications = problems.collect(() => parseApplications(request, limits));
  const tail = problems.collect(() => parseCount(request.tailLines, "tail_lines"));
  const limit = problems.collect(() => parseCount(request.limit, "limit"));
  const { startTimestamp: start, endTimestamp: end, heartbeatMs = defaults.heartbeatMs } = request;
  if (start < 0n) problems.add("start_timestamp", `${start} is negative: it takes Unix nanoseconds`);
  if (end < 0n) problems.add("end_timestamp", `${end} is negative: it takes Unix nanoseconds`);
  if (end > 0n && end < start) problems.add("end_timestamp", `${end} is before start_timestamp, ${start}`);
  if (heartbeatMs < 0) problems.add("heartbeat_ms", `${heartbeatMs} is negative: it takes milliseconds, 0 for none`);
  const slowReader = parseSlowReader(request, problems);
  const isNewestFirst = parseOrder(request, problems);
  const batch = parseBatch(request, defaults, problems);
  problems.throwIfAny();
  return {
    log: log!,
    applications: applications!,
    minSeverity: minSeverity!,
    startTimestamp: start === 0n ? undefined : start,
    endTimestamp: end === 0n ? undefined : end,
    terms: terms!,
    isFollowing: request.follow,
    resumeAfter: request.resumeAfter,
    isStrict: request.strictCursor,
    tail,
    limit: limit ?? Number.POSITIVE_INFINITY,
    heartbeatMs,
    hasControls: request.controlFrames ?? defaults.hasControls,
    slowReader,
    isNewestFirst,
    untilCursor: request.untilCursor,
    batch,
  };
}

function parseSlowReader(request: LogStreamRequest, problems: Problems): SlowReaderPolicy | undefined {
  const { slowReader, samplePerSecond: perSecond, lagMaxEntries: lag, follow } = request;
  const isSample = slowReader === SlowReader.SAMPLE;
  if (!isSample && perSecond !== 0) problems.add("sample_per_second", "is only for SLOW_READER_SAMPLE");
  if (isSample && (perSecond < 1 || perSecond > SAMPLE_PER_SECOND_MAX)) {
    problems.add("sample_per_second", `${perSecond} is not from 1 to ${SAMPLE_PER_SECOND_MAX}`);
  }
  if (slowReader === SlowReader.UNSPECIFIED || slowReader === SlowReader.CATCH_UP) {
    if (lag !== undefined) problems.add("lag_max_entries", "is not for a reader that catches up");
    return undefined;
  }
  if (!follow) problems.add("slow_reader", "is for followers; history is given whole: set follow, or leave it unset");
  if (lag !== undefined && (lag < 1n || lag > BigInt(Number.MAX_SAFE_INTEGER))) {
    problems.add("lag_max_entries", `${lag} is not from 1 to 2^53 - 1`);
  }
  const lagMaxEntries = Number(lag ?? LAG_MAX_ENTRIES);
  switch (slowReader) {
    case SlowReader.DROP_OLDEST:
      return { kind: "drop-oldest", lagMaxEntries };
    case SlowReader.SAMPLE:
      return { kind: "sample", lagMaxEntries, perSecond };
    case SlowReader.DISCONNECT:
      return { kind: "disconnect", lagMaxEntries };
    default:
      problems.add("slow_reader", `${String(slowReader)} is none that this server knows`);
      return undefined;
  }
}

/** Whether the newest entries are to come first. */
function parseOrder(request: LogStreamRequest, problems: Problems): boolean {
  const { order } = request;
  if (order === Order.UNSPECIFIED || order === Order.OLDEST_FIRST) return false;
  if (order !== Order.NEWEST_FIRST) problems.add("order", `${String(order)} is none that this server knows`);
  if (request.follow) problems.add("order", "the newest entries cannot come first in a follow");
  if (request.tailLines !== undefined) problems.add("order", "with the newest entries first use limit, not tail_lines");
  if (request.untilCursor !== "") problems.add("order", "with the newest entries first use limit, not until_cursor");
  return true;
}

function parseBatch(request: LogStreamRequest, defaults: QueryDefaults, problems: Problems): LogQuery["batch"] {
  const { batchMaxEntries: entries, batchMaxDelayMs: delayMs } = request;
  if (!defaults.hasBatches) {
    if (entries !== 0) problems.add("batch_max_entries", "is for StreamLogBatches");
    if (delayMs !== 0) problems.add("batch_max_delay_ms", "is for StreamLogBatches");
    return undefined;
  }
  if (entries < 0 || entries > BATCH_ENTRIES_MAX) {
    problems.add("batch_max_entries", `${entries} is not from 1 to ${BATCH_ENTRIES_MAX}, or 0 for ${BATCH_ENTRIES}`);
  }
  if (delayMs < 0 || delayMs > BATCH_DELAY_MS_MAX) {
    problems.add("batch_max_delay_ms", `${delayMs} is not from 0 to ${BATCH_DELAY_MS_MAX}`);
  }
  return { entriesMax: entries === 0 ? BATCH_ENTRIES : entries, delayMs };
}

function parseApplications(request: LogStreamRequest, limits: Limits): string[] {
  const names = new Set(request.applications);
  if (request.application !== "") names.add(request.application);
  if (names.size <= limits.queryApplicationsMax) return [...names];
  const description = `names ${names.size} applications: the limit is ${limits.queryApplicationsMax}`;
  throw new InvalidRequest("TOO_MANY_APPLICATIONS", [{ field: "applications", description }]);
}

function parseCount(count: bigint | undefined, field: string): number | undefined {
  if (count === undefined) return undefined;
  if (count >= 0n && count <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(count);
  throw new InvalidRequest("BAD_COUNT", [{ field, description: `${count} is not from 0 to 2^53 - 1` }]);
}

/** Gathers what is wrong with a request, so that it can be mended in one go. */
class Problems {
  #reason = "";
  readonly #violations: FieldViolation[] = [];

  add(field: string, description: string, reason = "BAD_FIELD"): void {
    this.#reason ||= reason;
    this.#violations.push({ field, description });
  }

  /** What `parse` gives; undefined when it throws an InvalidRequest, which is kept. */
  collect<T>(parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof InvalidRequest)) throw error;
      for (const each of error.facts.violations ?? []) this.add(each.field, each.description, error.facts.reason);
      return undefined;
    }
  }

  throwIfAny(): void {
    if (this.#violations.length > 0) throw new InvalidRequest(this.#reason, this.#violations);
  }
}
