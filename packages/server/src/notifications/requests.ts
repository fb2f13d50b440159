// What requests about notifications may say: everything is checked here, once, and trusted inside.
import {
  BacklogOrder,
  type ListNotificationsRequest,
  type SetStateRequest,
  type SubscriptionRequest,
} from "@sluice/api";
import { type FieldViolation, InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { matchesGlob } from "../stream/glob.ts";
import type { StateCommand, Through } from "./contract.ts";
import { PRIORITIES } from "./cursor.ts";

/** Which notifications of an inbox. */
export interface Selection {
  /** The lowest priority that is wanted. */
  readonly priorityMin: number;
  /** undefined: all types. */
  readonly matchesType: ((type: string) => boolean) | undefined;
}

/** What a device is ready to take, see sluice.stream.v1.Flow. */
export interface CheckedFlow {
  readonly seen: number;
  readonly window: number;
  readonly windowBytes: number;
}

export interface SubscriptionQuery extends Selection {
  readonly userId: string;
  /** "": nothing is remembered of it. */
  readonly deviceId: string;
  readonly resumeAfter: Through | undefined;
  readonly onlyNew: boolean;
  readonly order: "arrival" | "priority";
  /** 0: none. */
  readonly heartbeatMs: number;
  readonly hasControls: boolean;
  /** undefined: no limit but that of the connection. */
  readonly flow: CheckedFlow | undefined;
}

export interface InboxQuery extends Selection {
  readonly userId: string;
  readonly unreadOnly: boolean;
  readonly includeArchived: boolean;
  /** Empty: of all, and what came by none. */
  readonly topics: readonly string[];
  readonly pageSize: number;
  /** The page token: what was delivered before this sequence. */
  readonly before: number | undefined;
}

const ORDERS = new Set<number>(Object.values(BacklogOrder));
const DEFAULT_HEARTBEAT_MS = 30_000;
const HEARTBEAT_MS_MIN = 100;
const LIST_SIZE_DEFAULT = 100;
const LIST_SIZE_MAX = 1000;
/** Ids are sequences: whole numbers without leading zeros that a double holds. */
const ID = /^[1-9]\d{0,15}$/;
/** A name is shown to people. */
const CONTROL_CHARACTER = /\p{Cc}/u;

/** @throws InvalidRequest with all that is wrong */
export function parseSubscription(
  request: SubscriptionRequest,
  options: { readonly limits: Limits; readonly isVersioned: boolean; readonly position: ReadPosition },
): SubscriptionQuery {
  const { limits, isVersioned, position } = options;
  const violations: FieldViolation[] = [];
  const { userId, deviceId, heartbeatMs = DEFAULT_HEARTBEAT_MS, order, resumeAfter, flow } = request;
  checkName(userId, { field: "user_id", limits, violations });
  if (deviceId !== "") checkName(deviceId, { field: "device_id", limits, violations });
  if (heartbeatMs !== 0 && heartbeatMs < HEARTBEAT_MS_MIN) {
    const description = `${heartbeatMs} is neither 0 nor at least ${HEARTBEAT_MS_MIN}`;
    violations.push({ field: "heartbeat_ms", description });
  }
  if (!ORDERS.has(order)) violations.push({ field: "order", description: `${order} is no order` });
  const selection = parseSelection(request, limits, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_SUBSCRIPTION", violations);
  return {
    ...selection,
    userId,
    deviceId,
    resumeAfter: resumeAfter === "" ? undefined : position(resumeAfter, userId, "resume_after"),
    onlyNew: request.onlyNew,
    order: order === BacklogOrder.PRIORITY ? "priority" : "arrival",
    heartbeatMs,
    hasControls: isVersioned || request.controlFrames,
    flow: flow && parseFlow(flow),
  };
}

export function parseFlow(flow: {
  readonly seen: bigint;
  readonly window: number;
  readonly windowBytes: bigint;
}): CheckedFlow {
  return { seen: Number(flow.seen), window: flow.window, windowBytes: Number(flow.windowBytes) };
}

/** @throws InvalidRequest with all that is wrong */
export function parseList(
  request: ListNotificationsRequest,
  { limits, position }: { readonly limits: Limits; readonly position: ReadPosition },
): InboxQuery {
  const violations: FieldViolation[] = [];
  const { userId, topics, pageSize, pageToken, unreadOnly, includeArchived } = request;
  checkName(userId, { field: "user_id", limits, violations });
  for (const [i, topic] of topics.entries()) checkName(topic, { field: `topics[${i}]`, limits, violations });
  if (topics.length > limits.topicsPerUserMax) {
    violations.push({ field: "topics", description: `${topics.length} are more than ${limits.topicsPerUserMax}` });
  }
  const selection = parseSelection(request, limits, violations);
  if (violations.length > 0) throw new InvalidRequest("BAD_LIST", violations);
  return {
    ...selection,
    userId,
    unreadOnly,
    includeArchived,
    topics,
    pageSize: parsePageSize(pageSize, { byDefault: LIST_SIZE_DEFAULT, max: LIST_SIZE_MAX }),
    before: pageToken === "" ? undefined : position(pageToken, userId, "page_token")[0],
  };
}

/** What is behind a cursor of this user. @throws InvalidRequest; SluiceError when there is no such place any more, or yet */
export type ReadPosition = (cursor: string, user: string, field: string) => Through;

/** @throws InvalidRequest with all that is wrong, what `position` throws, LimitExceeded for too many ids */
export function parseStateChange(
  request: SetStateRequest,
  { limits, position }: { readonly limits: Limits; readonly position: ReadPosition },
): StateCommand {
  const violations: FieldViolation[] = [];
  const { userId, throughCursor, requestId, ifRevision, snoozedUntil } = request;
  checkName(userId, { field: "user_id", limits, violations });
  if (requestId !== "") checkName(requestId, { field: "request_id", limits, violations });
  if (request.ids.length > 0 === (throughCursor !== "")) {
    violations.push({ field: "ids", description: "name either ids or through_cursor" });
  }
  const { seen, read, archived } = request;
  if (seen === undefined && read === undefined && archived === undefined && snoozedUntil === undefined) {
    violations.push({ field: "seen", description: "say one of seen, read, archived and snoozed_until" });
  }
  if (snoozedUntil !== undefined && snoozedUntil < 0n) {
    violations.push({ field: "snoozed_until", description: `${snoozedUntil} is no Unix time in ns` });
  }
  if (throughCursor !== "") {
    // Only forward: what "unread" means for what somebody else reads meanwhile, nobody could say.
    for (const [field, value] of Object.entries({ seen, read, archived })) {
      if (value === false) violations.push({ field, description: "can be taken back by ids only" });
    }
    if (snoozedUntil !== undefined) violations.push({ field: "snoozed_until", description: "snooze by ids" });
  }
  if (ifRevision !== undefined && request.ids.length !== 1) {
    violations.push({ field: "if_revision", description: "goes with one id" });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_STATE", violations);
  return {
    userId,
    ids: parseIds(request.ids, limits),
    requestId,
    ...(throughCursor === "" ? {} : { through: position(throughCursor, userId, "through_cursor") }),
    ...(seen === undefined ? {} : { seen }),
    ...(read === undefined ? {} : { read }),
    ...(archived === undefined ? {} : { archived }),
    ...(snoozedUntil === undefined ? {} : { snoozedUntilMs: msOf(snoozedUntil) }),
    ...(ifRevision === undefined ? {} : { ifRevision: Number(ifRevision) }),
  };
}

/** Unix ms of Unix ns, rounded up, so that nothing is early. */
function msOf(ns: bigint): number {
  return Number((ns + 999_999n) / 1_000_000n);
}

/** The numbers behind ids. What never was an id is left to the inbox to not find: 0 is nobody's. @throws LimitExceeded */
export function parseIds(ids: readonly string[], limits: Limits): number[] {
  if (ids.length > limits.notificationBatchMax) {
    const text = `Cannot take a request with ${ids.length} ids: the limit is ${limits.notificationBatchMax}`;
    throw new LimitExceeded(text, "ids of a request");
  }
  return ids.map(numberOfId);
}

/** The number behind an id; 0: it is none. */
function numberOfId(id: string): number {
  const number = ID.test(id) ? Number(id) : 0;
  return Number.isSafeInteger(number) ? number : 0;
}

/** @throws InvalidRequest */
export function parseUser(userId: string, limits: Limits): string {
  return parseName(userId, "user_id", limits);
}

/** The name of a user, a topic or a device. @throws InvalidRequest */
export function parseName(name: string, field: string, limits: Limits): string {
  const violations: FieldViolation[] = [];
  checkName(name, { field, limits, violations });
  if (violations.length > 0) throw new InvalidRequest("BAD_NAME", violations);
  return name;
}

/** Topics to join or to leave. @throws InvalidRequest */
export function parseTopics(topics: readonly string[], limits: Limits): readonly string[] {
  const violations: FieldViolation[] = [];
  if (topics.length === 0) violations.push({ field: "topics", description: "is empty" });
  if (topics.length > limits.topicsPerUserMax) {
    violations.push({ field: "topics", description: `${topics.length} are more than ${limits.topicsPerUserMax}` });
  } else {
    for (const [i, topic] of topics.entries()) checkName(topic, { field: `topics[${i}]`, limits, violations });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_NAME", violations);
  return [...new Set(topics)];
}

/** How many rows an answer has. @throws InvalidRequest */
export function parsePageSize(size: number, { byDefault, max }: { readonly byDefault: number; readonly max: number }) {
  if (size >= 0 && size <= max) return size === 0 ? byDefault : size;
  throw bad("page_size", `${size} is not from 0 (${byDefault}) to ${max}`);
}

export interface NameCheck {
  readonly field: string;
  readonly limits: Limits;
  readonly violations: FieldViolation[];
}

/** Names are any text that people can read; only their length is bounded. */
export function checkName(name: string, { field, limits, violations }: NameCheck): void {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0) violations.push({ field, description: "is empty" });
  else if (bytes > limits.notificationNameBytesMax) {
    violations.push({ field, description: `has ${bytes} bytes, the limit is ${limits.notificationNameBytesMax}` });
  } else if (CONTROL_CHARACTER.test(name)) violations.push({ field, description: "has a control character" });
}

export function checkPriority(priority: number, field: string, violations: FieldViolation[]): void {
  if (priority >= 0 && priority < PRIORITIES) return;
  violations.push({ field, description: `${priority} is not from 0 to ${PRIORITIES - 1}` });
}

function parseSelection(
  { eventTypes, priorityLevel }: { readonly eventTypes: readonly string[]; readonly priorityLevel: number },
  limits: Limits,
  violations: FieldViolation[],
): Selection {
  checkPriority(priorityLevel, "priority_level", violations);
  if (eventTypes.length > limits.filtersMax) {
    violations.push({ field: "event_types", description: `${eventTypes.length} are more than ${limits.filtersMax}` });
  }
  for (const [i, pattern] of eventTypes.entries()) {
    const bytes = Buffer.byteLength(pattern);
    if (bytes >= 1 && bytes <= limits.filterBytesMax) continue;
    violations.push({ field: `event_types[${i}]`, description: `has not 1 to ${limits.filterBytesMax} bytes` });
  }
  const wantsAll = eventTypes.length === 0 || eventTypes.includes("*");
  return {
    priorityMin: priorityLevel,
    matchesType: wantsAll ? undefined : (type) => eventTypes.some((pattern) => matchesGlob(pattern, type)),
  };
}

/** One field is wrong. */
export function bad(field: string, description: string): InvalidRequest {
  return new InvalidRequest("BAD_FIELD", [{ field, description }]);
}
