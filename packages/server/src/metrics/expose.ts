// Series as text that Prometheus reads: the text format (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics 1.0
// (prometheus.io/docs/specs/om/open_metrics_spec).
//
// E1. All samples of a family stand together, and no two have the same name and labels: of series that look alike there (their
//     scope or unit told them apart here) the one with the newest point is told; of families with one name the first one.
// E2. A step looks at ADMITTED_AT_ONCE series, or makes at most CHUNK_CHARACTERS and one sample's lines more: whoever pulls may
//     pause between them.
// E3. A stale series is not told.
import { fromBinary } from "@bufbuild/protobuf";
import { type Exemplar, type MetricPoint, MetricPointSchema } from "@sluice/api";
import { type CumulativeBuckets, explicitBuckets, exponentialBuckets } from "./buckets.ts";
import { PrometheusNames } from "./expose-names.ts";
import type { DescribedSeries, MetricType, Series } from "./series.ts";

export type ExposeFormat = "text" | "openmetrics";

export interface ExposeOptions {
  readonly format: ExposeFormat;
  /** Each sample with its time: of what is handed on rather than measured here. */
  readonly hasTimestamps: boolean;
  /** A gauge's name does not end as the samples of a histogram do, which `promtool check metrics` asks for. */
  readonly isLinted: boolean;
}

/** A series as Prometheus sees it. */
export interface Exposed {
  readonly name: string;
  /** By name, without __name__. */
  readonly labels: readonly Label[];
}
export type Label = readonly [name: string, value: string];

interface Family {
  readonly type: MetricType;
  readonly help: string;
  /** By the text of their labels (E1). */
  readonly series: Map<string, ExposedSeries>;
}

const CHUNK_CHARACTERS = 64 * 1024;
const ADMITTED_AT_ONCE = 500;
const JOB = "job";
const INSTANCE = "instance";

/** The series, in pieces, some of which are empty (E2). */
export function* expose(all: Iterable<ExposedSeries>, options: ExposeOptions): Generator<string, void, undefined> {
  const families = new Map<string, Family>();
  const names = new PrometheusNames();
  let admitted = 0;
  for (const series of all) {
    admit(families, series, { isLinted: options.isLinted, names });
    if (++admitted % ADMITTED_AT_ONCE === 0) yield "";
  }
  const isOpenMetrics = options.format === "openmetrics";
  let text = "";
  for (const [name, family] of families) {
    text += headOf(name, family, isOpenMetrics);
    for (const [labels, series] of family.series) {
      text += samplesOf(name, labels, series, options);
      if (text.length < CHUNK_CHARACTERS) continue;
      yield text;
      text = "";
    }
  }
  yield isOpenMetrics ? `${text}# EOF\n` : text;
}

/** What is asked of a series that is shown. */
export type ExposedSeries = Pick<Series, "description" | "point" | "previous" | "isStale">;

/** How a series looks to Prometheus; undefined: it has no name there. */
export function exposedOf(series: Pick<DescribedSeries, "description">, names: PrometheusNames): Exposed | undefined {
  const name = names.metric(series.description);
  return name === "" ? undefined : { name, labels: labelsOf(series, names) };
}

/** service.name, .namespace and .instance.id become job and instance; names that become the same share a label. */
function labelsOf({ description }: Pick<DescribedSeries, "description">, names: PrometheusNames): Label[] {
  const found = new Map<string, string>();
  const service = new Map<string, string>();
  for (const [name, value] of description.labels) {
    if (SERVICE_NAMES.has(name)) {
      service.set(name, value);
      continue;
    }
    const label = names.label(name);
    if (label === "" || label === "__name__") continue;
    const other = found.get(label);
    found.set(label, other === undefined ? value : `${other};${value}`);
  }
  const job = service.get("service.name");
  const namespace = service.get("service.namespace");
  const instance = service.get("service.instance.id");
  if (job !== undefined) found.set(JOB, namespace === undefined ? job : `${namespace}/${job}`);
  if (instance !== undefined) found.set(INSTANCE, instance);
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
const SERVICE_NAMES = new Set(["service.name", "service.namespace", "service.instance.id"]);

/** E1, E3. */
function admit(
  families: Map<string, Family>,
  series: ExposedSeries,
  { isLinted, names }: { readonly isLinted: boolean; readonly names: PrometheusNames },
): void {
  if (series.isStale) return;
  const exposed = exposedOf(series, names);
  if (exposed === undefined) return;
  const { type, description: help } = series.description;
  const name = isLinted && type === "gauge" ? exposed.name.replace(/_(?:count|sum|bucket)$/u, "") : exposed.name;
  let family = families.get(name);
  if (family === undefined) families.set(name, (family = { type, help, series: new Map() }));
  if (family.type !== type) return;
  const labels = exposed.labels.map(([label, value]) => `${label}="${escapeValue(value)}"`).join(",");
  const other = family.series.get(labels);
  if (other === undefined || other.point.timestampNs < series.point.timestampNs) family.series.set(labels, series);
}

function headOf(name: string, { type, help }: Family, isOpenMetrics: boolean): string {
  const family = isOpenMetrics && type === "counter" ? name.replace(/_total$/u, "") : name;
  const told = isOpenMetrics
    ? escapeValue(help)
    : help.replaceAll("\\", String.raw`\\`).replaceAll("\n", String.raw`\n`);
  return `${help === "" ? "" : `# HELP ${family} ${told}\n`}# TYPE ${family} ${type}\n`;
}

function samplesOf(name: string, labels: string, series: ExposedSeries, options: ExposeOptions): string {
  const { point } = series;
  const time = options.hasTimestamps ? ` ${timeOf(point.timestampNs, options.format)}` : "";
  const shape = point.shape === undefined ? undefined : fromBinary(MetricPointSchema, point.shape);
  const buckets = shape === undefined ? undefined : bucketsOf(shape);
  const withLabels = (more: string): string => {
    const all = labels === "" || more === "" ? labels + more : `${labels},${more}`;
    return all === "" ? "" : `{${all}}`;
  };
  if (shape !== undefined && buckets !== undefined) {
    const { sum, exemplars } = (shape.histogram ?? shape.exponentialHistogram)!;
    const placed = options.format === "openmetrics" ? exemplarsByBucket(buckets, exemplars) : [];
    const lines = buckets.bounds.map((bound, i) => {
      const le = withLabels(`le="${boundText(bound, options.format)}"`);
      return `${name}_bucket${le} ${buckets.counts[i]}${time}${exemplarText(placed[i])}\n`;
    });
    if (sum !== undefined) lines.push(`${name}_sum${withLabels("")} ${numberText(sum)}${time}\n`);
    return `${lines.join("")}${name}_count${withLabels("")} ${buckets.counts.at(-1)}${time}\n`;
  }
  if (shape?.summary !== undefined) {
    const { quantileValues, sum, count } = shape.summary;
    const lines = quantileValues.map(({ quantile, value }) => {
      const label = withLabels(`quantile="${boundText(quantile, options.format)}"`);
      return `${name}${label} ${numberText(value)}${time}\n`;
    });
    return `${lines.join("")}${name}_sum${withLabels("")} ${numberText(sum)}${time}\n${name}_count${withLabels("")} ${count}${time}\n`;
  }
  const number = valueOf(series);
  if (number === undefined) return "";
  const value = point.intValue === undefined ? numberText(number) : String(point.intValue);
  const isCounter = options.format === "openmetrics" && series.description.type === "counter";
  const exemplar = isCounter ? exemplarText(shape?.exemplars.at(-1)) : "";
  return `${name}${withLabels("")} ${value}${time}${exemplar}\n`;
}

/** Its value now; a share of time is told over the time since the measurement before. undefined: there was none. */
export function valueOf({
  description: { rateScale, rateMax = Infinity },
  point,
  previous,
}: Pick<Series, "point" | "previous"> & Pick<DescribedSeries, "description">): number | undefined {
  if (rateScale === undefined) return point.value;
  const seconds = Number(point.timestampNs - previous.timestampNs) / 1e9;
  if (seconds <= 0) return undefined;
  const added = Math.max(0, point.value - previous.value);
  return Math.min((added / seconds) * rateScale, rateMax);
}

function bucketsOf({ histogram, exponentialHistogram }: MetricPoint): CumulativeBuckets | undefined {
  if (histogram !== undefined) return explicitBuckets(histogram);
  return exponentialHistogram === undefined ? undefined : exponentialBuckets(exponentialHistogram);
}

/** Of each bucket the newest one. */
function exemplarsByBucket({ bounds }: CumulativeBuckets, exemplars: readonly Exemplar[]): (Exemplar | undefined)[] {
  const placed: (Exemplar | undefined)[] = bounds.map(() => undefined);
  for (const exemplar of exemplars) {
    const value = exemplarValue(exemplar);
    const i = bounds.findIndex((bound) => value <= bound);
    if (i >= 0 && (placed[i]?.timeUnixNano ?? 0n) <= exemplar.timeUnixNano) placed[i] = exemplar;
  }
  return placed;
}

function exemplarText(exemplar: Exemplar | undefined): string {
  if (exemplar === undefined) return "";
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  const labels = [
    ...(exemplar.traceId.length === 0 ? [] : [`trace_id="${hex(exemplar.traceId)}"`]),
    ...(exemplar.spanId.length === 0 ? [] : [`span_id="${hex(exemplar.spanId)}"`]),
  ];
  const time = exemplar.timeUnixNano === 0n ? "" : ` ${timeOf(exemplar.timeUnixNano, "openmetrics")}`;
  return ` # {${labels.join(",")}} ${numberText(exemplarValue(exemplar))}${time}`;
}

function exemplarValue({ value }: Exemplar): number {
  return Number(value.value ?? 0);
}

/** Milliseconds in the text format, seconds in OpenMetrics. */
function timeOf(timestampNs: bigint, format: ExposeFormat): string {
  const ms = Number(timestampNs / 1_000_000n);
  return format === "text" ? String(ms) : (ms / 1000).toFixed(3);
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

/** OpenMetrics wants bounds as floating point numbers, so that one bound is one label. */
function boundText(bound: number, format: ExposeFormat): string {
  return format === "openmetrics" && Number.isInteger(bound) && Math.abs(bound) < 1e21
    ? bound.toFixed(1)
    : numberText(bound);
}

function escapeValue(text: string): string {
  if (!/["\\\n]/u.test(text)) return text;
  return text
    .replaceAll("\\", String.raw`\\`)
    .replaceAll("\n", String.raw`\n`)
    .replaceAll('"', String.raw`\"`);
}
