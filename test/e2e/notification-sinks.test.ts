// Those who are away are told: `sluice serve` with a webhook and a push service on this machine, which fail, are killed with
// the server, and hear of each notification in the end.
import { createHmac } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, type SluiceClient } from "@sluice/client";
import { Code } from "@sluice/rpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Browser, PostReceiver } from "../../packages/server/src/notifications/testing/push-service.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let receiver: PostReceiver;
let server: ServerProcess;
let client: SluiceClient;

beforeEach(async () => {
  folder = await openTemporaryFolder("sinks");
  receiver = await PostReceiver.open();
  await writeFile(join(folder.path, "secret"), "known to both\n");
  await start();
});
afterEach(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function start(away = "0"): Promise<void> {
  server = await startServer(
    [
      "--notifications-away",
      away,
      "--notifications-webhooks",
      `pager=${receiver.origin}/pager;secretFile=${join(folder.path, "secret")};types=order.*`,
      "--notifications-web-push-subject",
      "mailto:ops@example.org",
      "--notifications-web-push-hosts",
      receiver.origin,
    ],
    { folder: folder.path },
  );
  client = connect(server.address);
}

const posts = (path: string) => receiver.posted.filter((post) => post.path === path);
const doneJobs = async () => (await client.queues.get("notification-sinks")).counts?.done;
const idOf = (body: Buffer): string =>
  (JSON.parse(body.toString()) as { notification: { id: string } }).notification.id;

test("a webhook hears of what a user misses, signed; one that fails is tried again", async () => {
  receiver.answers.push({ status: 500, body: "not now" }, { status: 503, headers: { "retry-after": "0" } });
  const [outcome] = await client.notifications.publish({ userIds: ["ada"], type: "order.paid", title: "Paid" });
  await client.notifications.publish({ userIds: ["ada"], type: "mail.new", title: "Mail" });
  await expect.poll(() => posts("/pager").length).toBe(3);
  expect(new Set(posts("/pager").map(({ body }) => idOf(body)))).toEqual(new Set([outcome!.id]));
  const { headers, body } = posts("/pager")[2]!;
  const signed = `${headers["webhook-id"] as string}.${headers["webhook-timestamp"] as string}.${body.toString()}`;
  const signature = createHmac("sha256", "known to both").update(signed).digest("base64");
  expect(headers["webhook-signature"]).toBe(`v1,${signature}`);
});

test("a browser that is closed is told by its push service, of topics and of everyone's too; one that is gone is forgotten", async () => {
  const key = await client.notifications.getWebPushKey("ada");
  expect(Buffer.from(key, "base64url")).toHaveLength(65);
  const browser = new Browser();
  await client.notifications.putWebPush("ada", "phone", browser.subscription(`${receiver.origin}/push`));
  await client.notifications.joinTopics("ada", ["news"]);
  await client.notifications.publish([
    { userIds: ["ada"], title: "to ada" },
    { topics: ["news"], title: "to readers" },
    { everyone: true, title: "to all" },
    { userIds: ["bob"], title: "to bob" },
  ]);
  await expect.poll(() => posts("/push").length).toBe(3);
  const titles = posts("/push").map(({ body }) => (JSON.parse(browser.decrypt(body)) as { title: string }).title);
  expect(titles.toSorted()).toEqual(["to ada", "to all", "to readers"]);
  receiver.answers.push({ status: 410 });
  await client.notifications.publish({ userIds: ["ada"], title: "in vain" });
  const hasPush = async () => (await client.notifications.listDevices("ada")).some(({ hasWebPush }) => hasWebPush);
  await expect.poll(hasPush).toBe(false);
  const elsewhere = client.notifications.putWebPush("ada", "phone", browser.subscription("https://10.0.0.1/push"));
  await expect(elsewhere).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
});

test("what was to be told is told although the server was killed in between", async () => {
  receiver.answers.push(...Array.from({ length: 20 }, () => ({ status: 503, headers: { "retry-after": "1" } })));
  const drafts = Array.from({ length: 20 }, (_, i) => ({ userIds: [`user-${i}`], type: "order.paid", title: `${i}` }));
  const ids = (await client.notifications.publish(drafts)).map(({ id }) => id);
  await expect.poll(() => posts("/pager").length).toBeGreaterThan(5);
  server.kill("SIGKILL");
  await server.ended();
  await client[Symbol.asyncDispose]();
  receiver.answers.length = 0;
  const before = posts("/pager").length;
  await start();
  const told = () =>
    new Set(
      posts("/pager")
        .slice(before)
        .map(({ body }) => idOf(body)),
    );
  await expect.poll(() => told().size).toBe(20);
  expect(told()).toEqual(new Set(ids));
  await expect.poll(doneJobs).toBe(20n);
});

test("who is connected is told by the stream alone", async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    const inbox = client.notifications.watchInbox("ada", { deviceId: "desk", signal: stop.signal });
    for await (const event of inbox) if (event.kind === "notification") seen.push(event.notification.title);
  })();
  const isConnected = async () => (await client.notifications.listDevices("ada")).some(({ connected }) => connected);
  await expect.poll(isConnected).toBe(true);
  await client.notifications.publish({ userIds: ["ada"], type: "order.paid", title: "here" });
  await expect.poll(() => seen).toEqual(["here"]);
  await expect.poll(doneJobs).toBe(1n);
  stop.abort();
  await expect(watching).rejects.toThrow("abort");
  expect(receiver.posted).toEqual([]);
});

test.each([
  ["what a device has acknowledged before it left is not told", true, 0],
  ["what it has not acknowledged is", false, 1],
])("%s", async (_what, acknowledges, told) => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await start("1s");
  const inbox = client.notifications.watchInbox("ada", { deviceId: "desk" });
  for await (const event of inbox) {
    if (event.kind === "sync") {
      await client.notifications.publish({ userIds: ["ada"], type: "order.paid", title: "here" });
    }
    if (event.kind === "notification") {
      if (acknowledges) await inbox.acknowledge();
      break;
    }
  }
  // Looked at when it was due, and again when the device had not left a second before.
  const left = async () => {
    const { done, waiting, delayed, running } = (await client.queues.get("notification-sinks")).counts!;
    return done === 0n ? undefined : waiting + delayed + running;
  };
  await expect.poll(left).toBe(0n);
  expect(posts("/pager")).toHaveLength(told);
});
