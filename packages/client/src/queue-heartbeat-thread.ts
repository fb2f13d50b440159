// The heartbeat thread of a worker: extends its leases on a connection of its own, whatever the event loop of the handlers
// is busy with.
import { parentPort, workerData } from "node:worker_threads";
import { QueueService } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import type { HeartbeatOrder } from "./queue-heartbeat.ts";
import { LeaseKeeper } from "./queue-lease-keeper.ts";
import { LeaseTable } from "./queue-lease-table.ts";
import { monotonicMs } from "./queue-monotonic.ts";
import { systemClock } from "./time.ts";

const port = parentPort!;
const { address, queue, channel: options, memory, leaseMs } = workerData as HeartbeatOrder;
const channel = openChannel(address, options);
const { extendLeases } = createClient(QueueService, channel);
// It keeps them until the thread is terminated.
new LeaseKeeper(
  {
    table: new LeaseTable(memory),
    call: (leases, leaseMs, timeoutMs) =>
      extendLeases({ queue, leases: [...leases], leaseMs }, { timeoutMs, waitForReady: true }),
    clock: systemClock,
    nowMs: monotonicMs,
    report: (report) => port.postMessage(report),
  },
  leaseMs,
);
