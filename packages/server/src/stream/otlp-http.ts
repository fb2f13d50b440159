// OTLP/HTTP: POST of one signal, protobuf or JSON, as https://opentelemetry.io/docs/specs/otlp/#otlphttp wants it answered.
//
// H1. The answer is in the language of the request: the service's response, or google.rpc.Status when it failed.
// H2. Exporters try again after 429, 502, 503 and 504 and after nothing else. So what can never succeed has another status,
//     also where gRPC calls both RESOURCE_EXHAUSTED; what may succeed later has `retry-after`.
// H3. A body is read up to the limit of a message, and decompressed up to it again.
import { create, type DescMessage, type MessageInitShape, toBinary, toJson } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Code, type HttpHandler, type HttpRequest, type HttpResponse, retryDelayMs, type RpcError } from "@sluice/rpc";
import { BodyTooLarge, readPlainBody, textOfBody } from "./request-body.ts";

export interface OtlpHttpOptions<Response extends DescMessage> {
  /** What comes here, for people: "Logs". */
  readonly signal: string;
  readonly response: Response;
  /** Takes an encoded request. */
  readonly take: (bytes: Uint8Array, request: HttpRequest) => Promise<MessageInitShape<Response>>;
  /** The bytes of a request that is JSON. @throws InvalidRequest */
  readonly encodeJson: (text: string) => Promise<Uint8Array>;
  /** Of a body, as it comes and again when decompressed. */
  readonly messageBytesMax: number;
  /** The status of whatever was thrown; the server's own log hears of what nobody foresaw. */
  readonly statusOf: (error: unknown, request: HttpRequest) => RpcError;
}

type Language = "protobuf" | "json";

const CONTENT_TYPES = { protobuf: "application/x-protobuf", json: "application/json" } as const;

export function createOtlpHttpHandler<Response extends DescMessage>(options: OtlpHttpOptions<Response>): HttpHandler {
  const { signal, response, take, encodeJson, messageBytesMax } = options;
  return async (request) => {
    if (request.method !== "POST")
      return { status: 405, headers: { allow: "POST", ...PLAIN }, body: `POST ${signal.toLowerCase()} here.\n` };
    const type = (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
    const language: Language | undefined =
      type === CONTENT_TYPES.json ? "json" : type === CONTENT_TYPES.protobuf ? "protobuf" : undefined;
    if (language === undefined) {
      const body = `${signal} come as ${CONTENT_TYPES.protobuf} or ${CONTENT_TYPES.json}, not as "${type}".\n`;
      return { status: 415, headers: PLAIN, body };
    }
    try {
      const body = await readPlainBody(request, messageBytesMax);
      const message = language === "json" ? await encodeJson(textOfBody(body)) : body;
      return answer(language, response, await take(message, request));
    } catch (error) {
      if (request.signal.aborted) throw error;
      return refusal(language, options.statusOf(error, request), error instanceof BodyTooLarge);
    }
  };
}

const PLAIN = { "content-type": "text/plain; charset=utf-8" };

function answer<T extends DescMessage>(language: Language, schema: T, init: MessageInitShape<T>): HttpResponse {
  const response = create(schema, init);
  const headers = { "content-type": CONTENT_TYPES[language] };
  const body = language === "json" ? JSON.stringify(toJson(schema, response)) : toBinary(schema, response);
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
export function statusFor(code: Code, mayRetry: boolean): number {
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
