// What a store takes of the disk, and what its answers cost.
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Channel } from "./engine/channel.ts";
import { applyRecord } from "./engine/apply.ts";
import { StateInboxReader } from "./engine/reader.ts";
import { InboxState } from "./engine/state.ts";
import { InboxViews } from "./engine/views.ts";
import { DEAF, draft, idOf, idsOf, readAll, settled, SMALL_JOURNAL, StorePlace } from "./testing/store-place.ts";

const HOUR_MS = 3_600_000;
/** Beside the index of a segment, some 17 KiB, that of small segments would be most of all. */
const SEGMENT_BYTES = 128 * 1024;

async function onDisk(place: StorePlace, text: string): Promise<boolean> {
  const folder = `${place.folder}/notifications`;
  for (const name of await readdir(folder)) {
    if (name.endsWith(".frames") && (await readFile(`${folder}/${name}`)).includes(text)) return true;
  }
  return false;
}

test("space comes back: when most is deleted the journal takes no more than twice what is left", async () => {
  await using place = await StorePlace.make();
  await using store = await place.open({ journal: { ...SMALL_JOURNAL, segmentBytes: SEGMENT_BYTES } });
  const ids: number[] = [];
  for (let round = 0; round < 10; round++) {
    const drafts = Array.from({ length: 500 }, () => draft({ userIds: ["ann"], message: "x".repeat(400) }));
    ids.push(...(await store.publish(drafts)).map(idOf));
  }
  const kept = ids.filter((_, i) => i % 10 === 0);
  const before = store.statistics.diskBytes;
  await store.remove(
    "ann",
    ids.filter((_, i) => i % 10 !== 0),
  );
  await settled(store);
  await store.cleaned();
  const { diskBytes, liveBytes } = store.statistics;
  expect(diskBytes).toBeLessThan(before / 4);
  // Two segments are what is left of nothing.
  expect(diskBytes).toBeLessThanOrEqual(2 * liveBytes + 2 * SEGMENT_BYTES);
  expect(store.list("ann", { max: 1000 }).items.map(({ id }) => id)).toEqual(kept.toReversed());
  for (const id of kept) expect((await store.body(store.find("ann", id)!))?.length).toBeGreaterThan(200);
});

test("what was deleted has left the disk within a day, however little it is; what is alive has not", async () => {
  await using place = await StorePlace.make();
  const secret = "the secret of ann";
  {
    await using store = await place.open({ journal: {} });
    const [gone, stays] = (
      await store.publish([draft({ userIds: ["ann"], message: secret }), draft({ userIds: ["ann"], message: "stays" })])
    ).map(idOf);
    await store.remove("ann", [gone!]);
    expect(store.find("ann", gone!)).toBeUndefined();
    await place.pass(store, 6 * HOUR_MS);
    expect(await onDisk(place, secret)).toBe(true);
    expect(store.find("ann", stays!)).toBeDefined();
  }
  // The time before a restart counts.
  await using again = await place.open({ journal: {} });
  await place.pass(again, 17 * HOUR_MS);
  await again.cleaned();
  await settled(again);
  expect(await onDisk(place, secret)).toBe(false);
  expect(await onDisk(place, "stays")).toBe(true);
  const [item] = again.list("ann", { max: 10 }).items;
  expect(Buffer.from((await again.body(item!))!).includes("stays")).toBe(true);
});

test("with a million broadcasts in history, counts, a list and a subscription take some hundred steps", () => {
  const state = new InboxState();
  state.isReplaying = false;
  const nothing = { kind: { case: "touched" as const, value: { userId: "ann" } }, bodyBytes: 0 };
  applyRecord(state, nothing, 1);
  const million = 1_000_000;
  for (let place = 2; place < million + 2; place++) {
    const value = { notification: { type: "news" }, everyone: true };
    applyRecord(state, { kind: { case: "published", value }, bodyBytes: 100 }, place);
  }
  applyRecord(state, { ...nothing, kind: { case: "touched", value: { userId: "bob" } } }, million + 2);
  const line = state.everyone.lines[0]!;
  const views = new InboxViews(state);
  const ann = state.users.find("ann");
  const stepsOf = (work: () => void): number => {
    const before = line.steps;
    work();
    return line.steps - before;
  };
  expect(stepsOf(() => expect(views.counts(ann).unread).toBe(million))).toBeLessThan(100);
  expect(stepsOf(() => expect(views.counts(state.users.find("bob")).unread).toBe(0))).toBeLessThan(100);
  // A page of 10: some 20 steps for each.
  expect(stepsOf(() => expect(views.list(ann, { max: 10 }).items).toHaveLength(10))).toBeLessThan(600);
  expect(stepsOf(() => expect(views.list(ann, { max: 10, before: 500_000 }).items).toHaveLength(10))).toBeLessThan(600);
  const from = Array.from({ length: 8 }, () => million - 3);
  const subscribe = () => {
    const reader = new StateInboxReader({ state, views, user: ann }, { from }, DEAF);
    expect(idsOf(readAll(reader))).toHaveLength(4);
    reader.close();
  };
  expect(stepsOf(subscribe)).toBeLessThan(1000);
  // All is read: nothing of it is walked through.
  const value = { userId: "ann", through: from.map(() => BigInt(million + 2)), read: true };
  expect(stepsOf(() => applyRecord(state, { kind: { case: "state", value }, bodyBytes: 0 }, million + 3))).toBeLessThan(
    200,
  );
  expect(stepsOf(() => expect(views.counts(ann).unread).toBe(0))).toBeLessThan(100);
});

test("the oldest of a channel go first, whatever their priority, and are not counted twice while they go", () => {
  const channel = new Channel([]);
  const entry = { id: 1, sequence: 1, place: 1, bytes: 10, type: 0, expiresAt: 0, deliveredAt: 0 };
  for (const [i, priority] of [5, 0, 5].entries()) channel.add(priority, { ...entry, id: i + 1, sequence: i + 1 }, "");
  expect(channel.oldest()?.entry.id).toBe(1);
  channel.doom(1, 10);
  expect(channel.oldest()?.entry.id).toBe(2);
  channel.remove(5, 1);
  expect([channel.size, channel.bytes, channel.doomedBytes]).toEqual([2, 20, 0]);
});
