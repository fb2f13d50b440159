// Fields of MetricPoint, as they are written.
import { ByteSink } from "../stream/byte-sink.ts";
import type { SeriesDescription } from "./point.ts";

/** Tags of MetricPoint. */
export const PointTag = {
  NAME: (1 << 3) | 2,
  VALUE: (2 << 3) | 1,
  TIMESTAMP: 3 << 3,
  LABELS: (4 << 3) | 2,
  METRIC_TYPE: (5 << 3) | 2,
  UNIT: (7 << 3) | 2,
  DESCRIPTION: (8 << 3) | 2,
  START_TIMESTAMP: 9 << 3,
  COALESCED: 10 << 3,
  CAUSE: 11 << 3,
  INT_VALUE: 12 << 3,
  STALE: 13 << 3,
  HISTOGRAM: (14 << 3) | 2,
  EXPONENTIAL_HISTOGRAM: (15 << 3) | 2,
  SUMMARY: (16 << 3) | 2,
  CURSOR: (17 << 3) | 2,
} as const;

const PAIR_KEY = (1 << 3) | 2;
const PAIR_VALUE = (2 << 3) | 2;

/** A map of texts. */
export function writeLabels(sink: ByteSink, tag: number, labels: SeriesDescription["labels"]): void {
  for (const [label, value] of labels) {
    const pair = new ByteSink(32);
    pair.textField(PAIR_KEY, label);
    pair.textField(PAIR_VALUE, value);
    sink.spanField(tag, pair.bytes, 0, pair.used);
  }
}

/** Those that every point of a series has. */
export function encodeHead({ name, labels, type }: SeriesDescription): Uint8Array {
  const sink = new ByteSink(64);
  sink.textField(PointTag.NAME, name);
  writeLabels(sink, PointTag.LABELS, labels);
  sink.textField(PointTag.METRIC_TYPE, type);
  return Uint8Array.from(sink.bytes.subarray(0, sink.used));
}

/** Those that the first one on a stream has besides. */
export function encodeIntroduction({ unit, description }: SeriesDescription): Uint8Array {
  const sink = new ByteSink(32);
  if (unit !== "") sink.textField(PointTag.UNIT, unit);
  if (description !== "") sink.textField(PointTag.DESCRIPTION, description);
  return Uint8Array.from(sink.bytes.subarray(0, sink.used));
}
