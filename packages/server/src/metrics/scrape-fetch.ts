// Asks a target for its metrics: one GET, bounded in time and in bytes.
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { createGunzip } from "node:zlib";
import type { Readable } from "node:stream";
import { SluiceError } from "../errors.ts";
import { openAccess, type ScrapeAccess } from "./scrape-access.ts";

export interface Scraped {
  readonly format: "protobuf" | "openmetrics" | "text";
  readonly body: Buffer;
}

/** A target that gave no metrics. The next scrape may succeed. */
export class ScrapeFailed extends SluiceError {
  override readonly name = "ScrapeFailed";
  constructor(url: URL, why: string, options?: ErrorOptions) {
    const shown = `${url.origin}${url.pathname}`;
    super("unavailable", `Cannot scrape ${shown}: ${why}`, { reason: "SCRAPE_FAILED" }, options);
  }
}

/** Of a body, as it comes and again when decompressed. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;
/** Protobuf first: it alone brings native histograms. */
const ACCEPT = [
  "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9",
  "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7",
  "application/openmetrics-text;version=1.0.0;q=0.6",
  "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5",
  "text/plain;version=0.0.4;q=0.4",
  "*/*;q=0.1",
].join(",");

export interface FetchOptions {
  readonly access: ScrapeAccess;
  /** undefined: there is no such file. */
  readonly readFile: (path: string) => Promise<Buffer | undefined>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** @throws ScrapeFailed; the signal's reason */
export async function fetchMetrics(url: URL, options: FetchOptions): Promise<Scraped> {
  const { access, readFile, timeoutMs, signal } = options;
  const shown = await openAccess(access, readFile).catch((error: unknown) => {
    throw new ScrapeFailed(url, messageOf(error), { cause: error });
  });
  signal.throwIfAborted();
  const response = await open(url, shown, { timeoutMs, signal });
  const { statusCode = 0, headers } = response;
  if (statusCode !== 200) {
    response.destroy();
    throw new ScrapeFailed(url, `it answered ${statusCode}`);
  }
  const encoding = (headers["content-encoding"] ?? "identity").toLowerCase();
  if (encoding !== "gzip" && encoding !== "identity") {
    response.destroy();
    throw new ScrapeFailed(url, `its answer is compressed with ${encoding}, which was not asked for`);
  }
  try {
    const plain: Readable = encoding === "gzip" ? response.pipe(createGunzip()) : response;
    response.on("error", (error) => plain.destroy(error));
    const body = await readAll(plain, url);
    return { format: formatOf(headers["content-type"] ?? ""), body };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ScrapeFailed) throw error;
    throw new ScrapeFailed(url, messageOf(error), { cause: error });
  } finally {
    response.destroy();
  }
}

function open(
  url: URL,
  { authorization, ...tls }: Awaited<ReturnType<typeof openAccess>>,
  { timeoutMs, signal }: Pick<FetchOptions, "timeoutMs" | "signal">,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    // A user and password in the URL are sent as Basic authentication by the client itself.
    const request = send(url, {
      ...tls,
      agent: false,
      signal,
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        accept: ACCEPT,
        "accept-encoding": "gzip",
        "user-agent": "sluice",
        "x-prometheus-scrape-timeout-seconds": String(timeoutMs / 1000),
      },
    });
    request.on("response", resolve);
    request.on("error", (error) => {
      if (signal.aborted) reject(signal.reason as Error);
      else reject(new ScrapeFailed(url, messageOf(error), { cause: error }));
    });
    request.end();
  });
}

async function readAll(stream: Readable, url: URL): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new ScrapeFailed(url, `its answer has more than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function formatOf(contentType: string): Scraped["format"] {
  const type = contentType.toLowerCase();
  if (type.startsWith("application/vnd.google.protobuf")) return "protobuf";
  return type.startsWith("application/openmetrics-text") ? "openmetrics" : "text";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
