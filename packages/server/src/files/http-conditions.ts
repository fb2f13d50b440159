// The conditions of a request (https://www.rfc-editor.org/rfc/rfc9110#section-13).

/** What is known of a file's version, in the words of HTTP. */
export interface Validators {
  /** Strong, in its quotes. */
  readonly etag: string;
  /** Unix seconds, and the same as an HTTP date. */
  readonly modifiedS: number;
  readonly lastModified: string;
}

type Headers = ReadonlyMap<string, string>;

const MS_PER_S = 1000;
/** Of the three forms (section 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT", and two that nobody should send any more. */
const IMF_OR_RFC850 =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4}|[A-Z][a-z]+, \d{2}-[A-Z][a-z]{2}-\d{2}) \d{2}:\d{2}:\d{2} GMT$/u;
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/u;

/** In the order of section 13.2.2; undefined: the request holds. */
export function preconditionStatus(headers: Headers, { etag, modifiedS }: Validators): 304 | 412 | undefined {
  const ifMatch = headers.get("if-match");
  const unmodifiedSinceS = parseHttpDate(headers.get("if-unmodified-since"));
  if (ifMatch !== undefined) {
    if (!hasEtag(ifMatch, etag)) return 412;
  } else if (unmodifiedSinceS !== undefined && modifiedS > unmodifiedSinceS) return 412;
  const ifNoneMatch = headers.get("if-none-match");
  // Compared weakly: a proxy that compresses weakens the tags that it passes on.
  if (ifNoneMatch !== undefined) return hasEtag(ifNoneMatch.replaceAll("W/", ""), etag) ? 304 : undefined;
  const modifiedSinceS = parseHttpDate(headers.get("if-modified-since"));
  return modifiedSinceS !== undefined && modifiedS <= modifiedSinceS ? 304 : undefined;
}

/** Whether a Range counts: without If-Range, or when that names this very version. */
export function isRangeOf(headers: Headers, { etag, lastModified }: Validators): boolean {
  const ifRange = headers.get("if-range");
  return ifRange === undefined || ifRange === etag || ifRange === lastModified;
}

/** Compared strongly: a weakened tag is none of ours. */
function hasEtag(list: string, etag: string): boolean {
  return list.split(",").some((each) => each.trim() === "*" || each.trim() === etag);
}

/** Unix seconds; undefined for what is no date of HTTP, which is to be ignored. */
export function parseHttpDate(text = ""): number | undefined {
  const ms = IMF_OR_RFC850.test(text) ? Date.parse(text) : ASCTIME.test(text) ? Date.parse(`${text} GMT`) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms / MS_PER_S;
}
