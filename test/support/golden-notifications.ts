// The notifications that stand in test/fixtures/notifications-format-1: made again from nothing, always with the same bytes.
//
// `node --conditions=sluice-source test/support/golden-notifications.ts FOLDER` writes them. That is for a new version of the
// format, into a new folder: the old one stays, every later version must read it.
import { fromBinary } from "@bufbuild/protobuf";
import { NotificationSchema, RemovalReason } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import type { JournalOwner } from "../../packages/server/src/journal/contract.ts";
import { openJournal } from "../../packages/server/src/journal/journal.ts";
import { DEFAULT_LIMITS } from "../../packages/server/src/limits.ts";
import type { NewNotificationRecord } from "../../packages/server/src/notifications/contract.ts";
import type { AppliedRecord } from "../../packages/server/src/notifications/engine/records.ts";
import { notificationRecords } from "../../packages/server/src/notifications/journal/format.ts";
import { openNotificationStore } from "../../packages/server/src/notifications/store.ts";
import { nodeFileSystem } from "../../packages/server/src/store/file-system-node.ts";

/** 2026-01-01T00:00:00Z. */
const START_NS = 1_767_225_600_000_000_000n;
const HOUR_NS = 3_600_000_000_000n;
const GOLDEN_USERS = ["ann", "bob", "żółw", "carried"];
const TITLES = ["only two teapots left", "Grüße aus Łódź", "🫖 sold", "line one\nline two"];

type Kind = NonNullable<NewNotificationRecord["kind"]>;

/** One record of each kind at least, in an order that could have been. */
function* records(): Generator<Kind> {
  const at = START_NS;
  yield { case: "server", value: { era: 12_345, topics: ["red", "blue"] } };
  for (const userId of ["ann", "bob"]) yield { case: "topics", value: { userId, joined: ["red"], at } };
  yield { case: "touched", value: { userId: "żółw", at } };
  yield { case: "policy", value: { userId: "ann", policy: { maxItems: 100 } } };
  yield { case: "device", value: { userId: "ann", deviceId: "phone", ack: Array.from({ length: 8 }, () => 3n), at } };
  // Records 7 to 46.
  for (let i = 0; i < 40; i++) {
    const notification = {
      type: i % 2 === 0 ? "order.shipped" : "alert",
      title: `${TITLES[i % TITLES.length]!} ${i}`,
      message: i === 13 ? "long ".repeat(300) : "",
      priority: i % 8,
      timestamp: at,
    };
    const userIds = [["ann"], ["ann", "bob"], [], ["żółw"], []][i % 5]!;
    const topics = [[], [], ["red"], ["red", "blue"], []][i % 5]!;
    const deliverAt = i % 7 === 6 ? at + HOUR_NS : 0n;
    yield { case: "published", value: { notification, userIds, topics, everyone: i % 5 === 4, deliverAt, at } };
  }
  yield { case: "topics", value: { userId: "bob", left: ["red"], joined: ["blue"], at } };
  yield { case: "due", value: { id: 13n, at: at + HOUR_NS } };
  yield { case: "due", value: { id: 20n, at: at + HOUR_NS } };
  yield { case: "state", value: { userId: "ann", ids: [7n, 9n, 11n], read: true, at } };
  yield { case: "state", value: { userId: "bob", ids: [8n], archived: true, snoozedUntil: 0n, at } };
  yield { case: "state", value: { userId: "ann", ids: [12n, 14n], snoozedUntil: at + HOUR_NS, at } };
  yield { case: "due", value: { id: 12n, userId: "ann", at: at + HOUR_NS } };
  const through = Array.from({ length: 8 }, (_, priority) => BigInt(10 + 3 * priority));
  yield { case: "state", value: { userId: "bob", through, read: true, at } };
  yield { case: "state", value: { userId: "żółw", ids: [10n], read: true, at } };
  yield { case: "state", value: { userId: "żółw", ids: [10n], read: false, at } };
  const gone = { reason: RemovalReason.DELETED, at };
  yield {
    case: "removed",
    value: { ...gone, userId: "ann", ids: [17n, 19n], priorities: [2, 4], sequences: [17n, 19n] },
  };
  yield { case: "removed", value: { ...gone, topics: ["red"], ids: [24n], priorities: [1], sequences: [24n] } };
  yield { case: "touched", value: { userId: "gone", at } };
  yield { case: "deleted", value: { userId: "gone", at } };
  // Carried forward: one that a user has, one that is shared, and a user.
  const published = { notification: { type: "alert", title: "carried", priority: 3 }, userIds: ["carried"], at };
  const state = { seen: true, read: true, revision: 2n };
  const holders = [{ userId: "carried", state, changed: 5n, sequence: 4n }];
  yield { case: "item", value: { id: 4n, sequence: 4n, published, holders, deliveredAt: at } };
  const memberships = [
    { topic: "blue", since: 1n, until: 40n },
    { topic: "red", since: 30n, until: 0n },
  ];
  const readThrough = Array.from({ length: 8 }, () => 20n);
  const nothing = readThrough.map(() => 0n);
  const marks = { readThrough, seenThrough: readThrough, archivedThrough: nothing };
  yield { case: "user", value: { userId: "carried", since: 12n, memberships, ...marks } };
  yield { case: "server", value: { keys: [{ key: "a key", id: 9n, until: at + HOUR_NS }] } };
}

/** Nothing of it is kept: the records are given, not decided. */
const nobody: JournalOwner<AppliedRecord, NewNotificationRecord> = {
  replay: () => undefined,
  carry: () => [],
  carried: () => undefined,
  liveBytes: Number.MAX_SAFE_INTEGER,
};

/** Writes the notifications into a folder that is not there yet. */
export async function makeGoldenNotifications(folder: string): Promise<void> {
  const journal = await openJournal({
    folder,
    subject: { label: "the golden notifications", code: "GOLDEN", facts: {}, remedy: "make them again" },
    format: notificationRecords,
    fileSystem: nodeFileSystem,
    clock: new ManualClock(),
    owner: nobody,
    options: { segmentBytes: 4096, groupBytesMax: 1024 },
  });
  for (const kind of records()) await journal.durable(journal.append({ kind }));
  await journal[Symbol.asyncDispose]();
}

/** A notification in somebody's inbox, as a line of expected.jsonl. */
export interface GoldenItem {
  readonly user: string;
  readonly id: number;
  readonly sequence: number;
  readonly priority: number;
  readonly title: string;
  readonly seen: boolean;
  readonly read: boolean;
  readonly archived: boolean;
}

/** What the store finds in a folder, inbox by inbox, the oldest first. The folder is opened for it, and changed. */
export async function readGoldenNotifications(folder: string): Promise<GoldenItem[]> {
  await using store = await openNotificationStore({
    folder,
    fileSystem: nodeFileSystem,
    clock: new ManualClock(),
    limits: DEFAULT_LIMITS,
    random: () => 0.5,
    checkpointRecords: 10,
  });
  const found: GoldenItem[] = [];
  for (const user of GOLDEN_USERS) {
    for (const item of store.list(user, { max: 1000, includeArchived: true }).items.toReversed()) {
      const { title } = fromBinary(NotificationSchema, (await store.body(item))!);
      const { id, sequence, priority } = item;
      const { seen, read, archived } = item.state;
      found.push({ user, id, sequence, priority, title, seen, read, archived });
    }
  }
  return found;
}

if (import.meta.main) {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error("Which folder?");
  await makeGoldenNotifications(folder);
}
