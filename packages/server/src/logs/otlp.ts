// opentelemetry.proto.collector.logs.v1.LogsService/Export, as https://opentelemetry.io/docs/specs/otlp wants it answered:
// what cannot be taken is counted in partial_success, never retried; what may succeed later is UNAVAILABLE, or
// RESOURCE_EXHAUSTED with RetryInfo.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExportLogsServiceResponseSchema } from "@sluice/api";
import type { Limits } from "../limits.ts";
import type { Dictionary } from "../store/dictionary.ts";
import { nextTurn } from "../stream/turn.ts";
import type { WriteTarget } from "./ingest.ts";
import type { LogName } from "./log-name.ts";
import { RequestOrigins } from "./origins.ts";
import { RecordTranscoder } from "./otlp-records.ts";
import { findRecords, type RecordSpans } from "./otlp-request.ts";
import type { WriteBudget } from "../stream/write-budget.ts";

/** Records that are transcoded in one go: about 2 ms. */
const CHUNK_RECORDS = 2048;

export interface ExportOptions {
  readonly target: WriteTarget;
  readonly budget: WriteBudget;
  readonly limits: Limits;
  readonly dictionaryOf: (log: LogName) => Dictionary;
}

type ExportResponse = MessageInitShape<typeof ExportLogsServiceResponseSchema>;

/** Takes a request's records and answers when they are durable. */
export async function exportLogs(request: Uint8Array, options: ExportOptions): Promise<ExportResponse> {
  const records = findRecords(request, options.limits);
  const durable: Promise<unknown>[] = [];
  const release = options.budget.take(request.length);
  let response: ExportResponse;
  try {
    response = await appendRecords(records, durable, options);
  } finally {
    release();
  }
  await Promise.all(durable);
  return response;
}

/** @param durable gets what must settle before the answer */
async function appendRecords(
  records: RecordSpans,
  durable: Promise<unknown>[],
  { target, dictionaryOf }: ExportOptions,
): Promise<ExportResponse> {
  const transcoder = new RecordTranscoder(records);
  using origins = new RequestOrigins(dictionaryOf);
  const total = records.starts.length;
  let rejected = 0;
  let firstReason = "";
  for (let from = 0; from < total; from += CHUNK_RECORDS) {
    if (from > 0) await nextTurn();
    const { entries, sources, malformed } = transcoder.transcode(from, Math.min(total, from + CHUNK_RECORDS));
    rejected += malformed;
    if (malformed > 0) firstReason ||= "the bytes are no LogRecord, or its resource or scope is none (MALFORMED)";
    const spans = { ...entries, originsIn: (log: LogName) => origins.of(log, sources) };
    for await (const slice of target.append(spans, undefined, { atBound: from === 0 ? "refuse" : "wait" })) {
      if (slice.accepted > 0) durable.push(slice.durable);
      rejected += slice.rejected.length;
      const [first] = slice.rejected;
      if (first !== undefined) firstReason ||= `${first.text} (${first.reason})`;
    }
  }
  if (rejected === 0) return {};
  const errorMessage = `${rejected} of ${total} log records were rejected; the first one: ${firstReason}`;
  return { partialSuccess: { rejectedLogRecords: BigInt(rejected), errorMessage } };
}
