// Lives of a store of notifications on a fake disk, ended at any of its operations, and what must be there afterwards: what was
// acknowledged is there, once, with the state that was acknowledged; what was not may be there; counts are exact.
import { setImmediate as turn } from "node:timers/promises";
import { DEFAULT_LIMITS } from "../../packages/server/src/limits.ts";
import type { PublishVerdict } from "../../packages/server/src/notifications/contract.ts";
import { openNotificationStore, type OpenNotificationStore } from "../../packages/server/src/notifications/store.ts";
import { draft } from "../../packages/server/src/notifications/testing/store-place.ts";
import { type Death, Disk, type Outcome, SMALL } from "./queue-disk.ts";

const USERS = ["ann", "bob"];
/** "either": it was asked for, and nobody was told. */
type Known = "there" | "gone" | "either";

/** What is known of one notification in one inbox. */
interface Fact {
  presence: Known;
  read: boolean | "either";
}

class Story {
  /** By user and id. */
  readonly facts = new Map<string, Fact>();
  founded = false;

  fact(user: string, id: number): Fact {
    const key = `${user} ${id}`;
    const known = this.facts.get(key) ?? { presence: "there", read: false };
    this.facts.set(key, known);
    return known;
  }
}

function openStore({ fake, clock }: Disk): Promise<OpenNotificationStore> {
  return openNotificationStore({
    folder: "/data/notifications",
    fileSystem: fake.fileSystem,
    clock,
    limits: DEFAULT_LIMITS,
    random: () => 0.5,
    options: SMALL,
    // Written while it works: some are whole, some are not.
    checkpointRecords: 40,
  });
}

/** Publishes by all routes, reads and deletes, while the journal seals, cleans and drops. Ends early when the store does. */
async function play(disk: Disk, store: OpenNotificationStore, story: Story, rounds: number): Promise<void> {
  let failure: Error | undefined;
  store.onFailure((error) => (failure = error));
  for (let round = 0; round < rounds && failure === undefined && !disk.fake.isDead; round++) {
    try {
      if (!story.founded) {
        for (const user of USERS) await store.changeTopics(user, { join: ["red"] });
        story.founded = true;
      }
      await playRound(store, story, round);
      if (round % 3 === 0) await store.cleaned();
    } catch {
      // Refused, or lost on its way: what was acknowledged stays so.
    }
  }
  if (failure === undefined) await store.cleaned();
}

async function playRound(store: OpenNotificationStore, story: Story, round: number): Promise<void> {
  const message = "m".repeat(20 + ((round * 37) % 90));
  const verdicts = await store.publish([
    draft({ userIds: ["ann"], message, priority: round % 8 }),
    draft({ topics: ["red"], message }),
    draft({ everyone: true, message }),
    draft({ userIds: ["bob"], topics: ["red"], message }),
  ]);
  const ids = verdicts.map(publishedId);
  story.fact("ann", ids[0]!);
  for (const id of ids.slice(1)) for (const user of USERS) story.fact(user, id);
  const read = story.fact("bob", ids[1]!);
  read.read = "either";
  await store.setState({ userId: "bob", ids: [ids[1]!], read: true, requestId: `read ${ids[1]}` });
  read.read = true;
  for (const user of USERS) {
    const gone = [...story.facts]
      .filter(([key, { presence }]) => key.startsWith(user) && presence === "there")
      .slice(0, 3);
    for (const [, fact] of gone) fact.presence = "either";
    const ids = gone.map(([key]) => Number(key.split(" ")[1]));
    const { unknown } = await store.remove(user, ids);
    if (unknown !== undefined) throw new Error(`${user} does not have ${unknown}`);
    for (const [, fact] of gone) fact.presence = "gone";
  }
}

function publishedId(verdict: PublishVerdict): number {
  if (verdict.kind !== "published") throw new Error(verdict.text);
  return verdict.id;
}

function check(store: OpenNotificationStore, story: Story): string[] {
  const violations: string[] = [];
  for (const user of USERS) {
    const { items } = store.list(user, { max: 10_000 });
    const unread = items.filter(({ state }) => !state.read).length;
    const counted = store.counts(user).unread;
    if (counted !== unread) violations.push(`${user} has ${unread} unread ones, ${counted} are counted`);
    const found = new Map(items.map((item) => [item.id, item]));
    if (found.size !== items.length) violations.push(`${user} has something twice`);
    for (const [key, { presence, read }] of story.facts) {
      if (!key.startsWith(user)) continue;
      const item = found.get(Number(key.split(" ")[1]));
      if (presence === "there" && item === undefined) violations.push(`${key} is lost`);
      if (presence === "gone" && item !== undefined) violations.push(`${key} is back`);
      if (item !== undefined && read !== "either" && item.state.read !== read)
        violations.push(`${key} is not as it was read`);
    }
  }
  return violations;
}

/** Every body that is listed can be read. */
async function checkBodies(store: OpenNotificationStore): Promise<string[]> {
  const violations: string[] = [];
  for (const user of USERS) {
    for (const item of store.list(user, { max: 10_000 }).items) {
      const body = await store.body(item);
      if (body === undefined || !Buffer.from(body).includes("mmmmm")) violations.push(`${user} cannot read ${item.id}`);
    }
  }
  return violations;
}

/** A store that works, dies, and is opened again, twice. */
export async function crashNotifications(death: Death, rounds = 14): Promise<Outcome> {
  const disk = new Disk(death);
  const violations: string[] = [];
  const story = new Story();
  await disk.makeFolders("/data");
  disk.arm();
  try {
    const store = await openStore(disk);
    await play(disk, store, story, rounds);
    if (!disk.fake.isDead) await store[Symbol.asyncDispose]();
  } catch (error) {
    if (!disk.fake.isDead && death.fault === undefined) violations.push(`failed: ${String(error)}`);
  }
  disk.end();
  // What the dead process still had in hand.
  await turn();
  disk.clock.forgetTimers();
  const { operations, sites } = disk;
  try {
    const again = await openStore(disk);
    violations.push(...check(again, story), ...(await checkBodies(again)));
    await play(disk, again, story, 4);
    violations.push(...check(again, story));
    await again[Symbol.asyncDispose]();
    const last = await openStore(disk);
    violations.push(...check(last, story), ...(await checkBodies(last)));
    await last[Symbol.asyncDispose]();
    if (disk.clock.timers > 0) violations.push(`${disk.clock.timers} timers were left`);
  } catch (error) {
    violations.push(`cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { violations, operations, sites };
}
