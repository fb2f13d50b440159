// A store that begins with its checkpoint is the one that reads all of its journal, and the one that went on.
import { cp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import type { NotificationStore } from "./contract.ts";
import type { OpenMode } from "../store/file-system.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import type { OpenNotificationStore } from "./store.ts";
import { command, InboxLife, SHARED_MAX } from "./testing/inbox-life.ts";
import { DEAF, publish, publishTo, readAll, settled, SMALL_JOURNAL, StorePlace } from "./testing/store-place.ts";

const MIB = 1024 * 1024;
const USERS = ["ann", "bob", "eve", "founder", "settled"];

/** All that anybody can see of a store. */
function seen(store: NotificationStore) {
  const { users, topics, items, sharedItems, delayed, liveBytes } = store.statistics;
  const inboxes = USERS.map((name) => {
    if (!store.hasUser(name)) return undefined;
    const from = Array.from({ length: 8 }, () => 0);
    const reader = store.openReader(name, { from }, DEAF);
    const events = readAll(reader);
    reader.close();
    const unread = store.openReader(name, { from: "unread", byPriority: true }, DEAF);
    const waiting = readAll(unread);
    unread.close();
    const { items: listed } = store.list(name, { max: 1000, includeArchived: true });
    return {
      listed,
      events,
      waiting,
      counts: store.counts(name),
      devices: store.devices(name),
      policy: store.policy(name),
      topics: store.topics(name, { after: "", max: 100 }),
    };
  });
  const all = store.topics("", { after: "", max: 100 });
  return { head: store.head, epoch: store.epoch, users, topics, items, sharedItems, delayed, liveBytes, inboxes, all };
}

/** What a start on a copy of the folder sees, from the checkpoint or without it. */
async function seenAgain(
  place: StorePlace,
  from: "checkpoint" | "journal",
  options: Parameters<StorePlace["open"]>[0],
) {
  const folder = `${place.folder}/copy`;
  await cp(`${place.folder}/notifications`, folder, { recursive: true, filter: (path) => !path.endsWith(".part") });
  if (from === "journal") await rm(`${folder}/CHECKPOINT`, { force: true });
  try {
    const store = await place.open({ ...options, folder });
    try {
      return seen(store);
    } finally {
      await store[Symbol.asyncDispose]();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("a checkpoint and what came behind it is all of the journal", async () => {
  const options = {
    limits: { sharedItemsMax: SHARED_MAX },
    journal: { ...SMALL_JOURNAL, segmentBytes: MIB },
    checkpointRecords: 12,
  };
  let withCheckpoint = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 50 }), async (commands) => {
      await using place = await StorePlace.make();
      const life = new InboxLife(place, options);
      try {
        await life.begin();
        for (const each of commands) await life.run(each);
        await settled(life.store);
        await life.store.cleaned();
        const now = seen(life.store);
        if ((await readdir(`${place.folder}/notifications`)).includes("CHECKPOINT")) withCheckpoint++;
        for (const from of ["checkpoint", "journal"] as const) {
          expect(await seenAgain(place, from, options), from).toEqual(now);
        }
      } finally {
        await life.end();
      }
      expect(place.faults).toEqual([]);
    }),
    { endOnFailure: true, numRuns: Math.ceil(10 * inject("propertyScale")) },
  );
  expect(withCheckpoint).toBeGreaterThan(0);
}, 120_000);

/** A store with a checkpoint, and records behind it. */
async function withCheckpoint(place: StorePlace): Promise<OpenNotificationStore> {
  {
    await using store = await place.open({ journal: {}, checkpointRecords: 8 });
    for (let i = 0; i < 20; i++) await publishTo(store, "ann", { message: `m${i}` });
  }
  const store = await place.open({ journal: {}, checkpointRecords: 1000 });
  for (let i = 20; i < 25; i++) await publishTo(store, "ann", { message: `m${i}` });
  return store;
}

test("a checkpoint that is damaged anywhere is told and not used: the journal says the same", async () => {
  await using place = await StorePlace.make();
  const path = `${place.folder}/notifications/CHECKPOINT`;
  await using store = await withCheckpoint(place);
  const now = seen(store);
  const whole = await readFile(path);
  // Rows that were never taken are most of it: what is in use stands before them, and behind.
  const places = [0, 30, 60, 200, 1000, whole.length >> 1, whole.length - 40, whole.length - 1];
  for (const at of places) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 0x10;
    await writeFile(path, damaged);
    place.faults.length = 0;
    expect(await seenAgain(place, "checkpoint", { journal: {} })).toEqual(now);
    expect(place.faults, `byte ${at}`).toEqual([expect.stringContaining("cannot use the checkpoint")]);
  }
  for (const size of [0, 10, 500, whole.length - 1]) {
    await writeFile(path, whole);
    await truncate(path, size);
    place.faults.length = 0;
    expect(await seenAgain(place, "checkpoint", { journal: {} })).toEqual(now);
    expect(place.faults, `${size} bytes`).toEqual([expect.stringContaining("cannot use the checkpoint")]);
  }
});

test("a checkpoint of another journal is not used", async () => {
  await using place = await StorePlace.make();
  await using other = await StorePlace.make();
  for (const each of [place, other]) {
    await using store = await each.open({ journal: {}, checkpointRecords: 8 });
    for (let i = 0; i < 20; i++) await publishTo(store, each === place ? "ann" : "bob");
  }
  await cp(`${other.folder}/notifications/CHECKPOINT`, `${place.folder}/notifications/CHECKPOINT`);
  await using store = await place.open({ journal: {} });
  expect(place.faults).toEqual([expect.stringContaining("it is of another journal")]);
  expect(store.counts("ann").unread).toBe(20);
  expect(store.hasUser("bob")).toBe(false);
});

test("what was on its way out when a checkpoint was written goes, whether its record got to the disk or not", async () => {
  await using place = await StorePlace.make();
  const options = { journal: {}, limits: { inboxItemsMax: 5 }, checkpointRecords: 10 };
  await using store = await place.open(options);
  for (let i = 0; i < 10; i++)
    await publishTo(store, "ann", { collapseKey: i % 4 === 0 ? "k" : "", ttlMs: i % 3 === 0 ? 60_000 : 0 });
  await settled(store);
  await store.cleaned();
  await place.pass(store, 120_000);
  expect(await seenAgain(place, "checkpoint", options)).toEqual(seen(store));
});

test("a checkpoint is of one moment, whatever happens while it is written", async () => {
  await using place = await StorePlace.make();
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const fileSystem = {
    ...nodeFileSystem,
    open: async (path: string, mode: OpenMode) => {
      const file = await nodeFileSystem.open(path, mode);
      if (!path.endsWith("CHECKPOINT.part")) return file;
      const write = file.write.bind(file);
      let writes = 0;
      // The first one is before that moment, the second one is what was written down in it.
      file.write = async (buffers, position) => {
        if (++writes === 2) {
          reached.resolve();
          await gate.promise;
        }
        await write(buffers, position);
      };
      return file;
    },
  };
  const options = { journal: {}, fileSystem, checkpointRecords: 20 };
  await using store = await place.open(options);
  const through = Array.from({ length: 8 }, () => 10);
  for (const name of ["ann", "bob", "eve"]) {
    await store.changeTopics(name, { join: ["red"] });
    await store.acknowledge(name, "phone", through);
  }
  const shared: number[] = [];
  for (let i = 0; i < 6; i++) shared.push(await publish(store, { topics: ["red"] }));
  const own: number[] = [];
  for (let i = 0; i < 10; i++) own.push(await publish(store, { userIds: ["ann", "bob"] }));
  await reached.promise;
  await store.setState({ userId: "ann", ids: [shared[0]!, own[0]!], read: true, requestId: "" });
  await store.setState({ userId: "bob", ids: [], through: through.map(() => own[4]!), read: true, requestId: "" });
  await store.remove("ann", [shared[1]!, own[1]!]);
  await store.acknowledge(
    "ann",
    "phone",
    through.map(() => own[2]!),
  );
  await store.acknowledge("bob", "tablet", through);
  await store.changeTopics("bob", { leave: ["red"] });
  await store.deleteUser("eve");
  await publish(store, { userIds: ["founder"] });
  await publish(store, { topics: ["red"], userIds: ["ann"] });
  gate.resolve();
  await store.cleaned();
  await settled(store);
  expect(await seenAgain(place, "checkpoint", { journal: {} })).toEqual(seen(store));
  expect(place.faults).toEqual([]);
});

test("a checkpoint that cannot be written is told, and the one before stays", async () => {
  await using place = await StorePlace.make();
  let isFull = false;
  const fileSystem = {
    ...nodeFileSystem,
    open: async (path: string, mode: OpenMode) => {
      if (isFull && path.endsWith("CHECKPOINT.part"))
        throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
      return nodeFileSystem.open(path, mode);
    },
  };
  const options = { journal: {}, fileSystem, checkpointRecords: 8 };
  await using store = await place.open(options);
  for (let i = 0; i < 20; i++) await publishTo(store, "ann");
  await store.cleaned();
  const path = `${place.folder}/notifications/CHECKPOINT`;
  const before = await readFile(path);
  isFull = true;
  for (let i = 0; i < 20; i++) await publishTo(store, "ann");
  await store.cleaned();
  expect(new Set(place.faults)).toEqual(new Set([expect.stringContaining("cannot write a checkpoint")]));
  expect(await readFile(path)).toEqual(before);
  isFull = false;
  expect(await seenAgain(place, "checkpoint", options)).toEqual(seen(store));
});

test("the name of a user who was deleted leaves the checkpoint within a day, too", async () => {
  await using place = await StorePlace.make();
  const path = `${place.folder}/notifications/CHECKPOINT`;
  const options = { journal: {}, checkpointRecords: 8 };
  await using store = await place.open(options);
  for (let i = 0; i < 20; i++) await publishTo(store, "a-name-of-its-own");
  await store.cleaned();
  expect(await readFile(path, "latin1")).toContain("a-name-of-its-own");
  await store.deleteUser("a-name-of-its-own");
  await publishTo(store, "ann");
  await place.pass(store, 24 * 3_600_000);
  await store.cleaned();
  expect(await readFile(path, "latin1")).not.toContain("a-name-of-its-own");
});
