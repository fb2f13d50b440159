// Tells those who are away: webhooks that the configuration names, and browsers by their push service.
//
// S1. What a Publish gives reason to tell is a job of a queue, durable before the Publish is answered. It is due when a user
//     who is away would have been away for long enough.
// S2. A job that is due is looked at anew: nothing is told of what is gone or was seen on some device, nor to somebody who is
//     connected. Who has been away for too short a time, or wants quiet, is looked at again later.
// S3. Everything here may happen twice after a crash. What is told carries the notification's id.
import { fromBinary } from "@bufbuild/protobuf";
import { type Notification, NotificationSchema } from "@sluice/api";
import type { Clock } from "../../store/contract.ts";
import { matchesGlob } from "../../stream/glob.ts";
import type { InboxItem, NotificationStore, PublishDraft, PublishVerdict, WebPushTarget } from "../contract.ts";
import { QuietClock } from "../policy.ts";
import { DONE, type SinkOutcome } from "./outcome.ts";
import { decodeJob, encodeJob, jobId, type SinkJob } from "./sink-job.ts";
import { refuseEndpoint, refuseKeys, sendWebPush, type WebPushSettings } from "./web-push.ts";
import { postWebhook, type Webhook } from "./webhook.ts";

export interface SinkSettings {
  readonly webhooks: readonly (Webhook & {
    /** Globs; none: all. */
    readonly types: readonly string[];
    readonly minPriority: number;
  })[];
  /** undefined: there is none. */
  readonly webPush: WebPushSettings | undefined;
  /** How long none of a user's devices must have been connected. */
  readonly awayMs: number;
}

/** Where work waits: a queue of the server's own. */
export interface SinkQueue {
  /** Resolves when it is durable. An id that it has had is not taken again. */
  add(jobs: readonly { readonly id: string; readonly body: Uint8Array; readonly notBeforeMs: number }[]): Promise<void>;
}

/** What is asked of the store. */
export type SinkStore = Pick<
  NotificationStore,
  "find" | "body" | "devices" | "policy" | "putWebPush" | "webPushDevices"
>;

export interface SinksOptions {
  readonly settings: SinkSettings;
  readonly queue: SinkQueue;
  /** @throws SluiceError "unavailable" while there is none */
  readonly store: () => SinkStore;
  readonly presence: {
    /** Whether one is; undefined: since when none has been, Unix ms, as far as is remembered. */
    awaySinceMs(userId: string): number | "connected" | undefined;
  };
  readonly clock: Clock;
}

/** How long quiet hours are waited for before the next look at the clock. */
const QUIET_STEP_MS = 5 * 60_000;
/** Jobs that one fan-out adds at a time. */
const FAN_OUT_BATCH = 1000;
const NS_PER_MS = 1_000_000n;

export class Sinks {
  readonly #options: SinksOptions;
  readonly #startedMs: number;
  readonly #quiet = new QuietClock();

  constructor(options: SinksOptions) {
    this.#options = options;
    this.#startedMs = nowMs(options.clock);
  }

  /** As `applicationServerKey` of browsers; undefined: there is no web push. */
  get publicKey(): string | undefined {
    return this.#options.settings.webPush?.keys.publicKey;
  }

  /** Why a browser cannot be told there; undefined: it can. */
  refuse(target: WebPushTarget): { readonly field: string; readonly description: string } | undefined {
    const { webPush } = this.#options.settings;
    if (webPush === undefined) {
      return {
        field: "endpoint",
        description: "this server sends nothing to push services: notifications.webPushSubject",
      };
    }
    const endpoint = refuseEndpoint(target.endpoint, webPush.hosts);
    if (endpoint !== undefined) return { field: "endpoint", description: endpoint };
    const keys = refuseKeys(target);
    return keys === undefined ? undefined : { field: keys.startsWith("auth") ? "auth" : "p256dh", description: keys };
  }

  /** S1. Undefined: nobody is to be told. */
  published(drafts: readonly PublishDraft[], verdicts: readonly PublishVerdict[]): Promise<void> | undefined {
    const jobs: { id: string; body: Uint8Array; notBeforeMs: number }[] = [];
    const now = nowMs(this.#options.clock);
    for (const [i, draft] of drafts.entries()) {
      const verdict = verdicts[i];
      if (verdict?.kind !== "published") continue;
      const deliveredMs = Math.max(now, Number(draft.deliverAt / NS_PER_MS));
      const notBeforeMs = deliveredMs + this.#options.settings.awayMs;
      for (const job of this.#jobsOf(draft, verdict.id)) jobs.push(toQueueJob(job, notBeforeMs));
    }
    return jobs.length === 0 ? undefined : this.#options.queue.add(jobs);
  }

  /** Does a job of the queue. @throws what the store or the network say: then it is tried again */
  async handle(body: Uint8Array, signal: AbortSignal): Promise<SinkOutcome> {
    const job = decodeJob(body);
    return job.sink === "fan-out" ? await this.#fanOut(job) : await this.#tell(job, signal);
  }

  *#jobsOf(draft: PublishDraft, id: number): Generator<SinkJob> {
    const { webhooks, webPush } = this.#options.settings;
    for (const userId of draft.userIds) {
      for (const { target, types, minPriority } of webhooks) {
        if (draft.priority < minPriority || !matchesAny(types, draft.type)) continue;
        yield { sink: "webhook", target: target.name, userId, id };
      }
      if (webPush === undefined) continue;
      for (const { deviceId } of this.#options
        .store()
        .webPushDevices({ userIds: [userId], topics: [], everyone: false })) {
        yield { sink: "web-push", deviceId, userId, id };
      }
    }
    if (webPush !== undefined && (draft.everyone || draft.topics.length > 0)) {
      yield { sink: "fan-out", id, topics: draft.topics, everyone: draft.everyone };
    }
  }

  async #fanOut({ id, topics, everyone }: SinkJob & { sink: "fan-out" }): Promise<SinkOutcome> {
    const { store, queue } = this.#options;
    const devices = store().webPushDevices({ userIds: [], topics, everyone });
    let jobs: { id: string; body: Uint8Array; notBeforeMs: number }[] = [];
    for (const { userId, deviceId } of devices) {
      jobs.push(toQueueJob({ sink: "web-push", deviceId, userId, id }, 0));
      if (jobs.length < FAN_OUT_BATCH) continue;
      await queue.add(jobs);
      jobs = [];
    }
    if (jobs.length > 0) await queue.add(jobs);
    return DONE;
  }

  /** S2. */
  async #tell(job: SinkJob & { sink: "webhook" | "web-push" }, signal: AbortSignal): Promise<SinkOutcome> {
    const { store, clock } = this.#options;
    const inbox = store();
    const item = inbox.find(job.userId, job.id);
    if (item === undefined || isSettled(item.state)) return DONE;
    const now = nowMs(clock);
    const laterMs = this.#laterThan(job.userId, item, now);
    if (laterMs === "never") return DONE;
    if (laterMs > now) return await this.#again(job, laterMs);
    const bytes = await inbox.body(item);
    if (bytes === undefined) return DONE;
    const notification = completed(fromBinary(NotificationSchema, bytes), item);
    const context = { nowMs: now, signal };
    return job.sink === "webhook"
      ? await this.#toWebhook(job, notification, context)
      : await this.#toBrowser(job, notification, context);
  }

  /** S2. Unix ms from which on the user may be told; "never": there is a device that hears of it. */
  #laterThan(userId: string, item: InboxItem, now: number): number | "never" {
    const { settings, presence, store } = this.#options;
    const away = presence.awaySinceMs(userId);
    if (away === "connected") return "never";
    const inbox = store();
    const isAcknowledged = inbox.devices(userId).some(({ ack }) => (ack?.[item.priority] ?? 0) >= item.sequence);
    if (isAcknowledged) return "never";
    // Who was connected before this server was started had no time to come back.
    const sinceMs = Math.max(away ?? 0, this.#startedMs, item.deliveredAtMs);
    const { quietHours } = inbox.policy(userId).policy;
    const dueMs = sinceMs + settings.awayMs;
    if (dueMs <= now && this.#quiet.isQuiet(quietHours, now, item.priority)) return now + QUIET_STEP_MS;
    return dueMs;
  }

  /** Not a failure: the same job, at another time. */
  async #again(job: SinkJob, atMs: number): Promise<SinkOutcome> {
    const again = toQueueJob(job, atMs);
    await this.#options.queue.add([{ ...again, id: `${again.id}@${atMs}` }]);
    return DONE;
  }

  async #toWebhook(
    { target: name, userId }: SinkJob & { sink: "webhook" },
    notification: Notification,
    context: { readonly nowMs: number; readonly signal: AbortSignal },
  ): Promise<SinkOutcome> {
    const webhook = this.#options.settings.webhooks.find(({ target }) => target.name === name);
    if (webhook === undefined) return { kind: "rejected", reason: `no webhook is called "${name}" any more` };
    return await postWebhook(webhook, { userId, notification }, context);
  }

  async #toBrowser(
    { userId, deviceId }: SinkJob & { sink: "web-push" },
    notification: Notification,
    context: { readonly nowMs: number; readonly signal: AbortSignal },
  ): Promise<SinkOutcome> {
    const { settings, store } = this.#options;
    const target = store()
      .devices(userId)
      .find((device) => device.deviceId === deviceId)?.webPush;
    if (settings.webPush === undefined || target === undefined) return DONE;
    const outcome = await sendWebPush(settings.webPush, { target, notification }, context);
    if (outcome.kind !== "unsubscribed") return outcome;
    await store().putWebPush(userId, deviceId, undefined);
    return DONE;
  }
}

function toQueueJob(job: SinkJob, notBeforeMs: number) {
  return { id: jobId(job), body: encodeJob(job), notBeforeMs };
}

function isSettled({ seen, read, archived, snoozedUntilMs }: InboxItem["state"]): boolean {
  return seen || read || archived || snoozedUntilMs > 0;
}

/** What is not stored with a notification, as its subscribers have it. */
function completed(notification: Notification, item: InboxItem): Notification {
  return {
    ...notification,
    id: String(item.id),
    topic: item.topic,
    expiresAt: BigInt(item.expiresAtMs) * NS_PER_MS,
    silent: item.silent,
  };
}

function matchesAny(globs: readonly string[], type: string): boolean {
  return globs.length === 0 || globs.some((glob) => matchesGlob(glob, type));
}

function nowMs(clock: Clock): number {
  return Number(clock.nowNs() / NS_PER_MS);
}
