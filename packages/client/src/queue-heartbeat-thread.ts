// The heartbeat thread of a worker: extends its leases on a connection of its own, whatever the event loop of the handlers
// is busy with, until it is terminated.
import { parentPort, workerData } from "node:worker_threads";
import { QueueService } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import type { HeartbeatBegin, HeartbeatOrder } from "./queue-heartbeat.ts";
import { LeaseKeeper } from "./queue-lease-keeper.ts";
import { LeaseTable } from "./queue-lease-table.ts";
import { monotonicMs } from "./queue-monotonic.ts";
import { systemClock } from "./time.ts";

const port = parentPort!;
const { address, queue, channel, memory } = workerData as HeartbeatOrder;
const { extendLeases } = createClient(QueueService, openChannel(address, channel));
const table = new LeaseTable(memory);

port.on("message", ({ leaseMs }: HeartbeatBegin) => {
  const keeper = {
    table,
    call: (leases: readonly { jobId: string; attempt: bigint }[], leaseMs: number, timeoutMs: number) =>
      extendLeases({ queue, leases: [...leases], leaseMs }, { timeoutMs, waitForReady: true }),
    clock: systemClock,
    nowMs: monotonicMs,
    report: (report: object) => port.postMessage(report),
  };
  new LeaseKeeper(keeper, leaseMs);
});
port.postMessage("ready");
