// Where a series that came by OTLP comes from: the `origin` of its description, a text that can be read again.
//
// OO1. It holds resource and scope whole, and how the points came (unit, kind, temporality): as three JSON arrays, one behind the
//      other.
// OO2. Attributes keep their types, as far as JSON has them. A resource's attribute is matched as the label `resource.KEY`.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AnyValue, AnyValueSchema, KeyValue, KeyValueSchema } from "@sluice/api";
import type { MetricType, SeriesDescription } from "./series.ts";

export type PointKind = "gauge" | "sum" | "histogram" | "exponentialHistogram" | "summary";

export type Attributes = readonly (readonly [key: string, value: unknown])[];

export interface OtlpOrigin {
  /** By key. */
  readonly resource: Attributes;
  readonly schemaUrl: string;
  readonly scope: { readonly name: string; readonly version: string; readonly attributes: Attributes };
  readonly unit: string;
  readonly type: MetricType;
  readonly kind: PointKind;
  readonly isDelta: boolean;
}

export function formatOrigin({ resource, schemaUrl, scope, unit, type, kind, isDelta }: OtlpOrigin): string {
  const { name, version, attributes } = scope;
  const parts = [
    [resource, schemaUrl],
    attributes.length === 0 ? [name, version] : [name, version, attributes],
    [unit, type, kind, isDelta],
  ];
  return parts.map((part) => JSON.stringify(part)).join("");
}

/** undefined: it came by another way. */
function findOrigin(origin: string): OtlpOrigin | undefined {
  if (!origin.startsWith("[[")) return undefined;
  const [[resource, schemaUrl], [name, version, attributes = []], [unit, type, kind, isDelta]] = partsOf(origin) as [
    [Attributes, string],
    [string, string, Attributes?],
    [string, MetricType, PointKind, boolean],
  ];
  return { resource, schemaUrl, scope: { name, version, attributes }, unit, type, kind, isDelta };
}

/** JSON arrays that stand one behind the other. */
function partsOf(text: string): unknown[] {
  const parts: unknown[] = [];
  let depth = 0;
  let start = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]]/gu)) {
    if (token === "[") depth++;
    else if (token === "]" && --depth === 0) {
      parts.push(JSON.parse(text.slice(start, index + 1)));
      start = index + 1;
    }
  }
  return parts;
}

/** Bounded: at the bound all are forgotten, and read again. */
const REMEMBERED_MAX = 4096;
const RESOURCE = "resource.";

/** Origins that were read before: there are few of them, and many series. */
export class OtlpOrigins {
  readonly #known = new Map<string, OtlpOrigin | undefined>();

  /** undefined: the series came by another way. */
  find(origin: string): OtlpOrigin | undefined {
    if (this.#known.has(origin)) return this.#known.get(origin);
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear();
    const found = findOrigin(origin);
    this.#known.set(origin, found);
    return found;
  }

  /** What a series is matched by: its label of this name, or an attribute of its resource; "": it has neither. */
  label(series: LabelledSeries, name: string): string {
    const own = series.label(name);
    return own === "" ? this.resourceLabel(series, name) : own;
  }

  /** OO2. "": the name is no `resource.KEY`, or its resource has none. */
  resourceLabel({ description }: Pick<LabelledSeries, "description">, name: string): string {
    if (!name.startsWith(RESOURCE)) return "";
    const key = name.slice(RESOURCE.length);
    const attribute = this.find(description.origin)?.resource.find(([each]) => each === key);
    return attribute === undefined ? "" : plainText(attribute[1]);
  }
}

export interface LabelledSeries {
  readonly description: Pick<SeriesDescription, "origin">;
  label(name: string): string;
}

/** By key. */
export function attributesOf(attributes: readonly KeyValue[]): Attributes {
  const last = new Map(attributes.map(({ key, value }) => [key, plainOf(value)]));
  return [...last].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

/** An attribute as OTLP has it. */
function anyValueOf(value: unknown): MessageInitShape<typeof AnyValueSchema> {
  switch (typeof value) {
    case "string":
      return { value: { case: "stringValue", value } };
    case "boolean":
      return { value: { case: "boolValue", value } };
    case "number":
      return Number.isSafeInteger(value)
        ? { value: { case: "intValue", value: BigInt(value) } }
        : { value: { case: "doubleValue", value } };
    default:
      if (Array.isArray(value)) return { value: { case: "arrayValue", value: { values: value.map(anyValueOf) } } };
      if (value === null || value === undefined) return {};
      return { value: { case: "kvlistValue", value: { values: keyValuesOf(Object.entries(value)) } } };
  }
}

export function keyValuesOf(attributes: Attributes): MessageInitShape<typeof KeyValueSchema>[] {
  return attributes.map(([key, value]) => ({ key, value: anyValueOf(value) }));
}

/** A value as a label: texts as they are, all else as JSON. */
export function textOf(value: AnyValue | undefined): string {
  return plainText(plainOf(value));
}

export function plainText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function plainOf(value: AnyValue | undefined): unknown {
  const content = value?.value;
  switch (content?.case) {
    case "intValue":
      return Number.isSafeInteger(Number(content.value)) ? Number(content.value) : String(content.value);
    case "bytesValue":
      return Buffer.from(content.value).toString("base64");
    case "arrayValue":
      return content.value.values.map(plainOf);
    case "kvlistValue":
      return Object.fromEntries(content.value.values.map(({ key, value: inner }) => [key, plainOf(inner)]));
    case undefined:
      return "";
    default:
      return content?.value;
  }
}
