// The promises that notifications began with: against a real server, over a real socket, through the unversioned service and
// its first three request fields.
import { type Notification, NotificationService, SeedNotificationService } from "@sluice/api";
import { type Channel, createClient, openChannel } from "@sluice/rpc";
import type { NewNotification } from "@sluice/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Probe, type ProbedServer, startProbedServer } from "../support/probed-server.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ProbedServer;
let channel: Channel;

beforeAll(async () => {
  folder = await openTemporaryFolder("notifications-seed");
  server = await startProbedServer(folder.path);
  channel = openChannel(server.address);
}, 60_000);

afterAll(async () => {
  await channel.close();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const seed = () => createClient(SeedNotificationService, channel);
const service = () => createClient(NotificationService, channel);

async function publish(...notifications: NewNotification[]): Promise<string[]> {
  const { outcomes } = await service().publish({ notifications });
  for (const { error } of outcomes) expect(error).toBe("");
  return outcomes.map(({ id }) => id);
}

async function take(stream: AsyncIterator<Notification>, count: number): Promise<string[]> {
  const titles: string[] = [];
  while (titles.length < count) {
    const { value } = (await stream.next()) as { value: Notification };
    expect(value.control).toBeUndefined();
    titles.push(value.title);
  }
  return titles;
}

test("Per-user delivery: each user has their own, on all of their devices", async () => {
  const [one, two, bob] = ["ann", "ann", "bob"].map((userId) => seed().subscribeToNotifications({ userId }));
  await publish(
    { userIds: ["ann"], title: "ann's" },
    { userIds: ["bob"], title: "bob's" },
    { userIds: ["ann", "bob"], title: "both" },
  );
  expect(await take(one!, 2)).toEqual(["ann's", "both"]);
  expect(await take(two!, 2)).toEqual(["ann's", "both"]);
  expect(await take(bob!, 2)).toEqual(["bob's", "both"]);
  for (const stream of [one, two, bob]) await stream?.return?.();
});

test("Type and priority filters", async () => {
  const request = { userId: "fay", eventTypes: ["order.*", "alert"], priorityLevel: 3 };
  const wanted = { userIds: ["fay"], priority: 3 };
  await publish({ ...wanted, type: "order.paid", title: "before" }, { ...wanted, type: "other", title: "no" });
  const stream = seed().subscribeToNotifications(request);
  expect(await take(stream, 1)).toEqual(["before"]);
  await publish(
    { ...wanted, type: "orders", title: "no" },
    { ...wanted, type: "order.sent", priority: 2, title: "no" },
    { ...wanted, type: "alert", title: "alert" },
    { ...wanted, type: "order.", title: "dot", priority: 7 },
  );
  expect((await take(stream, 2)).toSorted()).toEqual(["alert", "dot"]);
  await stream.return?.();
});

test("Queue management: what comes while nobody is there waits, within the inbox's bound, and the least urgent gives way", async () => {
  await service().setPolicy({ userId: "quinn", policy: { maxItems: 3 } });
  await publish(
    { userIds: ["quinn"], title: "old" },
    { userIds: ["quinn"], title: "urgent", priority: 7 },
    { userIds: ["quinn"], title: "newer" },
    { userIds: ["quinn"], title: "newest" },
  );
  // What gives way goes by a record of its own, right behind.
  const waiting = async () => (await service().listNotifications({ userId: "quinn" })).notifications.length;
  await expect.poll(waiting).toBe(3);
  const stream = seed().subscribeToNotifications({ userId: "quinn" });
  // Controls about what had to go are left out here, without ending the stream.
  expect(await take(stream, 3)).toEqual(["urgent", "newer", "newest"]);
  await publish({ userIds: ["quinn"], title: "live" });
  expect(await take(stream, 1)).toEqual(["live"]);
  await stream.return?.();
  await expect.poll(waiting).toBe(3);
  const again = seed().subscribeToNotifications({ userId: "quinn" });
  expect(await take(again, 3)).toEqual(["urgent", "newest", "live"]);
  await again.return?.();
});

test("Disconnect detection and cleanup: a device that goes away leaves nothing, and presence says so", async () => {
  const devicesNow = async () => (await server.probe()).counts.devices;
  await expect.poll(devicesNow).toBe(0);
  const before = (await server.probe()).counts;
  const presence = service().watchPresence({ userId: "dora", graceMs: 0 });
  const own = openChannel(server.address);
  const devices = Array.from({ length: 20 }, () =>
    createClient(SeedNotificationService, own).subscribeToNotifications({ userId: "dora" }),
  );
  await publish({ userIds: ["dora"], title: "hello" });
  for (const device of devices) expect(await take(device, 1)).toEqual(["hello"]);
  expect((await presence.next()).value).toMatchObject({ deviceId: "", connected: true });
  expect(await devicesNow()).toBe(21);
  // Half of them say that they leave, of the others the connection breaks.
  for (const device of devices.slice(0, 10)) await device.return?.();
  await own.close();
  expect((await presence.next()).value).toMatchObject({ deviceId: "", connected: false });
  await presence.return?.();
  const countsOf = ({ counts }: Probe) => ({ ...counts, connections: 0 });
  await expect.poll(async () => countsOf(await server.probe())).toEqual({ ...before, connections: 0 });
});
