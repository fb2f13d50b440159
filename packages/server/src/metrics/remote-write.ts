// Prometheus' remote write, 1.0 and 2.0: POST /api/v1/write (prometheus.io/docs/specs/prw).
//
// RH1. A sender tries again after 5xx and 429 and after nothing else: what can never succeed is 400, 413 or 415. What was good
//      in such a request is kept all the same.
// RH2. Version 2 is told how much was written. Both are answered when it is durable.
import { type HttpHandler, type HttpRequest, type HttpResponse, retryDelayMs, type RpcError } from "@sluice/rpc";
import { type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import { statusFor } from "../stream/otlp-http.ts";
import { BodyTooLarge, readBody } from "../stream/request-body.ts";
import { nextTurn } from "../stream/turn.ts";
import type { WriteBudget } from "../stream/write-budget.ts";
import { pointsOfV1, pointsOfV2, type RemoteMemory, type RemoteWriteKind } from "./remote-write-points.ts";
import { decompressSnappy } from "./snappy.ts";
import type { PointWriter } from "./write-points.ts";

export const REMOTE_WRITE_PATH = "/api/v1/write";

export interface RemoteWriteOptions {
  readonly writer: PointWriter;
  readonly authorize: Authorize;
  readonly budget: WriteBudget;
  /** Of a body, as it comes and again when decompressed. */
  readonly messageBytesMax: number;
  readonly statusOf: (error: unknown, request: HttpRequest) => RpcError;
}

const MEDIA_TYPE = "application/x-protobuf";
const PROTOCOLS: ReadonlyMap<string, 1 | 2> = new Map([
  ["prometheus.WriteRequest", 1],
  ["io.prometheus.write.v2.Request", 2],
]);
const CHUNK_POINTS = 1000;
const PLAIN = { "content-type": "text/plain; charset=utf-8" };

/** Serves REMOTE_WRITE_PATH. */
export function createRemoteWriteHandler(options: RemoteWriteOptions): HttpHandler {
  const { authorize, budget, messageBytesMax, statusOf } = options;
  const memory: RemoteMemory = new Map();
  return async (request) => {
    if (request.method !== "POST") {
      return { status: 405, headers: { allow: "POST", ...PLAIN }, body: "POST a remote write request here.\n" };
    }
    const version = versionOf(request);
    if (version === undefined) {
      const body = `A remote write request is ${MEDIA_TYPE} with one of proto=${[...PROTOCOLS.keys()].join(", ")}.\n`;
      return { status: 415, headers: PLAIN, body };
    }
    const encoding = request.headers.get("content-encoding") ?? "";
    if (encoding.trim().toLowerCase() !== "snappy") {
      const body = `A remote write request is compressed with snappy, not with "${encoding}".\n`;
      return { status: 415, headers: PLAIN, body };
    }
    try {
      const subject = subjectOf(request);
      authorize(subject, "write", { type: "metrics", name: "default" });
      const bytes = decompressSnappy(await readBody(request, messageBytesMax), messageBytesMax);
      const release = budget.take(bytes.length);
      try {
        return await take({ version, bytes, subject, memory }, options.writer);
      } finally {
        release();
      }
    } catch (error) {
      if (request.signal.aborted) throw error;
      return refusal(statusOf(error, request), error instanceof BodyTooLarge);
    }
  };
}

function versionOf({ headers }: HttpRequest): 1 | 2 | undefined {
  const [type, ...parameters] = (headers.get("content-type") ?? "").split(";").map((part) => part.trim());
  if (type?.toLowerCase() !== MEDIA_TYPE) return undefined;
  const proto = parameters.find((each) => each.toLowerCase().startsWith("proto="));
  return proto === undefined ? 1 : PROTOCOLS.get(proto.slice("proto=".length).replaceAll('"', ""));
}

async function take(
  request: { version: 1 | 2; bytes: Uint8Array; subject: Subject; memory: RemoteMemory },
  writer: PointWriter,
): Promise<HttpResponse> {
  const { version, bytes, subject, memory } = request;
  const batch = writer.begin(subject.name);
  const written: Record<RemoteWriteKind, number> = { samples: 0, histograms: 0, exemplars: 0 };
  let total = 0;
  let refused = 0;
  let first = "";
  try {
    for (const { kind, exemplars, incoming } of version === 1 ? pointsOfV1(bytes, memory) : pointsOfV2(bytes)) {
      if (++total % CHUNK_POINTS === 0) await nextTurn();
      const problem = typeof incoming === "string" ? incoming : batch.write(incoming)?.text;
      if (problem === undefined) {
        written[kind]++;
        written.exemplars += exemplars;
      } else {
        refused++;
        first ||= problem;
      }
    }
  } finally {
    await batch.commit();
  }
  const headers = version === 1 ? {} : writtenHeaders(written);
  if (refused === 0) return { status: 204, headers };
  const body = `${refused} of ${total} points were rejected; the first one: ${first}\n`;
  return { status: 400, headers: { ...headers, ...PLAIN }, body };
}

/** RH2. */
function writtenHeaders(written: Readonly<Record<RemoteWriteKind, number>>): Readonly<Record<string, string>> {
  return {
    "x-prometheus-remote-write-samples-written": String(written.samples),
    "x-prometheus-remote-write-histograms-written": String(written.histograms),
    "x-prometheus-remote-write-exemplars-written": String(written.exemplars),
  };
}

function refusal(error: RpcError, isTooLarge: boolean): HttpResponse {
  const delayMs = retryDelayMs(error);
  const retry = delayMs === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(delayMs / 1000))) };
  const status = isTooLarge ? 413 : statusFor(error.code, delayMs !== undefined);
  return { status, headers: { ...PLAIN, ...retry }, body: `${error.message}\n` };
}
