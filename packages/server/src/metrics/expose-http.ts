// GET /metrics and GET /federate?match[]=…: what Prometheus scrapes.
//
// H1. /metrics has what is measured here: the server and its machine, as of now. /federate has everything else, each sample with
//     the time that it came with, of the series that a `match[]` selects, and of what programs say of themselves (target-info.ts).
// H2. A scrape is made in steps between which everything else has its turn, at the pace at which it is read; SCRAPES_MAX at a time.
import type { HttpHandler, HttpHandlers, HttpRequest, HttpResponse } from "@sluice/rpc";
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { type Authorize, subjectOf } from "../security/authorize.ts";
import { nextTurn } from "../stream/turn.ts";
import { expose, type ExposedSeries, type ExposeFormat, type ExposeOptions } from "./expose.ts";
import { PrometheusNames } from "./expose-names.ts";
import { parseSelector, type Selector, selects } from "./federate-selector.ts";
import { OtlpOrigins } from "./otlp-origin.ts";
import type { Series } from "./series.ts";
import { TargetInfos } from "./target-info.ts";

export const METRICS_PATH = "/metrics";
const FEDERATE_PATH = "/federate";

export interface ExposeHttpOptions {
  readonly authorize: Authorize;
  readonly limits: Limits;
  readonly source: { all(): Iterable<Series> };
  /** Whether it is measured here. */
  readonly isOwn: (series: Series) => boolean;
  /** Measures what is measured here. */
  readonly refresh: () => void;
}

const RESOURCE = { type: "metrics", name: "default" } as const;
const CONTENT_TYPES: Readonly<Record<ExposeFormat, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};
const PLAIN = { "content-type": "text/plain; charset=utf-8" };
const SCRAPES_MAX = 8;
/** Series that are looked at between two turns of the event loop. */
const LOOKED_AT = 500;

export function createMetricsHttpHandlers(options: ExposeHttpOptions): HttpHandlers {
  const { authorize, limits, source, isOwn, refresh } = options;
  let scrapes = 0;

  const scrape =
    (chosen: (request: HttpRequest) => Chosen): HttpHandler =>
    (request) => {
      if (request.method !== "GET") {
        return { status: 405, headers: { allow: "GET, HEAD", ...PLAIN }, body: "Metrics are read by GET.\n" };
      }
      authorize(subjectOf(request), "read", RESOURCE);
      const { gather, how } = chosen(request);
      if (scrapes >= SCRAPES_MAX) {
        const text = `Cannot answer this scrape: ${SCRAPES_MAX} are under way, the limit; scrape less often`;
        throw new LimitExceeded(text, "scrapes", { retryAfterMs: 1000 });
      }
      const format = preferredFormat(request.headers.get("accept") ?? "");
      request.signal.throwIfAborted();
      scrapes++;
      request.signal.addEventListener("abort", () => void scrapes--, { once: true });
      const body = inTurns(gather, { ...how, format });
      const headers = { "content-type": CONTENT_TYPES[format], "cache-control": "no-store", vary: "accept" };
      return { status: 200, headers, body } satisfies HttpResponse;
    };

  return {
    [METRICS_PATH]: scrape(() => {
      refresh();
      return { gather: () => gather(source.all(), isOwn), how: { hasTimestamps: false, isLinted: true } };
    }),
    [FEDERATE_PATH]: scrape(({ query }) => {
      const selectors = parseSelectors(query.getAll("match[]"), limits);
      const names = { translated: new PrometheusNames(), origins: new OtlpOrigins() };
      const isSelected = (series: ExposedSeries): boolean => selectors.some((each) => selects(each, series, names));
      const gatherWithInfos = async (): Promise<readonly ExposedSeries[]> => {
        const infos = new TargetInfos();
        const found = await gather(source.all(), (series) => {
          if (isOwn(series)) return false;
          if (!series.isStale) infos.note(series.family, series);
          return isSelected(series);
        });
        return [...found, ...[...infos.all()].filter(isSelected)];
      };
      return { gather: gatherWithInfos, how: { hasTimestamps: true, isLinted: false } };
    }),
  };
}

interface Chosen {
  readonly gather: () => Promise<readonly ExposedSeries[]>;
  readonly how: Omit<ExposeOptions, "format">;
}

/** @throws InvalidRequest */
function parseSelectors(texts: readonly string[], limits: Limits): Selector[] {
  const wrong = (description: string): InvalidRequest =>
    new InvalidRequest("BAD_SELECTOR", [{ field: "match[]", description }]);
  if (texts.length === 0) throw wrong('is missing: say which series, for example match[]={__name__=~"http.*"}');
  if (texts.length > limits.filtersMax) throw wrong(`comes ${texts.length} times: the limit is ${limits.filtersMax}`);
  return texts.map((text) => parseSelector(text, limits.filterBytesMax));
}

/** H2. */
async function gather(all: Iterable<Series>, wanted: (series: Series) => boolean): Promise<Series[]> {
  const found: Series[] = [];
  let looked = 0;
  for (const series of all) {
    if (wanted(series)) found.push(series);
    if (++looked % LOOKED_AT === 0) await nextTurn();
  }
  return found;
}

/** H2. */
async function* inTurns(
  gathered: () => Promise<readonly ExposedSeries[]>,
  options: ExposeOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of expose(await gathered(), options)) {
    if (piece !== "") yield Buffer.from(piece);
    await nextTurn();
  }
}

/** The one of both that an Accept field gives the greater weight (RFC 9110 §12.5.1); text when it says nothing. */
export function preferredFormat(accept: string): ExposeFormat {
  const weights: Record<ExposeFormat, number> = { text: 0, openmetrics: 0 };
  for (const range of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim());
    const given = new Map(parameters.map((each) => each.split("=", 2).map((part) => part.trim()) as [string, string]));
    const version = given.get("version") ?? "";
    const weight = Number(given.get("q") ?? 1);
    if (Number.isNaN(weight)) continue;
    const isOpenMetrics = type === "application/openmetrics-text" && (version === "" || version === "1.0.0");
    const isText = type === "text/plain" && (version === "" || version === "0.0.4");
    if (isOpenMetrics) weights.openmetrics = Math.max(weights.openmetrics, weight);
    else if (isText || type === "text/*" || type === "*/*") weights.text = Math.max(weights.text, weight);
  }
  return weights.openmetrics > weights.text ? "openmetrics" : "text";
}
