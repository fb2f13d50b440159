// One device's stream: what is in the inbox behind its position, then what comes, and the controls in between.
//
// S1. It holds a position, no notifications: what it is to send is asked for when the transport can take it, and a few bodies
//     that must be read from disk first (READ_AHEAD).
// S2. A cursor that was sent stands behind everything that this stream wants and that comes before it in the order of its
//     reader. So a device that resumes after the last cursor it has seen misses nothing and gets nothing twice.
// S3. Where there is no credit nothing comes but heartbeats: state changes and removals keep their place in the order.
// S4. Counts are told after `sync`, and again after whatever the device could not count itself: it counts one more for
//     each new notification it gets, and nothing else.
// S5. Whatever ends the stream, `close` runs in that turn.
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream, retryDelayMs, type RpcError } from "@sluice/rpc";
import { NotificationSchema } from "@sluice/api";
import { NotFound, SluiceError, StreamInterrupted } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { ControlFrames } from "../stream/control.ts";
import type { Beating, Heartbeats } from "../stream/heartbeat.ts";
import type { InboxEvent, InboxItem, InboxReader, NotificationStore, ReaderListener, Through } from "./contract.ts";
import { formatInboxCursor, positionAt } from "./cursor.ts";
import { FlowCredit } from "./flow-credit.ts";
import { frameOfRemoval, framesOfState, frameOfThrough } from "./inbox-controls.ts";
import { controlFrame, type SharedFrames, typeIn, writeItem } from "./item-frames.ts";
import type { CheckedFlow, SubscriptionQuery } from "./requests.ts";

const controls = new ControlFrames(NotificationSchema.field.control.number);
/** Frames are put together here, and copied out. */
const sink = new ByteSink(64 * 1024);
/** Events whose bodies are read from disk at the same time. */
const READ_AHEAD = 64;

export interface SubscriptionOptions {
  readonly id: string;
  readonly query: SubscriptionQuery;
  readonly store: NotificationStore;
  readonly shared: SharedFrames;
  readonly heartbeats: Heartbeats;
  readonly clock: Clock;
  /** Called once, when the stream has ended. */
  readonly onClose: (subscription: InboxSubscription) => void;
}

/** An event that was taken from the reader, while its body is being read. */
interface Waiting {
  readonly event: InboxEvent;
  /** Behind it. */
  readonly position: Through;
  body: Uint8Array | undefined;
  isReady: boolean;
}

export class InboxSubscription implements FrameSource, Beating, ReaderListener {
  readonly beatEveryMs: number;
  beatDueMs = 0;
  beatPlace = -1;
  readonly #options: SubscriptionOptions;
  /** Of the options, what every notification asks for: ten thousand devices have as many of them, far apart in memory. */
  readonly #hasControls: boolean;
  readonly #store: NotificationStore;
  readonly #shared: SharedFrames;
  readonly #matchesType: SubscriptionQuery["matchesType"];
  readonly #reader: InboxReader;
  readonly #credit: FlowCredit;
  readonly #ahead: Waiting[] = [];
  /** Behind what was sent last. */
  #position: Through;
  #stream: FrameStream | undefined;
  #isOpened = false;
  #isSynced = false;
  /** The reader has nothing, and has not said since that something is new. */
  #isIdle = false;
  #hasStaleCounts = false;
  #isBeatDue = false;
  #isClosed = false;

  /** @throws NotFound when the user is gone */
  constructor(options: SubscriptionOptions) {
    const { query, store, heartbeats } = options;
    const { userId, deviceId, resumeAfter, priorityMin } = query;
    this.#options = options;
    this.#hasControls = query.hasControls;
    this.#store = store;
    this.#shared = options.shared;
    this.#matchesType = query.matchesType;
    this.beatEveryMs = query.heartbeatMs;
    this.#credit = new FlowCredit(query.flow);
    const known = deviceId === "" ? undefined : store.devices(userId).find((device) => device.deviceId === deviceId);
    this.#reader = store.openReader(
      userId,
      {
        from: query.onlyNew ? "new" : (resumeAfter ?? known?.ack ?? "unread"),
        byPriority: query.order === "priority",
        minPriority: priorityMin,
        ...(deviceId === "" ? {} : { deviceId }),
      },
      this,
    );
    this.#position = this.#reader.position;
    if (query.hasControls && query.heartbeatMs > 0) heartbeats.add(this);
  }

  get id(): string {
    return this.#options.id;
  }

  get userId(): string {
    return this.#options.query.userId;
  }

  get deviceId(): string {
    return this.#options.query.deviceId;
  }

  /** @throws RangeError when more was seen than was sent */
  setFlow(flow: CheckedFlow): void {
    this.#credit.set(flow);
    this.#stream?.wake();
  }

  // ReaderListener.

  changed(): void {
    this.#isIdle = false;
    this.#stream?.wake();
  }

  ended(why: "user-deleted" | "device-removed"): void {
    const { userId, deviceId } = this;
    if (this.#isClosed) return;
    const text = `Cannot go on: the device "${deviceId}" was removed; subscribe again, and it is a new one`;
    const error =
      why === "user-deleted"
        ? new NotFound("user", userId, "it was deleted")
        : new SluiceError("aborted", text, { reason: "DEVICE_REMOVED" });
    // In a turn of its own: the store is in the middle of something.
    queueMicrotask(() => this.fail(error));
  }

  beat(): void {
    this.#isBeatDue = true;
    this.#stream?.wake();
  }

  // FrameSource.

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  pull(maxBytes: number): Uint8Array | undefined {
    if (this.#isClosed) return undefined;
    if (!this.#isOpened) {
      this.#isOpened = true;
      const cursor = this.#cursor();
      if (this.#hasControls) return controlFrame({ case: "opened", value: { subscriptionId: this.id, cursor } });
    }
    sink.used = 0;
    const shared = this.#writeEvents(maxBytes);
    if (shared !== undefined) return shared;
    if (sink.used < maxBytes) this.#writeControls();
    return sink.used === 0 ? undefined : Buffer.from(sink.bytes.subarray(0, sink.used));
  }

  farewell(error?: RpcError): StreamInterrupted {
    const retryAfterMs = error === undefined ? undefined : retryDelayMs(error);
    return new StreamInterrupted({ cursor: this.#cursor(), retryAfterMs });
  }

  /** The server stops: the device hears where to go on. */
  interrupt(): void {
    this.fail(this.farewell());
  }

  fail(error: unknown): void {
    const stream = this.#stream;
    this.close();
    stream?.fail(error);
  }

  /** S5. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ahead.length = 0;
    this.#stream = undefined;
    this.#options.heartbeats.remove(this);
    this.#reader.close();
    this.#options.onClose(this);
  }

  #cursor(): string {
    const store = this.#store;
    // Nothing is behind the position that this stream wants: what others got meanwhile need not be looked at again.
    if (this.#isIdle && this.#ahead.length === 0)
      return formatInboxCursor(positionAt(store.epoch, store.head), undefined);
    return formatInboxCursor({ epoch: store.epoch, through: this.#position }, this.userId);
  }

  /** Writes what there is; answers a frame that is sent as it is, if that is the first. */
  #writeEvents(maxBytes: number): Uint8Array | undefined {
    while (sink.used < maxBytes) {
      const waiting = this.#take();
      if (waiting === undefined) return undefined;
      this.#position = waiting.position;
      const { event } = waiting;
      if (event.kind !== "item") {
        this.#writeControl(event, waiting.position);
        continue;
      }
      const shared = this.#writeItem(event.item, waiting.body);
      if (shared === undefined) continue;
      if (sink.used === 0) return shared;
      sink.raw(shared, 0, shared.length);
    }
    return undefined;
  }

  /** Answers a frame of which all readers get the same bytes; others are written. */
  #writeItem(item: InboxItem, body: Uint8Array | undefined): Uint8Array | undefined {
    const store = this.#store;
    const matchesType = this.#matchesType;
    // It went while it was read: its removal follows.
    if (body === undefined) return undefined;
    if (matchesType !== undefined && !matchesType(item.type ?? typeIn(body))) {
      this.#hasStaleCounts = true;
      return undefined;
    }
    // One that comes again, or comes read, is not one more.
    if (item.state.revision > 0) this.#hasStaleCounts = true;
    const known = this.#findShared(item, this.#position);
    if (known !== undefined) {
      this.#credit.send(known.length);
      return known;
    }
    const isSame = isSameForAll(item, this.#position);
    const position = { epoch: store.epoch, through: this.#position };
    const start = sink.used;
    writeItem(sink, item, { body, cursor: formatInboxCursor(position, isSame ? undefined : this.userId) });
    this.#credit.send(sink.used - start);
    if (!isSame) return undefined;
    const frame = Buffer.from(sink.bytes.subarray(start, sink.used));
    sink.used = start;
    this.#shared.add(item.sequence, item.topic, frame);
    return frame;
  }

  /** The frame that other readers have got, if it is this one's, too. */
  #findShared(item: InboxItem, position: Through): Uint8Array | undefined {
    return isSameForAll(item, position) ? this.#shared.find(item.sequence, item.topic) : undefined;
  }

  /** The next event, with its body; undefined: none, or not now. */
  #take(): Waiting | undefined {
    if (this.#ahead.length === 0) {
      const next = this.#read();
      if (next !== undefined) return next;
    }
    this.#readAhead();
    return this.#ahead[0]?.isReady === true ? this.#ahead.shift() : undefined;
  }

  /** The next event from the reader; one whose body has to be read from disk waits ahead. */
  #read(): Waiting | undefined {
    if (this.#isIdle || !this.#credit.allows(this.#ahead.length + 1)) return undefined;
    const event = this.#reader.next();
    if (event === undefined) {
      this.#isIdle = true;
      return undefined;
    }
    const waiting: Waiting = { event, position: this.#reader.position, body: undefined, isReady: true };
    if (event.kind !== "item") return this.#enqueue(waiting);
    // What is new to all was read once, for the first of them.
    const known = this.#findShared(event.item, waiting.position);
    const body = known?.subarray(FRAME_HEADER_BYTES) ?? this.#store.body(event.item);
    if (!(body instanceof Promise)) {
      waiting.body = body;
      return this.#enqueue(waiting);
    }
    waiting.isReady = false;
    this.#ahead.push(waiting);
    body.then(
      (bytes) => {
        waiting.body = bytes;
        waiting.isReady = true;
        this.#stream?.wake();
      },
      (error: unknown) => this.fail(error),
    );
    return undefined;
  }

  /** It is the next one, unless others wait before it. */
  #enqueue(waiting: Waiting): Waiting | undefined {
    if (this.#ahead.length === 0) return waiting;
    this.#ahead.push(waiting);
    return undefined;
  }

  /** Only behind one that waits. */
  #readAhead(): void {
    for (let before = 0; this.#ahead.length > before && this.#ahead.length < READ_AHEAD;) {
      before = this.#ahead.length;
      this.#read();
    }
  }

  #writeControl(event: Exclude<InboxEvent, { kind: "item" }>, through: Through): void {
    if (event.kind === "live") return this.#writeSync();
    this.#hasStaleCounts = true;
    if (!this.#hasControls) return;
    const { epoch } = this.#store;
    const cursorAt = (position: Through): string => formatInboxCursor({ epoch, through: position }, this.userId);
    const cursor = cursorAt(through);
    switch (event.kind) {
      case "state":
        for (const frame of framesOfState(event, cursor)) sink.raw(frame, 0, frame.length);
        return;
      case "through":
        return this.#write(frameOfThrough(event, { throughCursor: cursorAt(event.through), cursor }));
      case "removal":
        return this.#write(frameOfRemoval(event, cursor));
      default:
        return event satisfies never;
    }
  }

  #write(frame: Uint8Array): void {
    sink.raw(frame, 0, frame.length);
  }

  #writeSync(): void {
    this.#isSynced = true;
    if (!this.#hasControls) return;
    this.#writeCounts();
    this.#write(controls.sync(this.#cursor()));
  }

  #writeCounts(): void {
    this.#hasStaleCounts = false;
    const { unread, unreadByPriority } = this.#store.counts(this.userId);
    const value = { unread: BigInt(unread), unreadByPriority: unreadByPriority.map(BigInt) };
    this.#write(controlFrame({ case: "counts", value }));
  }

  #writeControls(): void {
    if (!this.#hasControls) return;
    if (this.#isSynced && this.#hasStaleCounts && this.#isIdle) this.#writeCounts();
    if (!this.#isBeatDue) return;
    this.#isBeatDue = false;
    const { clock } = this.#options;
    const store = this.#store;
    const isCurrent = this.#isIdle && this.#ahead.length === 0;
    const headCursor = formatInboxCursor(positionAt(store.epoch, store.head), undefined);
    const lagEntries = isCurrent ? 0 : Math.max(1, store.head - Math.min(...this.#position));
    this.#write(controls.heartbeat({ headCursor, nowNs: clock.nowNs(), lagEntries }));
  }
}

/** Whether all readers that come to it in this order get the same bytes. */
function isSameForAll({ isShared, silent, state, sequence }: InboxItem, position: Through): boolean {
  if (!isShared || silent || state.revision !== 0) return false;
  for (const through of position) if (through !== sequence) return false;
  return true;
}
