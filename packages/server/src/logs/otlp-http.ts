// OTLP/HTTP: POST /v1/logs, protobuf or JSON, as https://opentelemetry.io/docs/specs/otlp/#otlphttp wants it answered.
//
// H1. The answer is in the language of the request: ExportLogsServiceResponse, or google.rpc.Status when it failed.
// H2. Exporters try again after 429, 502, 503 and 504 and after nothing else. So what can never succeed has another status,
//     also where gRPC calls both RESOURCE_EXHAUSTED; what may succeed later has `retry-after`.
// H3. A body is read up to the limit of a message, and decompressed up to it again.
import { gunzip } from "node:zlib";
import { create, type MessageInitShape, toBinary, toJson } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { ExportLogsServiceResponseSchema } from "@sluice/api";
import { Code, type HttpHandler, type HttpRequest, type HttpResponse, retryDelayMs, type RpcError } from "@sluice/rpc";
import { InvalidRequest, SluiceError } from "../errors.ts";
import { type Subject, subjectOf } from "../security/authorize.ts";
import { requestOfJson } from "./otlp-json.ts";

export const OTLP_LOGS_PATH = "/v1/logs";

export interface OtlpHttpOptions {
  readonly exportLogs: (
    subject: Subject,
    request: Uint8Array,
  ) => Promise<MessageInitShape<typeof ExportLogsServiceResponseSchema>>;
  /** Of a body, as it comes and again when decompressed. */
  readonly messageBytesMax: number;
  /** The status of whatever was thrown; the server's own log hears of what nobody foresaw. */
  readonly statusOf: (error: unknown, request: HttpRequest) => RpcError;
}

type Language = "protobuf" | "json";

const CONTENT_TYPES = { protobuf: "application/x-protobuf", json: "application/json" } as const;

/** Serves OTLP_LOGS_PATH. */
export function createOtlpHttpHandler(options: OtlpHttpOptions): HttpHandler {
  return async (request) => {
    if (request.method !== "POST")
      return { status: 405, headers: { allow: "POST", ...PLAIN }, body: "POST logs here.\n" };
    const type = (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
    const language: Language | undefined =
      type === CONTENT_TYPES.json ? "json" : type === CONTENT_TYPES.protobuf ? "protobuf" : undefined;
    if (language === undefined) {
      const body = `Logs come as ${CONTENT_TYPES.protobuf} or ${CONTENT_TYPES.json}, not as "${type}".\n`;
      return { status: 415, headers: PLAIN, body };
    }
    try {
      const body = await readBody(request, options.messageBytesMax);
      const message = language === "json" ? await requestOfJson(textOf(body)) : body;
      return answer(language, await options.exportLogs(subjectOf(request), message));
    } catch (error) {
      if (request.signal.aborted) throw error;
      return refusal(language, options.statusOf(error, request), error instanceof BodyTooLarge);
    }
  };
}

const PLAIN = { "content-type": "text/plain; charset=utf-8" };

/** The body, or what it decompresses to, is over the limit. To recover: send smaller batches. */
class BodyTooLarge extends SluiceError {
  override readonly name = "BodyTooLarge";
  constructor(max: number) {
    super("limit-exceeded", `Cannot take a body of more than ${max} bytes, compressed or not: send smaller batches`, {
      reason: "LIMIT_EXCEEDED",
      quota: { subject: "bytes of a body", description: `the limit is ${max}` },
    });
  }
}

async function readBody({ headers, body }: HttpRequest, max: number): Promise<Uint8Array> {
  const encoding = (headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding !== "gzip" && encoding !== "identity") {
    throw refuse("content-encoding", `"${encoding}" is none of gzip, identity`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > max) throw new BodyTooLarge(max);
    chunks.push(chunk);
  }
  const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  return encoding === "gzip" ? await decompress(whole, max) : whole;
}

/** In the thread pool. */
function decompress(bytes: Uint8Array, max: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gunzip(bytes, { maxOutputLength: max }, (error, decompressed) => {
      if (error === null) resolve(decompressed);
      else if ("code" in error && error.code === "ERR_BUFFER_TOO_LARGE") reject(new BodyTooLarge(max));
      else reject(refuse("body", "is no valid gzip"));
    });
  });
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse("body", "is not valid UTF-8");
  }
}

function refuse(field: string, description: string): InvalidRequest {
  return new InvalidRequest("MALFORMED", [{ field, description }]);
}

function answer(language: Language, init: MessageInitShape<typeof ExportLogsServiceResponseSchema>): HttpResponse {
  const response = create(ExportLogsServiceResponseSchema, init);
  const headers = { "content-type": CONTENT_TYPES[language] };
  const body =
    language === "json"
      ? JSON.stringify(toJson(ExportLogsServiceResponseSchema, response))
      : toBinary(ExportLogsServiceResponseSchema, response);
  return { status: 200, headers, body };
}

function refusal(language: Language, error: RpcError, isTooLarge: boolean): HttpResponse {
  const { code, message } = error;
  const delayMs = retryDelayMs(error);
  const headers = {
    "content-type": CONTENT_TYPES[language],
    ...(delayMs === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(delayMs / 1000))) }),
  };
  const body =
    language === "json"
      ? JSON.stringify({ code, message })
      : new BinaryWriter().tag(1, 0).int32(code).tag(2, 2).string(message).finish();
  return { status: isTooLarge ? 413 : statusFor(code, delayMs !== undefined), headers, body };
}

/** H2. */
function statusFor(code: Code, mayRetry: boolean): number {
  switch (code) {
    case Code.UNAVAILABLE:
      return 503;
    case Code.RESOURCE_EXHAUSTED:
      return mayRetry ? 429 : 400;
    case Code.UNAUTHENTICATED:
      return 401;
    case Code.PERMISSION_DENIED:
      return 403;
    case Code.NOT_FOUND:
      return 404;
    case Code.DEADLINE_EXCEEDED:
      return 504;
    case Code.INVALID_ARGUMENT:
    case Code.FAILED_PRECONDITION:
    case Code.OUT_OF_RANGE:
      return 400;
    default:
      return 500;
  }
}
