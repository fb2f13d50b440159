// What is to be counted, and which entries are wanted around another.
import { CountGroup } from "@sluice/api";
import type { LogSelection } from "./log-position.ts";

/** Which entries are counted, and what is counted apart. */
export interface LogCountQuery extends Omit<LogSelection, "filters"> {
  /** Width of a bucket of event time, ns, aligned to the Unix epoch. Absent: at most 100 buckets. */
  readonly bucketNs?: bigint;
  /** What is counted apart, beside time. Absent: both; none: time alone. */
  readonly groupBy?: readonly ("level" | "application")[];
}

/** Which entries around another are wanted. */
export interface LogContextQuery {
  /** Name of the log; absent: "default". */
  readonly log?: string;
  /** How many before and after it, up to 1,000. Default: 10. */
  readonly before?: number;
  readonly after?: number;
  /** Only entries of the same application. */
  readonly sameApplication?: boolean;
}

/** As a request says it: there, an empty list means both. */
export function groupsOf(groupBy: readonly ("level" | "application")[]): CountGroup[] {
  if (groupBy.length === 0) return [CountGroup.UNSPECIFIED];
  return groupBy.map((group) => (group === "level" ? CountGroup.LEVEL : CountGroup.APPLICATION));
}
