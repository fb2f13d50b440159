// What stands in Prometheus' formats as points that WriteMetrics takes, line by line: for whoever pushes a text.
import { create, fromBinary } from "@bufbuild/protobuf";
import { type MetricPoint, MetricPointSchema } from "@sluice/api";
import type { IncomingPoint, LabelPairs } from "./incoming.ts";
import { pointsOfFamily } from "./prometheus-points.ts";
import { ExpositionReader, type TextFamily, type TextFormat } from "./prometheus-text.ts";

export interface ExpositionPointsOptions {
  readonly format: TextFormat;
  /** Given to all series; a sample's own label of that name wins. */
  readonly labels: LabelPairs;
  /** Unix ns, for samples that say no time. */
  readonly nowNs: () => bigint;
}

/** Reads a text. A family's points are there when the next one begins, or the text ends. */
export class ExpositionPoints {
  readonly #reader: ExpositionReader;
  readonly #options: ExpositionPointsOptions;

  constructor(options: ExpositionPointsOptions) {
    this.#options = options;
    this.#reader = new ExpositionReader(options.format);
  }

  /** @throws BadExposition, after which the next line may be read */
  line(text: string): MetricPoint[] {
    return this.#pointsOf(this.#reader.line(text));
  }

  /** @throws BadExposition when an OpenMetrics text has no end */
  end(): MetricPoint[] {
    return this.#pointsOf(this.#reader.end());
  }

  #pointsOf(family: TextFamily | undefined): MetricPoint[] {
    if (family === undefined) return [];
    const { labels, nowNs } = this.#options;
    return pointsOfFamily(family, { nowNs: nowNs(), labels, honorLabels: true }).map(messageOf);
  }
}

function messageOf({ name, type, unit, description, labels, point, isEnd }: IncomingPoint): MetricPoint {
  const shape = point.shape === undefined ? create(MetricPointSchema) : fromBinary(MetricPointSchema, point.shape);
  shape.name = name;
  shape.metricType = type;
  shape.unit = unit;
  shape.description = description;
  shape.labels = Object.fromEntries(labels);
  shape.value = point.value;
  shape.timestamp = point.timestampNs;
  shape.startTimestamp = point.startNs;
  shape.stale = isEnd;
  return shape;
}
