// Random lives of a store beside a model of one list per user: publishes by all routes, collapses, evictions, expiries, delays,
// snoozes, reads, acknowledgements, joins and leaves, restarts; over devices that come, go, and read as much as they like.
import { create } from "@bufbuild/protobuf";
import { Overflow, PolicySchema } from "@sluice/api";
import fc from "fast-check";
import { expect } from "vitest";
import { InboxModel, type ModelEntry, type ModelPublish } from "./inbox-model.ts";
import { ModelDevice, REMOVAL_NAMES } from "./model-device.ts";
import { draft, settled, StorePlace } from "./store-place.ts";
import type { OpenNotificationStore } from "../store.ts";

const USERS = [
  { name: "ann", maxItems: 3, rejects: false },
  { name: "bob", maxItems: 4, rejects: true },
  { name: "eve", maxItems: 100, rejects: false },
];
const NAMES = USERS.map(({ name }) => name);
const TOPICS = ["blue", "red"];
export const SHARED_MAX = 4;

const user = fc.constantFrom(...NAMES);
const device = fc.nat({ max: 3 });
const pick = fc.nat({ max: 20 });
export const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("publish" as const),
      users: fc.subarray(NAMES),
      topics: fc.subarray(TOPICS),
      everyone: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
      priority: fc.constantFrom(0, 0, 1, 7),
      ttlS: fc.constantFrom(0, 0, 0, 3),
      collapseKey: fc.constantFrom("", "", "k"),
      delayS: fc.constantFrom(0, 0, 0, 2),
      idempotencyKey: fc.constantFrom("", "", "", "once"),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("join" as const, "leave" as const),
      user,
      topic: fc.constantFrom(...TOPICS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("state" as const),
      user,
      pick,
      flag: fc.constantFrom("seen" as const, "read" as const, "archived" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("snooze" as const), user, pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("through" as const),
      user,
      flag: fc.constantFrom("read" as const, "archived" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("delete" as const), user, pick }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("advance" as const), s: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("connect" as const),
      device,
      from: fc.constantFrom("cursor" as const, "acknowledged" as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("read" as const), device, max: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("disconnect" as const, "acknowledge" as const), device }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

export class InboxLife {
  readonly #place: StorePlace;
  readonly #journal: Parameters<StorePlace["open"]>[0];
  readonly model = new InboxModel(SHARED_MAX, USERS);
  devices = ["ann", "ann", "bob", "eve"].map((name, i) => new ModelDevice(name, `device-${i}`));
  #store: OpenNotificationStore | undefined;
  /** So that no two things are due at the same ms. */
  #tick = 0;
  readonly #ids = new Map<string, number>();

  constructor(place: StorePlace, journal: Parameters<StorePlace["open"]>[0]) {
    this.#place = place;
    this.#journal = journal;
  }

  get store(): OpenNotificationStore {
    return this.#store!;
  }

  async begin(): Promise<void> {
    this.#store = await this.#place.open(this.#journal);
    await this.store.changeTopics("founder", { join: TOPICS });
    for (const { name, maxItems, rejects } of USERS) {
      const overflow = rejects ? Overflow.REJECT : Overflow.DROP_OLDEST;
      await this.store.setPolicy(name, create(PolicySchema, { maxItems, overflow }));
    }
  }

  async run(step: Command): Promise<void> {
    const { model, store } = this;
    switch (step.kind) {
      case "publish":
        await this.#publish(step);
        break;
      case "join":
        await store.changeTopics(step.user, { join: [step.topic] });
        model.user(step.user).topics.add(step.topic);
        break;
      case "leave":
        await store.changeTopics(step.user, { leave: [step.topic] });
        model.user(step.user).topics.delete(step.topic);
        break;
      case "state":
        await this.#set(step.user, step.pick, { [step.flag]: true });
        break;
      case "snooze":
        await this.#set(step.user, step.pick, { snoozedUntilMs: this.#dueMs(2) });
        break;
      case "through": {
        const through = Array.from({ length: 8 }, () => store.head);
        const wish = { [step.flag]: true };
        const verdict = await store.setState({ userId: step.user, ids: [], through, requestId: "", ...wish });
        expect(verdict).toEqual({ kind: "changed", changed: model.set(model.user(step.user).entries, wish) });
        break;
      }
      case "delete": {
        const entry = this.#entry(step.user, step.pick);
        if (entry === undefined) break;
        expect(await store.remove(step.user, [entry.id])).toEqual({ unknown: undefined });
        model.delete(step.user, entry.id);
        break;
      }
      case "advance":
        await this.#advance(this.#place.nowMs + step.s * 1000);
        break;
      case "connect":
        this.devices[step.device]!.connect(store, step.from);
        break;
      case "read":
        this.devices[step.device]!.read(step.max);
        break;
      case "disconnect":
        this.devices[step.device]!.disconnect();
        break;
      case "acknowledge":
        await this.devices[step.device]!.acknowledge(store);
        break;
      case "restart":
        await this.restart();
        break;
      default:
        step satisfies never;
    }
    await settled(store === this.store ? store : this.store);
  }

  async restart(): Promise<void> {
    for (const each of this.devices) each.disconnect();
    await this.store.cleaned();
    await this.store[Symbol.asyncDispose]();
    this.#store = await this.#place.open(this.#journal);
    await settled(this.store);
  }

  /** What is in the inboxes, and what devices that have read everything believe. */
  check(how: { readonly areRemovalsTold: boolean }): void {
    for (const { name, entries, removals } of this.model.users.values()) {
      const expected = entries.map(stateOf).toSorted(byId);
      const listed = this.store.list(name, { max: 1000, includeArchived: true }).items;
      expect(listed.map((each) => stateOf({ ...each, ...each.state })).toSorted(byId)).toEqual(expected);
      expect(listed.map(({ sequence }) => sequence)).toEqual(
        listed.map(({ sequence }) => sequence).toSorted((a, b) => b - a),
      );
      expect(this.store.counts(name).unreadByPriority).toEqual(this.model.counts(name));
      for (const each of this.devices.filter((device) => device.user === name)) {
        each.connect(this.store, "cursor");
        each.read();
        expect(each.violations).toEqual([]);
        expect([...each.view].map(([id, state]) => stateOf({ id, ...state })).toSorted(byId)).toEqual(expected);
        const told = REMOVAL_NAMES.map((reason) => removals.filter((other) => other === reason).length);
        if (how.areRemovalsTold) expect(each.told).toEqual(told);
        each.disconnect();
      }
    }
  }

  async end(): Promise<void> {
    for (const each of this.devices) each.disconnect();
    await this.#store?.[Symbol.asyncDispose]();
  }

  /** From one thing that is due to the next, each in effect before time goes on. */
  async #advance(untilMs: number): Promise<void> {
    while (this.#place.nowMs < untilMs) {
      const nextMs = Math.min(untilMs, this.model.nextDueMs ?? untilMs);
      await this.#place.pass(this.store, Math.max(1, nextMs - this.#place.nowMs));
      this.model.advance(this.#place.nowMs);
    }
  }

  #entry(name: string, index: number): ModelEntry | undefined {
    const { entries } = this.model.user(name);
    return entries[index % Math.max(1, entries.length)];
  }

  /** So many seconds from now, and a ms of its own. */
  #dueMs(s: number): number {
    return this.#place.nowMs + s * 1000 - 500 + (this.#tick++ % 400);
  }

  async #set(name: string, index: number, wish: Partial<Pick<ModelEntry, "read" | "snoozedUntilMs">>): Promise<void> {
    const entry = this.#entry(name, index);
    if (entry === undefined) return;
    const verdict = await this.store.setState({ userId: name, ids: [entry.id], requestId: "", ...wish });
    expect(verdict).toEqual({ kind: "changed", changed: this.model.set([entry], wish) });
  }

  async #publish(step: Extract<Command, { kind: "publish" }>): Promise<void> {
    const { users, topics, everyone, priority, collapseKey, idempotencyKey } = step;
    if (users.length === 0 && topics.length === 0 && !everyone) return;
    const deliverAtMs = step.delayS === 0 ? 0 : this.#dueMs(step.delayS);
    const publish: ModelPublish = {
      users,
      topics,
      everyone,
      priority,
      collapseKey,
      ttlMs: step.ttlS * 1000,
      deliverAtMs,
    };
    const [verdict] = await this.store.publish([
      draft({
        userIds: users,
        topics,
        everyone,
        priority,
        collapseKey,
        idempotencyKey,
        ttlMs: publish.ttlMs,
        deliverAt: BigInt(deliverAtMs) * 1_000_000n,
      }),
    ]);
    const known = idempotencyKey === "" ? undefined : this.#ids.get(idempotencyKey);
    if (known !== undefined) {
      expect(verdict).toEqual({ kind: "published", id: known, duplicate: true });
      return;
    }
    if (this.model.refuses(publish)) {
      expect(verdict).toMatchObject({ kind: "refused", reason: "INBOX_FULL" });
      return;
    }
    if (verdict?.kind !== "published") throw new Error(`it was refused: ${verdict?.text}`);
    if (idempotencyKey !== "") this.#ids.set(idempotencyKey, verdict.id);
    this.model.publish(verdict.id, publish, this.#place.nowMs);
  }
}

function stateOf({
  id,
  priority,
  seen,
  read,
  archived,
  snoozedUntilMs,
}: Pick<ModelEntry, "id" | "priority" | "seen" | "read" | "archived" | "snoozedUntilMs">) {
  return { id, priority, seen, read, archived, snoozedUntilMs };
}

function byId(a: { readonly id: number }, b: { readonly id: number }): number {
  return a.id - b.id;
}
