// Decodes batches of entries, each by the EntryDecoder: the hot path of every reader.
//
// D1. What comes out is what protobuf-es makes of the same bytes. Whatever is no plain list of entries (a control, a field
//     that this version does not know, broken bytes) is left to protobuf-es, whole.
import { create, fromBinary } from "@bufbuild/protobuf";
import { type LogBatch, LogBatchSchema, type LogEntry } from "@sluice/api";
import type { EntryDecoder } from "./decode-entry.ts";

const ENTRY_TAG = (1 << 3) | 2;
/** Bytes of a length: 2^28 is far above what a message may have. */
const LENGTH_BYTES_MAX = 4;

/** @throws Error for bytes that are no LogBatch, as protobuf-es says it */
export function decodeBatch(bytes: Uint8Array, decoder: EntryDecoder): LogBatch {
  const entries = decodeEntries(bytes, decoder);
  if (entries === undefined) return fromBinary(LogBatchSchema, bytes);
  const batch = create(LogBatchSchema);
  batch.entries = entries;
  return batch;
}

/** undefined: there is more than entries, or less. */
function decodeEntries(bytes: Uint8Array, decoder: EntryDecoder): LogEntry[] | undefined {
  const entries: LogEntry[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at++] !== ENTRY_TAG) return undefined;
    let length = 0;
    let byte = 0x80;
    for (let i = 0; i < LENGTH_BYTES_MAX && byte > 0x7f; i++) {
      byte = bytes[at++] ?? 0x80;
      length |= (byte & 0x7f) << (7 * i);
    }
    if (byte > 0x7f || at + length > bytes.length) return undefined;
    try {
      entries.push(decoder.decode(bytes.subarray(at, at + length)));
    } catch {
      return undefined;
    }
    at += length;
  }
  return entries;
}
