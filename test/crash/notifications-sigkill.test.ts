// A server killed again and again under load: every publish that was acknowledged is delivered to each device once, in spite of
// the kills, and the counts are those of what was published and read.
//
// More lives: SLUICE_CRASH_ROUNDS=100 npm run crash.
import { connect, type Inbox, type SluiceClient } from "@sluice/client";
import { expect, test } from "vitest";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const LIVES = Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 4);
const USERS = ["ann", "bob", "eve"];
const BATCH = 20;
/** Batches that are acknowledged between two kills, at least. */
const LIFE_BATCHES = 15;

/** Publishes without end; a batch without an answer is published again under the same keys by the SDK. */
class Load {
  /** Titles by user, of what was acknowledged. */
  readonly published = new Map(USERS.map((user) => [user, new Set<string>()]));
  readonly read = new Map(USERS.map((user) => [user, 0]));
  batches = 0;
  isOver = false;
  onBatch: () => void = () => {};

  async run(client: SluiceClient): Promise<void> {
    const patient = { retry: { attemptsMax: Number.POSITIVE_INFINITY, maxMs: 200 }, timeoutMs: 30_000 };
    for (let first = 0; !this.isOver; first += BATCH) {
      const drafts = Array.from({ length: BATCH }, (_, i) => {
        const number = first + i;
        const everyone = number % 10 === 0;
        const user = USERS[number % USERS.length]!;
        return { title: `n${number}`, priority: number % 8, everyone, userIds: everyone ? [] : [user] };
      });
      const outcomes = await client.notifications.publish(drafts, patient);
      for (const [i, { id, error }] of outcomes.entries()) {
        expect([id === "", error]).toEqual([false, ""]);
        const { everyone, userIds, title } = drafts[i]!;
        for (const user of everyone ? USERS : userIds) this.published.get(user)!.add(title);
      }
      // Some of it is read at once. A lost answer is asked for again under the same request id.
      const at = outcomes.findIndex((_, i) => drafts[i]!.userIds.length > 0);
      const user = drafts[at]!.userIds[0]!;
      const changed = await client.notifications.setState(user, [outcomes[at]!.id], { read: true }, patient);
      expect(changed).toBeLessThanOrEqual(1n);
      this.read.set(user, this.read.get(user)! + 1);
      this.batches++;
      this.onBatch();
    }
  }

  async reach(batches: number): Promise<void> {
    while (this.batches < batches) {
      await new Promise<void>((resolve) => {
        this.onBatch = resolve;
      });
    }
  }
}

/** What a device is told, in its order. */
async function follow(inbox: Inbox, titles: string[]): Promise<void> {
  for await (const event of inbox) {
    if (event.kind === "snapshot") titles.push(...event.items.map(({ title }) => title));
    if (event.kind === "notification") titles.push(event.notification.title);
  }
}

test(
  "every acknowledged publish is delivered once to each device, and the counts are exact",
  { timeout: 300_000 },
  async () => {
    await using folder = await openTemporaryFolder("notifications-sigkill");
    let server = await startServer(["--listen", "127.0.0.1:0"], { folder: folder.path });
    const { address } = server;
    const words = ["--listen", address];
    await using client = connect(address);
    const stop = new AbortController();
    const load = new Load();
    // They exist before anything goes to everyone.
    for (const user of USERS) await client.notifications.joinTopics(user, ["all"]);
    const devices = USERS.flatMap((user) => [0, 1].map(() => ({ user, titles: [] as string[] })));
    const retry = { maxMs: 200 };
    const following = devices.map(({ user, titles }) =>
      follow(client.notifications.watchInbox(user, { signal: stop.signal, itemsMax: 1000, retry }), titles),
    );
    const running = load.run(client);
    for (let life = 1; life <= LIVES; life++) {
      await Promise.race([load.reach(life * LIFE_BATCHES), running]);
      server.kill("SIGKILL");
      await server.ended();
      server = await startServer(words, { folder: folder.path });
    }
    load.isOver = true;
    await running;
    for (const { user, titles } of devices) {
      const wanted = [...load.published.get(user)!].toSorted();
      await expect.poll(() => titles.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(wanted.length);
      expect(titles.toSorted()).toEqual(wanted);
    }
    for (const user of USERS) {
      const { unread } = await client.notifications.counts(user);
      expect(unread).toBe(load.published.get(user)!.size - load.read.get(user)!);
    }
    stop.abort();
    await Promise.allSettled(following);
    await server[Symbol.asyncDispose]();
  },
);
