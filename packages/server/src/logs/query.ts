// LogStreamRequest, parsed: every field checked, once, with all that is wrong said at once.
import type { LogStreamRequest } from "@sluice/api";
import { Order, SlowReader } from "@sluice/api";
import { FieldNotBuilt, type FieldViolation, InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
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
}

export interface QueryDefaults {
  /** Whether controls are sent to who says nothing about them. */
  readonly hasControls: boolean;
  /** Heartbeat interval for who says nothing about it. */
  readonly heartbeatMs: number;
}

/** @throws InvalidRequest; FieldNotBuilt for what the contract has and this server does not know yet */
export function parseLogQuery(request: LogStreamRequest, limits: Limits, defaults: QueryDefaults): LogQuery {
  refuseUnbuilt(request);
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
  };
}

/** @throws FieldNotBuilt for the first field that is set and not served yet */
function refuseUnbuilt(request: LogStreamRequest): void {
  if (request.slowReader !== SlowReader.UNSPECIFIED && request.slowReader !== SlowReader.CATCH_UP) {
    throw new FieldNotBuilt("slow_reader");
  }
  if (request.samplePerSecond !== 0) throw new FieldNotBuilt("sample_per_second");
  if (request.order !== Order.UNSPECIFIED && request.order !== Order.OLDEST_FIRST) throw new FieldNotBuilt("order");
  if (request.batchMaxEntries !== 0) throw new FieldNotBuilt("batch_max_entries");
  if (request.batchMaxDelayMs !== 0) throw new FieldNotBuilt("batch_max_delay_ms");
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
