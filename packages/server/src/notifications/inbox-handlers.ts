// The handlers of everything that is not a stream or a Publish: what is in an inbox, topics, policies, devices.
import { create } from "@bufbuild/protobuf";
import { type NotificationService, PolicySchema } from "@sluice/api";
import { type Call, type ServiceHandlers } from "@sluice/rpc";
import { NotFound, SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { type Action, type Authorize, subjectOf } from "../security/authorize.ts";
import type { DeviceView, NotificationStore, StateVerdict, WebPushTarget } from "./contract.ts";
import { formatInboxCursor } from "./cursor.ts";
import { countsMessage, listNotifications } from "./listing.ts";
import { checkPolicy } from "./policy.ts";
import type { Presence } from "./presence.ts";
import type { Sinks } from "./sinks/sinks.ts";
import {
  bad,
  parseIds,
  parseList,
  parseName,
  parsePageSize,
  parseStateChange,
  parseTopics,
  parseUser,
  type ReadPosition,
} from "./requests.ts";

export interface InboxHandlersOptions {
  readonly store: () => NotificationStore;
  readonly authorize: Authorize;
  readonly limits: Limits;
  readonly presence: Presence;
  readonly position: ReadPosition;
  readonly sinks: Pick<Sinks, "publicKey" | "refuse"> | undefined;
}

type Handlers = ServiceHandlers<typeof NotificationService>;

/** What belongs to all users: the default policy, the list of topics. */
export const EVERYONE = "*";
const TOPICS_PAGE = { byDefault: 1000, max: 10_000 };
const ENDPOINT_CHARACTERS_MAX = 2048;
const KEY_CHARACTERS_MAX = 256;

export function createInboxHandlers(options: InboxHandlersOptions): Handlers {
  const { authorize } = options;
  const ask: Ask = (call, action, userId) => authorize(subjectOf(call), action, { type: "inbox", name: userId });
  return { ...itemHandlers(options, ask), ...topicHandlers(options, ask), ...userHandlers(options, ask) };
}

type Ask = (call: Call, action: Action, userId: string) => void;

function itemHandlers({ store, limits, position }: InboxHandlersOptions, ask: Ask): Handlers {
  return {
    async listNotifications(request, call) {
      const query = parseList(request, { limits, position });
      ask(call, "read", query.userId);
      return await listNotifications(store(), query);
    },
    async setState(request, call) {
      const command = parseStateChange(request, { limits, position });
      ask(call, "consume", command.userId);
      const inbox = store();
      const changed = changedOf(await inbox.setState(command), request.ids);
      return { changed: BigInt(changed), counts: countsMessage(inbox, command.userId) };
    },
    getCounts(request, call) {
      const userId = parseUser(request.userId, limits);
      ask(call, "read", userId);
      return { counts: countsMessage(store(), userId) };
    },
    async deleteNotifications(request, call) {
      const userId = parseUser(request.userId, limits);
      if (request.ids.length === 0) throw bad("ids", "is empty");
      const ids = parseIds(request.ids, limits);
      ask(call, "administer", userId);
      const inbox = store();
      const { unknown } = await inbox.remove(userId, ids);
      if (unknown !== undefined) throw noNotification(request.ids[ids.indexOf(unknown)] ?? "");
      return { counts: countsMessage(inbox, userId) };
    },
  };
}

/** @throws NotFound, SluiceError "aborted" */
function changedOf(verdict: StateVerdict, ids: readonly string[]): number {
  switch (verdict.kind) {
    case "changed":
      return verdict.changed;
    case "unknown":
      throw noNotification(
        verdict.id === 0 ? (ids.find((id) => id !== String(Number(id))) ?? "0") : String(verdict.id),
      );
    case "revision": {
      const text = `Cannot set the state of notification ${ids[0]}: it has revision ${verdict.revision} by now; look at it again`;
      const metadata = { revision: String(verdict.revision) };
      throw new SluiceError("aborted", text, { reason: "STALE_REVISION", metadata });
    }
    default:
      return verdict satisfies never;
  }
}

/** One text for what never was, what is gone, and what is another user's. */
function noNotification(id: string): NotFound {
  return new NotFound("notification", id.slice(0, 64), "it is not in this inbox");
}

function topicHandlers({ store, limits, authorize }: InboxHandlersOptions, ask: Ask): Handlers {
  return {
    async subscribeTopics(request, call) {
      const userId = parseUser(request.userId, limits);
      const topics = parseTopics(request.topics, limits);
      ask(call, "administer", userId);
      for (const name of topics) authorize(subjectOf(call), "read", { type: "topic", name });
      await store().changeTopics(userId, { join: topics });
      return {};
    },
    async unsubscribeTopics(request, call) {
      const userId = parseUser(request.userId, limits);
      const topics = parseTopics(request.topics, limits);
      ask(call, "administer", userId);
      await store().changeTopics(userId, { leave: topics });
      return {};
    },
    listTopics({ userId, pageSize, pageToken }, call) {
      if (userId !== "") parseUser(userId, limits);
      const max = parsePageSize(pageSize, TOPICS_PAGE);
      ask(call, "describe", userId === "" ? EVERYONE : userId);
      const after = Buffer.from(pageToken, "base64url").toString();
      const rows = store().topics(userId, { after, max: max + 1 });
      const page = rows.slice(0, max);
      const last = rows.length > max ? page.at(-1)!.name : "";
      const topics = page.map(({ name, members }) => ({ name, members: BigInt(members) }));
      return { topics, nextPageToken: Buffer.from(last).toString("base64url") };
    },
  };
}

function userHandlers({ store, limits, presence, sinks }: InboxHandlersOptions, ask: Ask): Handlers {
  return {
    getPolicy({ userId }, call) {
      if (userId !== "") parseUser(userId, limits);
      ask(call, "describe", userId === "" ? EVERYONE : userId);
      return store().policy(userId);
    },
    async setPolicy({ userId, policy }, call) {
      if (userId !== "") parseUser(userId, limits);
      const checked = policy && checkPolicy(policy, limits);
      ask(call, "administer", userId === "" ? EVERYONE : userId);
      const inbox = store();
      await inbox.setPolicy(userId, checked && create(PolicySchema, checked));
      return { policy: inbox.policy(userId).policy };
    },
    listDevices(request, call) {
      const userId = parseUser(request.userId, limits);
      ask(call, "describe", userId);
      const inbox = store();
      const known = inbox.devices(userId);
      const names = new Set(known.map(({ deviceId }) => deviceId));
      const nameless = presence.connected(userId).filter((name) => name !== "" && !names.has(name));
      const connected = nameless.map((deviceId) => ({ deviceId, ack: undefined, webPush: undefined, lastSeenMs: 0 }));
      return { devices: [...known, ...connected].map((device) => deviceMessage(inbox, { userId, device })) };
    },
    async removeDevice(request, call) {
      const userId = parseUser(request.userId, limits);
      const deviceId = parseName(request.deviceId, "device_id", limits);
      ask(call, "administer", userId);
      await store().removeDevice(userId, deviceId);
      return {};
    },
    async putWebPush({ userId, deviceId, endpoint, p256dh, auth }, call) {
      parseUser(userId, limits);
      parseName(deviceId, "device_id", limits);
      ask(call, "administer", userId);
      if (endpoint !== "") checkPush({ endpoint, p256dh, auth }, sinks);
      await store().putWebPush(userId, deviceId, endpoint === "" ? undefined : { endpoint, p256dh, auth });
      return {};
    },
    getWebPushKey({ userId }, call) {
      parseUser(userId, limits);
      ask(call, "describe", userId);
      const publicKey = sinks?.publicKey;
      if (publicKey === undefined) throw noWebPush();
      return { publicKey };
    },
    async deleteUser(request, call) {
      const userId = parseUser(request.userId, limits);
      ask(call, "administer", userId);
      await store().deleteUser(userId);
      return {};
    },
  };

  function deviceMessage(inbox: NotificationStore, { userId, device }: { userId: string; device: DeviceView }) {
    const { deviceId, ack, webPush, lastSeenMs } = device;
    const connectedSince = presence.connectedSince(userId, deviceId);
    const lastSeen = BigInt(lastSeenMs) * 1_000_000n;
    return {
      deviceId,
      ackCursor: ack === undefined ? "" : formatInboxCursor({ epoch: inbox.epoch, through: ack }, userId),
      lastSeen: connectedSince > lastSeen ? connectedSince : lastSeen,
      connected: connectedSince !== 0n,
      connectedSince,
      hasWebPush: webPush !== undefined,
    };
  }
}

/** @throws InvalidRequest; SluiceError "failed-precondition" when there is no web push */
function checkPush(target: WebPushTarget, sinks: InboxHandlersOptions["sinks"]): void {
  if (sinks?.publicKey === undefined) throw noWebPush();
  const { endpoint, p256dh, auth } = target;
  if (endpoint.length > ENDPOINT_CHARACTERS_MAX)
    throw bad("endpoint", `is longer than ${ENDPOINT_CHARACTERS_MAX} characters`);
  for (const [field, key] of Object.entries({ p256dh, auth })) {
    if (key.length > KEY_CHARACTERS_MAX) throw bad(field, `is longer than ${KEY_CHARACTERS_MAX} characters`);
  }
  const refusal = sinks.refuse(target);
  if (refusal !== undefined) throw bad(refusal.field, refusal.description);
}

function noWebPush(): SluiceError {
  const text = "Cannot use web push: this server sends nothing to push services; set notifications.webPushSubject";
  return new SluiceError("failed-precondition", text, { reason: "NO_WEB_PUSH" });
}
