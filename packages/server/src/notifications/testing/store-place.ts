// A folder of its own for a store of notifications, that a test opens, closes and opens again, with a clock of its own; and what
// tests ask of a store again and again.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "@sluice/rpc/testing";
import type { JournalOptions } from "../../journal/options.ts";
import { DEFAULT_LIMITS } from "../../limits.ts";
import type { FileSystem } from "../../store/file-system.ts";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import type { InboxEvent, InboxReader, PublishDraft, PublishVerdict } from "../contract.ts";
import { openNotificationStore, type OpenNotificationStore } from "../store.ts";
import type { StoreLimits } from "../store-options.ts";

const KIB = 1024;
/** Segments of a few notifications. */
export const SMALL_JOURNAL: Partial<JournalOptions> = {
  segmentBytes: 4 * KIB,
  groupBytesMax: KIB,
  tailBytes: 2 * KIB,
  historyBytesMax: 8 * KIB,
  openFilesMax: 4,
  cleanBytesPerSecond: Number.POSITIVE_INFINITY,
};

export class StorePlace implements AsyncDisposable {
  readonly folder: string;
  readonly clock = new ManualClock();
  readonly faults: string[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<StorePlace> {
    return new StorePlace(await mkdtemp(join(tmpdir(), "sluice-notifications-")));
  }

  open(
    options: {
      readonly limits?: Partial<StoreLimits>;
      readonly journal?: Partial<JournalOptions>;
      readonly fileSystem?: FileSystem;
      readonly checkpointRecords?: number;
      /** Another one than its own. */
      readonly folder?: string;
    } = {},
  ): Promise<OpenNotificationStore> {
    const { checkpointRecords } = options;
    return openNotificationStore({
      folder: options.folder ?? `${this.folder}/notifications`,
      fileSystem: options.fileSystem ?? nodeFileSystem,
      clock: this.clock,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      random: () => 0.5,
      options: options.journal ?? SMALL_JOURNAL,
      ...(checkpointRecords === undefined ? {} : { checkpointRecords }),
      onFault: (text) => this.faults.push(text),
    });
  }

  get nowMs(): number {
    return Number(this.clock.nowNs() / 1_000_000n);
  }

  /** Time goes by, and what was due then is in effect. */
  async pass(store: OpenNotificationStore, ms: number): Promise<void> {
    await this.clock.advanceInTurns(ms);
    await settled(store);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true });
    if (this.clock.timers > 0) throw new Error(`${this.clock.timers} timers were left`);
  }
}

/** What the store does by itself has been done: its records are in effect, and nothing follows from them. */
export async function settled(store: OpenNotificationStore): Promise<void> {
  for (let quiet = 0, head = -1; quiet < 2;) {
    await turn();
    // Its record is behind all that the store has asked for by now.
    await store.changeTopics("settled", {});
    quiet = store.head === head + 1 ? quiet + 1 : 0;
    head = store.head;
  }
}

export function draft(changes: Partial<PublishDraft> = {}): PublishDraft {
  return {
    userIds: [],
    topics: [],
    everyone: false,
    type: "order.shipped",
    title: "A title",
    message: "A message",
    priority: 0,
    metadata: {},
    idempotencyKey: "",
    ttlMs: 0,
    collapseKey: "",
    deliverAt: 0n,
    actionUrl: "",
    ...changes,
  };
}

/** Publishes to users, and answers the id. */
export async function publishTo(
  store: OpenNotificationStore,
  userId: string,
  changes: Partial<PublishDraft> = {},
): Promise<number> {
  return publish(store, { userIds: [userId], ...changes });
}

export async function publish(store: OpenNotificationStore, changes: Partial<PublishDraft>): Promise<number> {
  const [verdict] = await store.publish([draft(changes)]);
  return idOf(verdict);
}

export function idOf(verdict: PublishVerdict | undefined): number {
  if (verdict?.kind !== "published") throw new Error(`it was not published: ${JSON.stringify(verdict)}`);
  return verdict.id;
}

/** All that a reader has now. */
export function readAll(reader: InboxReader): InboxEvent[] {
  const events: InboxEvent[] = [];
  for (let event = reader.next(); event !== undefined; event = reader.next()) events.push(event);
  return events;
}

/** Ids of the items among events, in their order. */
export function idsOf(events: readonly InboxEvent[]): number[] {
  return events.flatMap((event) => (event.kind === "item" ? [event.item.id] : []));
}

/** Nobody who listens. */
export const DEAF = { changed: () => undefined, ended: () => undefined };
