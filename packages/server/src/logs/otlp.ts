// opentelemetry.proto.collector.logs.v1.LogsService/Export, as https://opentelemetry.io/docs/specs/otlp wants it answered:
// what cannot be taken is counted in partial_success, never retried; what may succeed later is UNAVAILABLE, or
// RESOURCE_EXHAUSTED with RetryInfo.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExportLogsServiceResponseSchema } from "@sluice/api";
import type { Limits } from "../limits.ts";
import { nextTurn } from "../stream/turn.ts";
import type { Ingest } from "./ingest.ts";
import { findRecords, RecordTranscoder } from "./otlp-records.ts";

/** Records that are transcoded in one go: about 2 ms. */
const CHUNK_RECORDS = 2048;

/** Takes a request's records and answers when they are durable. */
export async function exportLogs(
  ingest: Ingest,
  request: Uint8Array,
  limits: Limits,
): Promise<MessageInitShape<typeof ExportLogsServiceResponseSchema>> {
  const records = findRecords(request, limits);
  const transcoder = new RecordTranscoder(records);
  const total = records.starts.length;
  let rejected = 0;
  let firstReason = "";
  let durable: Promise<unknown> | undefined;
  for (let from = 0; from < total; from += CHUNK_RECORDS) {
    if (from > 0) await nextTurn();
    const { entries, malformed } = transcoder.transcode(from, Math.min(total, from + CHUNK_RECORDS));
    rejected += malformed;
    if (malformed > 0) firstReason ||= "the bytes are no LogRecord (MALFORMED)";
    for await (const slice of ingest.append(entries, undefined)) {
      if (slice.accepted > 0) durable = slice.durable;
      rejected += slice.rejected.length;
      const [first] = slice.rejected;
      if (first !== undefined) firstReason ||= `${first.text} (${first.reason})`;
    }
  }
  await durable;
  if (rejected === 0) return {};
  const errorMessage = `${rejected} of ${total} log records were rejected; the first one: ${firstReason}`;
  return { partialSuccess: { rejectedLogRecords: BigInt(rejected), errorMessage } };
}
