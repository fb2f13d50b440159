// Two minutes in which a worker hears nothing from the server, and neither side knows.
import { type Delivery, type Lease, ResultCode } from "@sluice/api";
import { expect, test } from "vitest";
import { openQueueClient } from "../support/queue-client.ts";
import { startServer } from "../support/server-process.ts";
import { openStallingProxy } from "../support/stalling-proxy.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const LEASE_MS = 120_000;
const leaseOf = ({ lease }: Delivery): Lease => lease!;
const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ job }) => Buffer.from(job!.body).toString());

test("a partition of two minutes: offers go to others at once, the lease ends, and what comes late changes nothing", async () => {
  await using folder = await openTemporaryFolder("queues-partition");
  await using server = await startServer([], { folder: folder.path });
  await using proxy = await openStallingProxy(server.address);
  await using near = openQueueClient(server.address);
  await using far = openQueueClient(proxy.address);
  await near.queues.createQueue({ name: "q", settings: { leaseMs: LEASE_MS, backoffMs: 1, backoffMaxMs: 1 } });
  await near.enqueue("q", ...["started", "b", "c", "d"].map((body) => ({ body: Buffer.from(body) })));
  const offers = { queue: "q", explicitStart: true, heartbeatMs: 1000 };
  const cutOff = far.work({ ...offers, flow: { window: 4 } });
  const held = (await cutOff.deliveries(4)).map(leaseOf);
  expect(await cutOff.startJobs(held.slice(0, 1))).toMatchObject([{ code: ResultCode.OK }]);
  const beganMs = performance.now();
  proxy.stall();

  const other = near.work({ ...offers, flow: { window: 4 } });
  const taken: Delivery[] = [];
  while (taken.length < 3) {
    const delivery = (await other.deliveries(taken.length + 1))[taken.length]!;
    taken.push(delivery);
    expect(await other.startJobs([leaseOf(delivery)])).toMatchObject([{ code: ResultCode.OK }]);
    expect(await other.ack([leaseOf(delivery)])).toMatchObject([{ code: ResultCode.OK }]);
    other.flow(taken.length, 4);
  }
  expect(bodies(taken).sort()).toEqual(["b", "c", "d"]);
  expect(performance.now() - beganMs).toBeLessThan(LEASE_MS / 4);

  const [again] = (await other.deliveries(4)).slice(3);
  expect(performance.now() - beganMs).toBeGreaterThan(LEASE_MS - 1000);
  expect(bodies([again!])).toEqual(["started"]);
  expect(again).toMatchObject({ failures: 1 });
  const [started] = await other.startJobs([leaseOf(again!)]);
  expect(started).toMatchObject({ code: ResultCode.OK });

  proxy.resume();
  await cutOff.until(() => cutOff.all("leaseLost").length > 0);
  expect(cutOff.all("leaseLost")).toMatchObject([{ leases: [held[0]] }]);
  expect(cutOff.all("recall").flatMap(({ leases }) => leases)).toHaveLength(3);
  expect(await cutOff.ack(held.slice(0, 1))).toMatchObject([{ code: ResultCode.STALE }]);
  expect(await other.ack([leaseOf(again!)])).toMatchObject([{ code: ResultCode.OK }]);
  const { queue } = await near.queues.getQueue({ name: "q" });
  expect(queue?.counts).toMatchObject({ done: 4n, waiting: 0n, offered: 0n, running: 0n, dead: 0n });
});
