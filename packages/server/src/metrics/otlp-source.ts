// What an OTLP request holds, without its points: each Metric with its resource and scope, found in the request's bytes.
//
// S1. What the points of a Metric share is read once: whoever sends the same bytes again gets the same source.
// S2. Bounded: at the bound all of them are forgotten, and known again when they come.
import { fromBinary } from "@bufbuild/protobuf";
import { type InstrumentationScope, OtlpMetricSchema, ResourceMetricsSchema, ScopeMetricsSchema } from "@sluice/api";
import { InvalidRequest } from "../errors.ts";
import { WireReader } from "../stream/wire.ts";
import type { LabelPairs } from "./incoming.ts";
import { attributesOf, formatOrigin, type OtlpOrigin, plainText, type PointKind } from "./otlp-origin.ts";
import type { MetricType } from "./series.ts";

/** What the points of one Metric share. */
export interface Source {
  readonly id: number;
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly type: MetricType;
  readonly kind: PointKind;
  readonly isDelta: boolean;
  /** Labels that come from the resource. */
  readonly serviceLabels: LabelPairs;
  readonly origin: string;
  /** Why nothing of it can be taken, if so. */
  readonly problem: string | undefined;
}

/** A Metric in a request: where the message with its points is. */
export interface Part {
  readonly source: Source;
  readonly start: number;
  readonly end: number;
}

const SERVICE_LABELS = ["service.name", "service.namespace", "service.instance.id"];
/** S2. */
const SOURCES_MAX = 65_536;
/** Of resource and scope: each of their series has them. */
const ORIGIN_BYTES_MAX = 16 * 1024;

const TAG_1 = (1 << 3) | 2;
const TAG_2 = (2 << 3) | 2;
const TAG_3 = (3 << 3) | 2;
const TEMPORALITY = 2 << 3;
const IS_MONOTONIC = 3 << 3;
const DELTA = 1;
const KINDS: ReadonlyMap<number, PointKind> = new Map([
  [(5 << 3) | 2, "gauge"],
  [(7 << 3) | 2, "sum"],
  [(9 << 3) | 2, "histogram"],
  [(10 << 3) | 2, "exponentialHistogram"],
  [(11 << 3) | 2, "summary"],
]);

type Sources = Map<string, Source>;

export class OtlpSources {
  /** By the bytes of the resource, then of the scope, then of the Metric without its points. */
  readonly #known = new Map<string, Map<string, Sources>>();
  readonly #onForgotten: () => void;
  #count = 0;
  #nextId = 0;

  /** @param onForgotten ids that were given are not given again, but nobody will ask for them either (S2) */
  constructor(onForgotten: () => void) {
    this.#onForgotten = onForgotten;
  }

  /** Every Metric of a request, in order. @throws InvalidRequest */
  parts(bytes: Uint8Array): Part[] {
    if (this.#count > SOURCES_MAX) {
      this.#known.clear();
      this.#count = 0;
      this.#onForgotten();
    }
    const parts: Part[] = [];
    const request = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const { children } = splitAt(request, 0, request.length, TAG_1);
    for (const [start, end] of children) this.#resource(request, start, end, parts);
    return parts;
  }

  #resource(request: Buffer, start: number, end: number, parts: Part[]): void {
    const { rest, children } = splitAt(request, start, end, TAG_2);
    let scopes = this.#known.get(rest);
    if (scopes === undefined) {
      scopes = new Map();
      this.#known.set(rest, scopes);
      this.#count++;
    }
    for (const [scopeStart, scopeEnd] of children) {
      const scope = splitAt(request, scopeStart, scopeEnd, TAG_2);
      let sources = scopes.get(scope.rest);
      if (sources === undefined) {
        sources = new Map();
        scopes.set(scope.rest, sources);
        this.#count++;
      }
      for (const [metricStart, metricEnd] of scope.children) {
        const found = metricAt(request, metricStart, metricEnd);
        if (found === undefined) continue;
        let source = sources.get(found.key);
        if (source === undefined) {
          source = this.#sourceOf(rest, scope.rest, found);
          sources.set(found.key, source);
          this.#count++;
        }
        parts.push({ source, start: found.start, end: found.end });
      }
    }
  }

  #sourceOf(resourceBytes: string, scopeBytes: string, { about, kind, isDelta, isMonotonic }: FoundMetric): Source {
    try {
      const { resource, schemaUrl } = fromBinary(ResourceMetricsSchema, Buffer.from(resourceBytes, "latin1"));
      const { scope } = fromBinary(ScopeMetricsSchema, Buffer.from(scopeBytes, "latin1"));
      const { name, unit, description } = fromBinary(OtlpMetricSchema, Buffer.from(about, "latin1"));
      const attributes = attributesOf(resource?.attributes ?? []);
      const serviceLabels = SERVICE_LABELS.flatMap((label): (readonly [string, string])[] => {
        const found = attributes.find(([key]) => key === label);
        return found === undefined ? [] : [[label, plainText(found[1])]];
      });
      const type = typeOf(kind, isMonotonic);
      const how = { unit, type, kind, isDelta };
      const origin = formatOrigin({ ...how, resource: attributes, schemaUrl, scope: scopeOf(scope) });
      const problem = findProblem(name, origin);
      return { ...how, id: this.#nextId++, name, description, serviceLabels, origin, problem };
    } catch (error) {
      throw malformed(error instanceof Error ? error.message : String(error));
    }
  }
}

function scopeOf(scope: InstrumentationScope | undefined): OtlpOrigin["scope"] {
  const { name = "", version = "", attributes = [] } = scope ?? {};
  return { name, version, attributes: attributesOf(attributes) };
}

function findProblem(name: string, origin: string): string | undefined {
  const bytes = Buffer.byteLength(origin);
  if (bytes <= ORIGIN_BYTES_MAX) return undefined;
  return `${name}: its resource and scope have ${bytes} bytes as JSON, the limit is ${ORIGIN_BYTES_MAX}`;
}

interface FoundMetric {
  /** All of it but its points, as text of bytes. */
  readonly key: string;
  readonly about: string;
  readonly kind: PointKind;
  readonly isDelta: boolean;
  readonly isMonotonic: boolean;
  readonly start: number;
  readonly end: number;
}

/** undefined: it has no points. */
function metricAt(request: Buffer, start: number, end: number): FoundMetric | undefined {
  const wire = new WireReader();
  wire.open(request, start, end);
  let about = "";
  let found: { kind: PointKind; start: number; end: number } | undefined;
  while (wire.pos < wire.end) {
    const fieldStart = wire.pos;
    const tag = wire.tag();
    const kind = KINDS.get(tag);
    if (kind === undefined) {
      wire.skip(tag);
      if (tag === TAG_1 || tag === TAG_2 || tag === TAG_3) about += request.toString("latin1", fieldStart, wire.pos);
      continue;
    }
    const dataEnd = wire.span();
    found = { kind, start: wire.pos, end: dataEnd };
    wire.pos = dataEnd;
  }
  if (wire.hasFailed) throw malformed("a metric is cut off");
  if (found === undefined) return undefined;
  let isDelta = false;
  let isMonotonic = false;
  if (found.kind !== "gauge" && found.kind !== "summary") {
    wire.open(request, found.start, found.end);
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag === TEMPORALITY) isDelta = wire.varint() === DELTA;
      else if (tag === IS_MONOTONIC) isMonotonic = wire.varint() !== 0;
      else wire.skip(tag);
    }
    if (wire.hasFailed) throw malformed(`a ${found.kind} is cut off`);
  }
  return { ...found, key: `${found.kind}${isDelta}${isMonotonic}${about}`, about, isDelta, isMonotonic };
}

/** The places of one field's messages, and the bytes of all other fields as text. */
function splitAt(
  request: Buffer,
  start: number,
  end: number,
  wanted: number,
): { readonly rest: string; readonly children: readonly (readonly [number, number])[] } {
  const wire = new WireReader();
  wire.open(request, start, end);
  const children: [number, number][] = [];
  let rest = "";
  while (wire.pos < wire.end) {
    const fieldStart = wire.pos;
    const tag = wire.tag();
    if (tag === wanted) {
      const childEnd = wire.span();
      children.push([wire.pos, childEnd]);
      wire.pos = childEnd;
    } else {
      wire.skip(tag);
      rest += request.toString("latin1", fieldStart, wire.pos);
    }
  }
  if (wire.hasFailed) throw malformed("it is cut off");
  return { rest, children };
}

function typeOf(kind: PointKind, isMonotonic: boolean): MetricType {
  switch (kind) {
    case "gauge":
      return "gauge";
    case "sum":
      return isMonotonic ? "counter" : "gauge";
    case "histogram":
    case "exponentialHistogram":
      return "histogram";
    case "summary":
      return "summary";
    default:
      return kind satisfies never;
  }
}

export function malformed(description: string): InvalidRequest {
  return new InvalidRequest("MALFORMED", [{ field: "request", description }]);
}
