// Names as Prometheus takes them: OpenTelemetry's rules (opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics,
// "OTLP Metric points to Prometheus"), as github.com/prometheus/otlptranslator has them.
import type { MetricType } from "./series.ts";

const UNITS: Readonly<Record<string, string>> = {
  d: "days",
  h: "hours",
  min: "minutes",
  s: "seconds",
  ms: "milliseconds",
  us: "microseconds",
  ns: "nanoseconds",
  By: "bytes",
  KiBy: "kibibytes",
  MiBy: "mebibytes",
  GiBy: "gibibytes",
  TiBy: "tibibytes",
  KBy: "kilobytes",
  MBy: "megabytes",
  GBy: "gigabytes",
  TBy: "terabytes",
  m: "meters",
  V: "volts",
  A: "amperes",
  J: "joules",
  W: "watts",
  g: "grams",
  Cel: "celsius",
  Hz: "hertz",
  "1": "",
  "%": "percent",
};
const PER_UNITS: Readonly<Record<string, string>> = {
  s: "second",
  m: "minute",
  h: "hour",
  d: "day",
  w: "week",
  mo: "month",
  y: "year",
};

/** What names a metric. */
export interface NamedMetric {
  readonly name: string;
  /** UCUM. */
  readonly unit: string;
  readonly type: MetricType;
}

/** The metric's name with its unit, and `_total` of a counter; "": nothing of the name can be said there. */
export function prometheusName({ name, unit, type }: NamedMetric): string {
  const words = name.split(/[^a-zA-Z0-9:]+/u).filter((word) => word !== "");
  const { main, per } = unitSuffixes(unit);
  const suffixes = [main, per].filter((suffix) => suffix !== "" && !words.includes(suffix));
  let all = [...words, ...suffixes];
  if (type === "counter") all = [...all.filter((word) => word !== "total"), "total"];
  if (type === "gauge" && unit === "1") all = [...all.filter((word) => word !== "ratio"), "ratio"];
  if (words.length === 0) return "";
  const joined = all.join("_");
  return /^\d/u.test(joined) ? `_${joined}` : joined;
}

/** "": as above. */
export function prometheusLabel(name: string): string {
  const reserved = /^__(.*)__$/su.exec(name)?.[1];
  const plain = (reserved ?? name).replaceAll(/[^a-zA-Z0-9]+/gu, "_");
  if (/^_*$/u.test(plain)) return "";
  if (reserved !== undefined) return `__${plain}__`;
  return /^\d/u.test(plain) ? `key_${plain}` : plain;
}

/** Names that were translated before: metrics and labels have few different ones, and series many. */
export class PrometheusNames {
  readonly #metrics = new Map<string, string>();
  readonly #labels = new Map<string, string>();

  metric(metric: NamedMetric): string {
    return remembered(this.#metrics, `${metric.type} ${metric.unit} ${metric.name}`, () => prometheusName(metric));
  }

  label(name: string): string {
    return remembered(this.#labels, name, () => prometheusLabel(name));
  }
}

const REMEMBERED_MAX = 10_000;

function remembered(known: Map<string, string>, key: string, make: () => string): string {
  let found = known.get(key);
  if (found !== undefined) return found;
  if (known.size >= REMEMBERED_MAX) known.clear();
  found = make();
  known.set(key, found);
  return found;
}

function unitSuffixes(unit: string): { readonly main: string; readonly per: string } {
  const slash = unit.indexOf("/");
  const main = (slash < 0 ? unit : unit.slice(0, slash)).trim();
  const per = slash < 0 ? "" : unit.slice(slash + 1).trim();
  const perWord = isAnnotated(per) ? "" : wordOf(`${PER_UNITS[per] ?? per}`);
  return {
    main: isAnnotated(main) ? "" : wordOf(UNITS[main] ?? main),
    per: perWord === "" ? "" : `per_${perWord}`,
  };
}

/** Text in braces is for people: "{request}". */
function isAnnotated(unit: string): boolean {
  return /[{}]/u.test(unit);
}

function wordOf(unit: string): string {
  return unit.replaceAll(/[^a-zA-Z0-9:]+/gu, "_").replaceAll(/^_|_$/gu, "");
}
