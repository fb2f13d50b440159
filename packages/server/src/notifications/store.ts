// The store of notifications: commands become records of a journal, which are put into effect when they are durable.
//
//   command → judged (publishing.ts, here) → RecordQueue → journal → committed → engine/apply.ts → the command's promise
//   openNotificationStore → checkpoint/load.ts → journal → replay → engine/apply.ts
//   store-reading.ts: what is asked, and written nowhere; checkpoint/checkpoints.ts: so that a start is short
//   upkeep.ts: what is due, expires or must go for want of room, by itself
import type { Place } from "../journal/contract.ts";
import { openJournal, type OpenJournal } from "../journal/journal.ts";
import { DataLoss, LimitExceeded } from "../errors.ts";
import type {
  InboxItem,
  NewNotificationRecord,
  NotificationStore,
  PublishDraft,
  PublishVerdict,
  StateCommand,
  StateVerdict,
  StoreStatistics,
  Through,
  WebPushTarget,
} from "./contract.ts";
import { type Policy, RemovalReason } from "@sluice/api";
import type { AppliedRecord } from "./engine/records.ts";
import { requestKey } from "./engine/apply-states.ts";
import { ItemFlag } from "./engine/direct-items.ts";
import { NONE } from "./engine/rows.ts";
import { serverSnapshot, usersOf } from "./engine/snapshot.ts";
import { type HiddenItem, removeFrom } from "./engine/wanted.ts";
import { notificationRecords } from "./journal/format.ts";
import { Checkpoints } from "./checkpoint/checkpoints.ts";
import { Publishing } from "./publishing.ts";
import type { QueuedRecord } from "./record-queue.ts";
import { checkNewUser, checkTopics } from "./store-bounds.ts";
import { StoreOwner, touchesOf } from "./store-owner.ts";
import { StoreReading } from "./store-reading.ts";
import { type OpenStoreRequest, STORE_JOURNAL_OPTIONS, type StoreLimits } from "./store-options.ts";
import { Upkeep } from "./upkeep.ts";

/**
 * Opens the store, or makes it, with all that is in its journal. @throws DataLoss when a record that had been durable does not
 * prove itself; what the file system says
 */
export async function openNotificationStore(request: OpenStoreRequest): Promise<OpenNotificationStore> {
  const owner = new StoreOwner(request);
  const journal = await openJournal<AppliedRecord, NewNotificationRecord>({
    folder: request.folder,
    subject: {
      label: "the notifications",
      code: "NOTIFICATIONS",
      facts: {},
      remedy: "remove the folder of notifications: all of them are lost",
    },
    format: notificationRecords,
    fileSystem: request.fileSystem,
    clock: request.clock,
    owner,
    options: { ...STORE_JOURNAL_OPTIONS, ...request.options },
    ...(request.space === undefined ? {} : { space: request.space }),
    ...(request.onFault === undefined ? {} : { onFault: request.onFault }),
  });
  const store = new JournalNotificationStore({ request, owner, journal });
  try {
    owner.settle();
    if (owner.state.era === 0) await store.begin();
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
  store.start();
  return store;
}

export interface OpenNotificationStore extends NotificationStore {
  /** Resolves when nothing is being cleaned, and no checkpoint written. */
  cleaned(): Promise<void>;
}

class JournalNotificationStore extends StoreReading implements OpenNotificationStore {
  readonly #owner: StoreOwner;
  readonly #journal: OpenJournal<NewNotificationRecord>;
  readonly #request: OpenStoreRequest;
  readonly #limits: StoreLimits;
  readonly #publishing: Publishing;
  readonly #upkeep: Upkeep;
  readonly #checkpoints: Checkpoints;
  #isWell = true;
  /** Request ids on their way, and what waits for them. */
  readonly #requests = new Map<string, Promise<StateVerdict>>();

  constructor(parts: { request: OpenStoreRequest; owner: StoreOwner; journal: OpenJournal<NewNotificationRecord> }) {
    const { request, owner, journal } = parts;
    const { state } = owner;
    super(state);
    this.#request = request;
    this.#limits = request.limits;
    this.#owner = owner;
    this.#journal = journal;
    this.#publishing = new Publishing(state, request.limits);
    this.#upkeep = new Upkeep({
      state,
      bounds: request.limits,
      clock: request.clock,
      append: ({ record }) => void this.#append({ record, touches: touchesOf(record) }),
      goThrough: (place, beforeMs) => {
        owner.staleThrough = Math.max(owner.staleThrough, place);
        journal.clean();
        this.#checkpoints.renew(beforeMs);
      },
    });
    const { folder, fileSystem, clock, checkpointRecords: records, onFault } = request;
    const checkpoints = {
      sumOf: (place: Place) => journal.sumOf(place),
      staleThrough: () => owner.staleThrough,
      carried: async () => await journal.durable(owner.carriedTo),
    };
    this.#checkpoints = new Checkpoints(
      { folder, fileSystem, clock, state, records, onFault, ...checkpoints },
      owner.recalled,
    );
    owner.onProgress = () => {
      this.#upkeep.wake();
      this.#checkpoints.look();
    };
    journal.onFailure((error) => {
      this.#isWell = false;
      this.#upkeep.close();
      owner.queue.fail(error);
    });
  }

  /** The first record of a new store. */
  async begin(): Promise<void> {
    this.state.era = 1 + Math.floor(this.#request.random() * 0xffff_fffe);
    await this.#write({ record: serverSnapshot(this.state), touches: [""] });
  }

  start(): void {
    this.#upkeep.wake();
    this.#checkpoints.look();
  }

  get statistics(): StoreStatistics {
    const { users, topics, items, sharedCount, delayed, liveBytes } = this.state;
    return {
      users: users.size,
      topics: topics.size,
      items: items.size,
      sharedItems: sharedCount,
      delayed: delayed.size,
      diskBytes: this.#journal.diskBytes,
      liveBytes,
    };
  }

  room(bytes: number): Promise<void> | undefined {
    return this.#journal.room(bytes);
  }

  cleaned(): Promise<void> {
    return Promise.all([this.#journal.cleaned(), this.#checkpoints.rest()]).then(() => undefined);
  }

  async publish(drafts: readonly PublishDraft[]): Promise<readonly PublishVerdict[]> {
    const nowNs = this.#request.clock.nowNs();
    const verdicts: PublishVerdict[] = [];
    let last: Place = 0;
    for (const draft of drafts) {
      const judged = this.#publishing.judge(draft, nowNs);
      if (judged.kind === "refused") verdicts.push(judged.verdict);
      else if (judged.kind === "duplicate") {
        verdicts.push({ kind: "published", id: judged.id, duplicate: true });
        last = Math.max(last, judged.id);
      } else {
        const { accepted } = judged;
        const { record, bodyBytes } = accepted;
        if (verdicts.every(({ kind }) => kind === "refused")) this.#journal.admit(bodyBytes);
        // Those who have it by themselves and not by the topic are changed, too.
        const touches = draft.topics.length > 0 || accepted.newUsers > 0 ? usersOf(record) : [];
        const done = () => this.#publishing.end(accepted);
        const place = this.#append({ record, bodyBytes, touches, done, failed: done });
        this.#publishing.begin(accepted, place);
        verdicts.push({ kind: "published", id: place, duplicate: false });
        last = Math.max(last, place);
      }
    }
    await this.#inEffect(last);
    return verdicts;
  }

  touch(userId: string): Promise<void> | undefined {
    if (this.hasUser(userId)) return undefined;
    return this.#writeOf(userId, { kind: { case: "touched", value: { userId, at: this.#nowNs() } } });
  }

  async setState(command: StateCommand): Promise<StateVerdict> {
    const { userId, ids, requestId, ifRevision, through } = command;
    const key = requestKey(userId, requestId);
    if (requestId !== "") {
      const underway = this.#requests.get(key);
      if (underway !== undefined) return underway;
      const known = this.state.keys.get(key);
      if (known !== undefined && known.untilMs > this.#nowMs()) return { kind: "changed", changed: 0 };
      const { rememberedKeysMax } = this.#limits;
      if (this.state.keys.size + this.#requests.size >= rememberedKeysMax) {
        throw new LimitExceeded(
          `Cannot remember the request id: ${this.state.keys.size} are remembered, the limit is ${rememberedKeysMax}`,
          "request ids",
        );
      }
    }
    const user = this.state.users.find(userId);
    for (const id of through === undefined ? ids : []) {
      const item = user === NONE ? undefined : this.views.find(user, id);
      if (item === undefined) return { kind: "unknown", id };
      const { revision } = item.state;
      if (ifRevision !== undefined && revision !== ifRevision) return { kind: "revision", revision };
    }
    const written = this.#writeState(command);
    if (requestId !== "") {
      this.#requests.set(key, written);
      const forget = () => this.#requests.delete(key);
      written.then(forget, forget);
    }
    return written;
  }

  async changeTopics(
    userId: string,
    change: { readonly join?: readonly string[]; readonly leave?: readonly string[] },
  ): Promise<void> {
    const joined = [...new Set(change.join ?? [])];
    const left = [...new Set(change.leave ?? [])];
    checkTopics(this.state, { userId, joined }, this.#limits);
    const value = { userId, joined, left, at: this.#nowNs() };
    await this.#writeOf(userId, { kind: { case: "topics", value } });
  }

  async remove(userId: string, ids: readonly number[]): Promise<{ readonly unknown: number | undefined }> {
    const { users, items } = this.state;
    const user = users.find(userId);
    const rows: number[] = [];
    const hidden: HiddenItem[] = [];
    for (const id of new Set(ids)) {
      const row = user === NONE ? NONE : users.findById(user, id);
      const shared = user === NONE || row !== NONE ? undefined : this.state.findShared(user, id);
      const isGone = row === NONE ? shared === undefined : items.has(row, ItemFlag.DOOMED);
      if (isGone || this.#hiding.has(`${userId}\0${id}`)) return { unknown: id };
      if (row !== NONE) rows.push(row);
      else hidden.push({ id, priority: shared!.priority, sequence: shared!.entry.sequence });
    }
    if (rows.length + hidden.length === 0) return { unknown: undefined };
    const nowMs = this.#nowMs();
    const wanted = removeFrom(this.state, user, { rows, hidden, reason: RemovalReason.DELETED, nowMs });
    const keys = hidden.map(({ id }) => `${userId}\0${id}`);
    for (const key of keys) this.#hiding.add(key);
    try {
      await this.#write({ record: wanted.record, touches: touchesOf(wanted.record) });
    } catch (error) {
      wanted.withdraw();
      throw error;
    } finally {
      for (const key of keys) this.#hiding.delete(key);
    }
    return { unknown: undefined };
  }

  /** What is shared and on its way out of an inbox: nobody removes it twice. */
  readonly #hiding = new Set<string>();

  async setPolicy(userId: string, policy: Policy | undefined): Promise<void> {
    const value = policy === undefined ? { userId } : { userId, policy };
    await this.#writeOf(userId, { kind: { case: "policy", value } });
  }

  async acknowledge(userId: string, deviceId: string, through: Through): Promise<void> {
    const devices = this.devicesOf(userId);
    const ack = through.map((sequence) => Math.min(sequence, this.head));
    const known = devices?.get(deviceId)?.ack;
    if (known !== undefined && ack.every((sequence, priority) => sequence <= known[priority]!)) return;
    await this.#writeDevice(userId, deviceId, { ack: ack.map(BigInt) });
  }

  async putWebPush(userId: string, deviceId: string, target: WebPushTarget | undefined): Promise<void> {
    const webPush = target ?? { endpoint: "", p256dh: "", auth: "" };
    await this.#writeDevice(userId, deviceId, { webPush });
  }

  async removeDevice(userId: string, deviceId: string): Promise<void> {
    const value = { userId, deviceId, removed: true, at: this.#nowNs() };
    await this.#writeOf(userId, { kind: { case: "device", value } });
  }

  async deleteUser(userId: string): Promise<void> {
    if (!this.hasUser(userId)) return;
    await this.#writeOf(userId, { kind: { case: "deleted", value: { userId, at: this.#nowNs() } } });
  }

  body({ place }: Pick<InboxItem, "place">): Uint8Array | Promise<Uint8Array | undefined> {
    const body = this.#journal.body(place);
    if (!(body instanceof Promise)) return body;
    return body.catch((error: unknown) => {
      // Removed, and its segment dropped meanwhile.
      if (error instanceof DataLoss && place <= this.#owner.carriedThrough) return undefined;
      throw error;
    });
  }

  onFailure(listener: (error: Error) => void): void {
    this.#journal.onFailure(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#upkeep.close();
    await this.#checkpoints.close(this.#isWell);
    await this.#journal[Symbol.asyncDispose]();
  }

  #nowNs(): bigint {
    return this.#request.clock.nowNs();
  }

  #nowMs(): number {
    return Number(this.#nowNs() / 1_000_000n);
  }

  #append(queued: QueuedRecord): Place {
    return this.#owner.queue.append(this.#journal, queued);
  }

  /** Resolves with what it changed, when it is in effect. */
  #write(queued: QueuedRecord): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#append({ ...queued, done: resolve, failed: reject });
    });
  }

  async #writeOf(userId: string, record: NewNotificationRecord): Promise<void> {
    this.#checkNewUser(userId);
    await this.#write({ record, touches: [userId] });
  }

  async #writeState(command: StateCommand): Promise<StateVerdict> {
    const { userId, ids, through, seen, read, archived, snoozedUntilMs, requestId, ifRevision } = command;
    this.#checkNewUser(userId);
    const value = {
      userId,
      ids: through === undefined ? ids.map(BigInt) : [],
      through: (through ?? []).map(BigInt),
      ...(seen === undefined ? {} : { seen }),
      ...(read === undefined ? {} : { read }),
      ...(archived === undefined ? {} : { archived }),
      ...(snoozedUntilMs === undefined ? {} : { snoozedUntil: BigInt(snoozedUntilMs) * 1_000_000n }),
      requestId,
      ...(ifRevision === undefined ? {} : { ifRevision: BigInt(ifRevision) }),
      at: this.#nowNs(),
    };
    const record: NewNotificationRecord = { kind: { case: "state", value } };
    const changed = await this.#write({ record, touches: touchesOf(record) });
    const only = ids[0];
    if (changed > 0 || ifRevision === undefined || only === undefined) return { kind: "changed", changed };
    // Another one was quicker: this one has changed nothing. Or there was nothing to change.
    const revision = this.find(userId, only)?.state.revision ?? 0;
    return revision === ifRevision ? { kind: "changed", changed } : { kind: "revision", revision };
  }

  async #writeDevice(
    userId: string,
    deviceId: string,
    change: { readonly ack?: bigint[]; readonly webPush?: WebPushTarget },
  ): Promise<void> {
    const devices = this.devicesOf(userId);
    if (devices !== undefined && !devices.has(deviceId) && devices.size >= this.#limits.devicesPerUserMax) {
      const [oldest] = [...devices].toSorted(([, a], [, b]) => a.lastSeenMs - b.lastSeenMs);
      await this.removeDevice(userId, oldest![0]);
    }
    const value = { userId, deviceId, ...change, at: this.#nowNs() };
    await this.#writeOf(userId, { kind: { case: "device", value } });
  }

  #checkNewUser(userId: string): void {
    checkNewUser(this.state, userId, { usersMax: this.#limits.usersMax, underway: this.#publishing.newUsers });
  }

  /** Resolves when the record at this place is in effect. */
  async #inEffect(place: Place): Promise<void> {
    // The queue applies what is durable before whoever waits for it hears of it.
    await this.#journal.durable(place);
  }
}
