// OTLP/HTTP of logs: POST /v1/logs.
import { ExportLogsServiceResponseSchema } from "@sluice/api";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HttpHandler } from "@sluice/rpc";
import { type Subject, subjectOf } from "../security/authorize.ts";
import { createOtlpHttpHandler, type OtlpHttpOptions } from "../stream/otlp-http.ts";
import { requestOfJson } from "./otlp-json.ts";

export const OTLP_LOGS_PATH = "/v1/logs";

export interface OtlpLogsHttpOptions extends Pick<
  OtlpHttpOptions<typeof ExportLogsServiceResponseSchema>,
  "messageBytesMax" | "statusOf"
> {
  readonly exportLogs: (
    subject: Subject,
    request: Uint8Array,
  ) => Promise<MessageInitShape<typeof ExportLogsServiceResponseSchema>>;
}

/** Serves OTLP_LOGS_PATH. */
export function createOtlpLogsHandler({ exportLogs, ...options }: OtlpLogsHttpOptions): HttpHandler {
  return createOtlpHttpHandler({
    ...options,
    signal: "Logs",
    response: ExportLogsServiceResponseSchema,
    take: (bytes, request) => exportLogs(subjectOf(request), bytes),
    encodeJson: requestOfJson,
  });
}
