// A point on its way in, whoever brings it, and what is asked of every point.
//
// I1. A series is what has one origin, one name and the same labels: its key. What no two sources share is in the origin.
// I2. Bounded: the name, the number of labels, their bytes.
import type { Rejection } from "./intake.ts";
import type { MetricType, Point } from "./series.ts";

export { keyOf } from "./series-key.ts";

export type LabelPairs = readonly (readonly [name: string, value: string])[];

export interface IncomingPoint {
  readonly name: string;
  readonly type: MetricType;
  readonly unit: string;
  readonly description: string;
  /** By name, see `sortedLabels`. */
  readonly labels: LabelPairs;
  readonly origin: string;
  readonly point: Point;
  /** There is no value any more. */
  readonly isEnd: boolean;
}

/** Why a point was not taken. */
export interface Refusal {
  /** Stable, UPPER_SNAKE_CASE. */
  readonly reason: "NAME" | "TIMESTAMP" | "TYPE" | "LABELS" | "OLD" | "CONFLICT" | "LIMIT_EXCEEDED";
  /** A sentence. */
  readonly text: string;
}

const REASONS = { old: "OLD", early: "TIMESTAMP", conflict: "CONFLICT", limit: "LIMIT_EXCEEDED" } as const;

/** The same of a point that the series themselves refuse. */
export function refusalOf(name: string, { reason, message }: Rejection): Refusal {
  return { reason: REASONS[reason], text: reason === "limit" ? message : `${name}: ${message}` };
}

const NAME_BYTES_MAX = 1024;
const LABELS_MAX = 128;
const LABEL_BYTES_MAX = 16 * 1024;

/** What is wrong with a point whatever series there are. */
export function findProblem(name: string, labels: LabelPairs, timestampNs: bigint): Refusal | undefined {
  const nameBytes = Buffer.byteLength(name);
  if (nameBytes === 0) return { reason: "NAME", text: "a metric: its name is empty" };
  if (nameBytes > NAME_BYTES_MAX) {
    const text = `${name.slice(0, 100)}…: its name has ${nameBytes} bytes, the limit is ${NAME_BYTES_MAX}`;
    return { reason: "NAME", text };
  }
  if (timestampNs <= 0n) return { reason: "TIMESTAMP", text: `${name}: its time is not set` };
  if (labels.length > LABELS_MAX) {
    return { reason: "LABELS", text: `${name}: it has ${labels.length} labels, the limit is ${LABELS_MAX}` };
  }
  let bytes = 0;
  let longest = labels[0];
  for (const pair of labels) {
    bytes += Buffer.byteLength(pair[0]) + Buffer.byteLength(pair[1]);
    if (pair[1].length > longest![1].length) longest = pair;
  }
  if (bytes > LABEL_BYTES_MAX) {
    const text = `${name}: its labels have ${bytes} bytes, the limit is ${LABEL_BYTES_MAX}; the longest is "${longest![0].slice(0, 100)}"`;
    return { reason: "LABELS", text };
  }
  return undefined;
}

/** By name. */
export function sortedLabels(labels: Iterable<readonly [string, string]>): LabelPairs {
  return [...labels].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
