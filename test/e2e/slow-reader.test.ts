// A reader that stops reading costs the server nothing but its lag: less than 8 MiB while much more is ingested. When it
// goes on, it gets everything, in order.
//
// The short form ingests 200 MB; SLUICE_SLOW_READER_BYTES=1000000000 gives the full one.
import { expect, test } from "vitest";
import { type LogClient, openLogClient } from "../support/log-client.ts";
import { startProbedServer } from "../support/probed-server.ts";
import { openStallingProxy } from "../support/stalling-proxy.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const INGESTED_BYTES = Number(process.env["SLUICE_SLOW_READER_BYTES"] ?? 200_000_000);
const MEMORY_BYTES_MAX = 8 * 1024 * 1024;
const ENTRY_BYTES = 1000;
const BATCH_ENTRIES = 2000;

const batch = Array.from({ length: BATCH_ENTRIES }, () => ({ application: "bulk", message: "x".repeat(ENTRY_BYTES) }));

/** Writes at least so many bytes; returns how many entries that were. */
async function ingest(client: LogClient, bytes: number): Promise<number> {
  const batches = Math.ceil(bytes / (ENTRY_BYTES * BATCH_ENTRIES));
  for (let i = 0; i < batches; i += 1) await client.write(...batch);
  return batches * BATCH_ENTRIES;
}

/** Before anything is measured the server's caches are filled to their bounds. */
const WARM_BYTES = 80_000_000;

test.each([
  { name: "a stream that is not pulled", isSocketStalled: false },
  { name: "a socket that is not read", isSocketStalled: true },
])(
  "$name",
  async ({ isSocketStalled }) => {
    await using folder = await openTemporaryFolder("slow-reader");
    await using server = await startProbedServer(folder.path);
    await using writer = openLogClient(server.address);
    await using proxy = await openStallingProxy(server.address);
    await using reader = openLogClient(proxy.address);

    const warm = await ingest(writer, WARM_BYTES);
    const before = await server.probe();
    const stream = reader.logs.streamLogs({ application: "bulk", follow: true, tailLines: 0n });
    expect((await stream.next()).value?.control?.kind.case).toBe("sync");
    if (isSocketStalled) proxy.stall();
    const count = await ingest(writer, INGESTED_BYTES);
    const during = await server.probe();
    expect(during.memoryBytes - before.memoryBytes).toBeLessThan(MEMORY_BYTES_MAX);
    expect(during.counts.followers).toBe(1);

    if (isSocketStalled) proxy.resume();
    const last = BigInt(warm + count);
    let sequence = BigInt(warm);
    for await (const entry of stream) {
      if (entry.control?.kind.case === "heartbeat") continue;
      if (entry.sequence !== sequence + 1n) break; // a hole, a repeat, or a gap
      sequence = entry.sequence;
      if (sequence === last) break;
    }
    expect(sequence).toBe(last);
  },
  600_000,
);
