// ListApplications: who ever wrote to a log, and how much of it is still there.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ListApplicationsResponseSchema } from "@sluice/api";
import type { LogReader } from "../store/contract.ts";

/** One row per application, by name. */
export function listApplications(reader: LogReader): MessageInitShape<typeof ListApplicationsResponseSchema> {
  const rows = reader.labels().filter((row) => row.count > 0);
  rows.sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    applications: rows.map((row) => ({
      application: row.name,
      entries: BigInt(row.count),
      firstTimestamp: row.firstTimestamp,
      lastTimestamp: row.lastTimestamp,
      bytes: BigInt(row.bytes),
    })),
  };
}
