// ListLogs: one row per log that this server serves, by name.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ListLogsResponseSchema } from "@sluice/api";
import type { LogReader } from "../store/contract.ts";
import { formatCursor } from "../stream/cursor.ts";

/** What a log takes, and whether it takes more. */
export interface LogStatus {
  /** Frames and indexes on disk, compressed or not. */
  readonly bytes: number;
  /** undefined: none. */
  readonly quotaBytes: number | undefined;
  /** Why writes are refused now, in a sentence; empty: they are not. */
  readonly refusal: string;
}

/** @param logs those that the caller may know of */
export function listLogs(
  logs: readonly { readonly name: string; readonly reader: LogReader; readonly status: () => LogStatus }[],
): MessageInitShape<typeof ListLogsResponseSchema> {
  const rows = logs.map(({ name, reader, status }) => {
    const { bytes, quotaBytes = 0, refusal } = status();
    return {
      name,
      entries: BigInt(reader.head.sequence - reader.first + 1),
      bytes: BigInt(bytes),
      quotaBytes: BigInt(quotaBytes),
      headCursor: formatCursor(name, reader.head),
      refusal,
    };
  });
  return { logs: rows.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}
