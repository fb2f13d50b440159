// `target_info`: what programs said of themselves beside their names, as Prometheus has it, to be joined with their series by job and
// instance (opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics, "Resource Attributes").
//
// TI1. One for each resource that has a service's name or instance, and something besides.
import type { ExposedSeries } from "./expose.ts";
import { OtlpOrigins, plainText } from "./otlp-origin.ts";
import type { Point, SeriesDescription } from "./series.ts";

const SERVICE = new Set(["service.name", "service.namespace", "service.instance.id"]);
const ABOUT = {
  name: "target_info",
  type: "gauge",
  unit: "",
  description: "Target metadata",
  origin: "target_info",
} as const;

interface Info {
  readonly labels: SeriesDescription["labels"];
  newestNs: bigint;
}

/** Of the series that it was told of. */
export class TargetInfos {
  readonly #origins = new OtlpOrigins();
  /** By the text of the resource. */
  readonly #infos = new Map<string, Info>();

  note({ origin }: Pick<SeriesDescription, "origin">, { timestampNs }: Pick<Point, "timestampNs">): void {
    const resource = this.#origins.find(origin)?.resource ?? [];
    const isNamed = resource.some(([key]) => key === "service.name" || key === "service.instance.id");
    if (!isNamed || resource.every(([key]) => SERVICE.has(key))) return;
    const key = JSON.stringify(resource);
    const known = this.#infos.get(key);
    if (known === undefined) {
      const labels = resource.map(([name, value]) => [name, plainText(value)] as const);
      this.#infos.set(key, { labels, newestNs: timestampNs });
    } else if (timestampNs > known.newestNs) known.newestNs = timestampNs;
  }

  /** Each with the time of the newest point of its program. */
  *all(): Generator<ExposedSeries & { readonly key: string }> {
    for (const [key, { labels, newestNs }] of this.#infos) {
      const point = { value: 1, timestampNs: newestNs, startNs: 0n };
      yield { key, description: { ...ABOUT, labels }, point, previous: point, isStale: false };
    }
  }
}
