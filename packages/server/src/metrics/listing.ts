// Names and series, a page at a time.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ListMetricsRequest,
  type ListMetricsResponseSchema,
  type ListSeriesRequest,
  type ListSeriesResponseSchema,
  MetricPointSchema,
  PointCause,
} from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import { InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { Baseline } from "./baseline.ts";
import { parseSeriesQuery, seriesIn, type SeriesQuery } from "./query.ts";
import type { Series, SeriesTable } from "./series.ts";

/** @throws InvalidRequest */
export function listMetrics(
  table: SeriesTable,
  request: ListMetricsRequest,
  limits: Limits,
): MessageInitShape<typeof ListMetricsResponseSchema> {
  const { metricNames } = request;
  const { matchesName } = parseSeriesQuery({ metricNames, labels: {}, matchers: [] }, limits);
  const names = [...table.names()].filter(matchesName).toSorted();
  const { page, nextPageToken } = pageOf(names, (name) => name, request);
  const metrics = page.map((name) => {
    const all = [...table.named(name)];
    const { type, unit, description } = all[0]!.description;
    return { name, metricType: type, unit, description, series: BigInt(all.length) };
  });
  return { metrics, nextPageToken };
}

export function listSeries(
  table: SeriesTable,
  request: ListSeriesRequest,
  query: SeriesQuery,
): MessageInitShape<typeof ListSeriesResponseSchema> {
  const found = [...seriesIn(table, query)];
  const placed = found.map((series) => ({ series, place: placeOf(series) }));
  const sorted = placed.toSorted((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0));
  const { page, nextPageToken } = pageOf(sorted, ({ place }) => place, request);
  return { series: page.map(({ series }) => messageOf(series)), nextPageToken };
}

const PAGE = 1000;
const PAGE_MAX = 10_000;

/** One page of what is sorted by `keyOf`; the token is the last key of the page before. */
function pageOf<T>(
  sorted: readonly T[],
  keyOf: (item: T) => string,
  { pageSize, pageToken }: { readonly pageSize: number; readonly pageToken: string },
): { readonly page: readonly T[]; readonly nextPageToken: string } {
  if (pageSize < 0 || pageSize > PAGE_MAX) {
    throw new InvalidRequest("BAD_PAGE_SIZE", [
      { field: "page_size", description: `is ${pageSize}, not 0 to ${PAGE_MAX}` },
    ]);
  }
  const after = Buffer.from(pageToken, "base64url").toString();
  const rest = after === "" ? sorted : sorted.filter((item) => keyOf(item) > after);
  const page = rest.slice(0, pageSize === 0 ? PAGE : pageSize);
  const nextPageToken = page.length < rest.length ? Buffer.from(keyOf(page.at(-1)!)).toString("base64url") : "";
  return { page, nextPageToken };
}

function placeOf({ description: { name, labels }, key }: Series): string {
  return `${name} ${JSON.stringify(labels)} ${key}`;
}

function messageOf(series: Series): MessageInitShape<typeof MetricPointSchema> {
  const sink = new ByteSink(256);
  const baseline = new Baseline({ counterMode: 0, suppressRedundant: false });
  baseline.encode([series], sink, { cause: PointCause.INITIAL, isResend: false });
  if (sink.used === 0) return { name: series.description.name, labels: Object.fromEntries(series.description.labels) };
  return fromBinary(MetricPointSchema, sink.bytes.subarray(FRAME_HEADER_BYTES, sink.used));
}
