// Workers whose queue fails or goes, and who do not read.
import { type Delivery, type Lease, ResultCode } from "@sluice/api";
import { expect, test } from "vitest";
import type { FileSystem } from "../store/file-system.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { OpenedQueues } from "./testing/opened-queues.ts";

const text = (body: string) => ({ body: Buffer.from(body) });
const leaseOf = ({ lease }: Delivery): Lease => lease!;
const bodies = (deliveries: readonly Delivery[]) => deliveries.map(({ job }) => Buffer.from(job!.body).toString());
const flow = (window: number) => ({ seen: 0n, window, windowBytes: 0n });
const offers = { queue: "q", explicitStart: true, heartbeatMs: 0 } as const;

/** Nothing gets to disk while it fails. */
function failingFileSystem(disk: { isFailing: boolean }): FileSystem {
  return {
    ...nodeFileSystem,
    async open(path, mode) {
      const file = await nodeFileSystem.open(path, mode);
      return {
        read: (buffer, position) => file.read(buffer, position),
        readSync: (buffer, position) => file.readSync(buffer, position),
        write: (buffers, position) =>
          disk.isFailing ? Promise.reject(new Error("EIO")) : file.write(buffers, position),
        sync: () => (disk.isFailing ? Promise.reject(new Error("EIO")) : file.sync()),
        truncate: (length) => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
    },
  };
}

test("a disk that fails ends the streams of its queue with UNAVAILABLE; what was acknowledged is there when it goes on", async () => {
  const disk = { isFailing: false };
  await using own = await OpenedQueues.open({ fileSystem: failingFileSystem(disk) });
  await own.createQueue("q");
  await own.enqueue("q", [text("kept")]);
  const worker = await own.worker({ ...offers, flow: flow(1) });
  const [delivery] = await worker.deliveries(1);
  disk.isFailing = true;
  await expect(own.enqueue("q", [text("never acknowledged")])).rejects.toMatchObject({ kind: "unavailable" });
  expect(await worker.ending()).toMatchObject({ kind: "unavailable", facts: { reason: expect.any(String) as string } });
  expect(own.service).toMatchObject({ workers: 0, sessions: 0 });
  await expect(own.worker(offers)).rejects.toMatchObject({ kind: "unavailable" });
  disk.isFailing = false;
  await expect
    .poll(async () => {
      await own.clock.advanceInTurns(1000);
      return own.queues.list().length;
    })
    .toBe(1);
  const again = await own.worker({ ...offers, flow: flow(10) });
  expect(bodies(await again.deliveries(1))).toContain("kept");
  const late = await again.ack([leaseOf(delivery!)]);
  expect(late).toMatchObject([{ code: ResultCode.STALE }]);
});

test("a queue that is deleted ends its workers' streams with NOT_FOUND", async () => {
  await using opened = await OpenedQueues.open();
  await opened.createQueue("q");
  const worker = await opened.worker(offers);
  await opened.call("deleteQueue", { name: "q" });
  expect(await worker.ending()).toMatchObject({ kind: "not-found" });
  expect(opened.service).toMatchObject({ workers: 0, sessions: 0 });
});

test("a worker whose large backlog waits for it to read costs leases, not bodies", async () => {
  await using opened = await OpenedQueues.open();
  await opened.createQueue("q");
  const body = Buffer.alloc(64 * 1024, 1);
  const worker = await opened.worker({ ...offers, flow: flow(100) });
  await worker.until(() => worker.all("session").length === 1);
  worker.isStalled = true;
  for (let i = 0; i < 5; i++)
    await opened.enqueue(
      "q",
      Array.from({ length: 20 }, () => ({ body })),
    );
  const { queue } = await opened.call("getQueue", { name: "q" });
  expect(queue?.counts).toMatchObject({ offered: 100n });
  worker.isStalled = false;
  worker.wake();
  const deliveries = await worker.deliveries(100);
  expect(deliveries.map(({ number }) => Number(number))).toEqual(deliveries.map((_, i) => i + 1));
  expect(deliveries.every(({ job }) => Buffer.compare(job!.body, body) === 0)).toBe(true);
});
