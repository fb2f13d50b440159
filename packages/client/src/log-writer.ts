// Writes entries into a log: batched, kept until acknowledged, sent again after a lost connection, never twice in the log.
//
// L1. Entry n of a writer has the producer's sequence `firstSequence + n`: the server drops what it has of a producer.
// L2. What is written is either in the queue, answered by the server, or told of: rejected, or kept by a failed writer.
// L3. The queue is bounded: past `bufferBytesMax` `write` makes its caller wait, past twice that it refuses.
import { fromBinary } from "@bufbuild/protobuf";
import { Durability, type LogEntry, LogEntrySchema } from "@sluice/api";
import { abortWith } from "./abort.ts";
import { EntryEncoder, type NewLogEntry } from "./encode-entry.ts";
import { EntryQueue } from "./entry-queue.ts";
import { Gate } from "./gate.ts";
import type { RetryPolicy } from "./retry.ts";
import type { Clock, Random } from "./time.ts";
import { type Answer, WriteSession, type WriteLogStreamCall } from "./write-session.ts";
import { runWriteSessions } from "./write-sessions.ts";

/** An entry that the server refused, with its reason (stable, UPPER_SNAKE_CASE) and a sentence. */
export interface RejectedLogEntry {
  readonly entry: LogEntry;
  /** The producer's sequence of the entry. */
  readonly sequence: number;
  readonly reason: string;
  readonly text: string;
}

/** Who writes, where to, and how much may wait. */
export interface LogWriterOptions {
  /** Name of the log; absent: "default". */
  readonly log?: string;
  /**
   * Who writes, unique among all that write to the log. Give one, with `firstSequence`, to go on after a restart without
   * repeating. Default: a random one.
   */
  readonly producer?: string;
  /** The producer's sequence of the first entry, from 1. Default: 1. */
  readonly firstSequence?: number;
  /** Hears of refused entries. Without it a refusal fails the writer: nothing is lost unnoticed. */
  readonly onRejected?: (rejected: RejectedLogEntry) => void;
  /** Everything up to this producer's sequence is durable (or was rejected); `duplicates` of it the log already had. */
  readonly onAcknowledged?: (through: number, answer: { duplicates: number; cursor: string }) => void;
  /** The connection is lost; what is unacknowledged will be sent again after `retryInMs`. */
  readonly onDisconnected?: (error: unknown, retry: { retryInMs: number; failures: number }) => void;
  /** A batch holds at most so many entries (1,000) and, unless one entry alone is larger, bytes (256 KiB). */
  readonly batchEntriesMax?: number;
  readonly batchBytesMax?: number;
  /** How long an entry may wait for others to share its batch, ms. Default: 10. */
  readonly delayMs?: number;
  /** Bytes kept before `write` makes its caller wait. Default: 8 MiB. */
  readonly bufferBytesMax?: number;
  /** An entry must be smaller than this, bytes: what the server takes in one message. Default: 4 MiB less 1 KiB. */
  readonly entryBytesMax?: number;
  /** A server that answers nothing for so long is given up and called anew, ms. Default: 30 s. */
  readonly answerTimeoutMs?: number;
  /** "memory": acknowledged before it is durable, so that a crash of the server may lose it. Default: "disk". */
  readonly durability?: "disk" | "memory";
  /** Ends the writer at once, without waiting for acknowledgements. */
  readonly signal?: AbortSignal;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** A writer can do no more. `cause` is why; `unacknowledged` entries may or may not be in the log. */
export class LogWriterFailed extends Error {
  override readonly name = "LogWriterFailed";
  readonly unacknowledged: number;
  constructor(unacknowledged: number, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`Cannot write on, ${unacknowledged} entries are unacknowledged: ${why}`, { cause });
    this.unacknowledged = unacknowledged;
  }
}

/** A bound of the writer: the entry was not taken. */
export class LogWriterLimit extends Error {
  override readonly name = "LogWriterLimit";
}

export interface LogWriterContext {
  readonly call: WriteLogStreamCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

const DEFAULTS = {
  batchEntriesMax: 1000,
  batchBytesMax: 256 * 1024,
  delayMs: 10,
  bufferBytesMax: 8 * 1024 * 1024,
  entryBytesMax: 4 * 1024 * 1024 - 1024,
  answerTimeoutMs: 30_000,
};
const READY = Promise.resolve();

/** Somebody waits until everything up to `through` is answered. */
interface FlushWaiter extends PromiseWithResolvers<void> {
  readonly through: number;
}

/**
 * Writes entries to a log: gathers them into batches, keeps each until the server has it on disk, and sends again what was
 * cut off, without ever putting one into the log twice.
 */
export class LogWriter implements AsyncDisposable {
  /** The id under which the server knows this writer. */
  readonly producer: string;
  readonly #context: LogWriterContext;
  readonly #options: LogWriterOptions;
  readonly #limits: typeof DEFAULTS;
  readonly #encoder = new EntryEncoder();
  readonly #queue: EntryQueue;
  readonly #stop = new AbortController();
  /** Opened when an entry was pushed or the end is near. */
  readonly #work = new Gate();
  readonly #running: Promise<void>;
  #session: WriteSession | undefined;
  #flushThrough = 0;
  #flushes: FlushWaiter[] = [];
  /** There while writers must wait for room. */
  #room: PromiseWithResolvers<void> | undefined;
  #isClosing = false;
  #failure: LogWriterFailed | undefined;

  constructor(context: LogWriterContext, options: LogWriterOptions) {
    this.#context = context;
    this.#options = options;
    this.#limits = { ...DEFAULTS, ...definedOf(options) };
    this.producer = options.producer ?? Buffer.from(context.random.bytes(16)).toString("hex");
    this.#queue = new EntryQueue(options.firstSequence ?? 1);
    this.#running = this.#run();
  }

  /** The producer's sequence that the next entry gets. */
  get nextSequence(): number {
    return this.#queue.next;
  }

  /** Resolves when the writer can do no more: it was closed, or it has failed. Never rejects. */
  get ended(): Promise<void> {
    return this.#running;
  }

  /** Entries written and not yet answered, oldest first. After a failure: what may not have reached the log. */
  unacknowledged(): LogEntry[] {
    const entries: LogEntry[] = [];
    for (let at = this.#queue.first; at < this.#queue.next; at++) {
      entries.push(fromBinary(LogEntrySchema, this.#queue.at(at)));
    }
    return entries;
  }

  /**
   * Takes an entry, and resolves as soon as there is room for the next one; it does not wait for the server (see
   * `flush`). Later changes of the object have no effect.
   * @throws LogWriterFailed; LogWriterLimit when the entry is too large, or when the caller did not wait for room.
   */
  write(entry: NewLogEntry): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#isClosing) return Promise.reject(new LogWriterLimit("Cannot write to a writer that is closed"));
    const timestamp = entry.timestamp ?? this.#context.clock.nowNs();
    const bytes = this.#encoder.encode(entry, timestamp);
    const { bufferBytesMax, entryBytesMax } = this.#limits;
    if (bytes.length > entryBytesMax) {
      const text = `Cannot write an entry of ${bytes.length} bytes: the limit is ${entryBytesMax}`;
      return Promise.reject(new LogWriterLimit(text));
    }
    if (this.#queue.length > 0 && this.#queue.bytes + bytes.length > 2 * bufferBytesMax) {
      const text = `Cannot keep more than ${2 * bufferBytesMax} bytes of unacknowledged entries: wait for write() to resolve`;
      return Promise.reject(new LogWriterLimit(text));
    }
    this.#queue.push(bytes);
    if (this.#session === undefined) this.#work.open();
    else this.#session.nudge();
    if (this.#queue.bytes < bufferBytesMax) return READY;
    this.#room ??= settled(Promise.withResolvers<void>());
    return this.#room.promise;
  }

  /** Resolves when everything written so far is answered: durable, or told of as rejected. @throws LogWriterFailed */
  flush(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#queue.length === 0) return READY;
    const through = this.#queue.next - 1;
    const waiter = { through, ...settled(Promise.withResolvers<void>()) };
    this.#flushThrough = through;
    this.#flushes.push(waiter);
    this.#session?.nudge();
    return waiter.promise;
  }

  /**
   * Sends the rest, waits until all is answered, and ends. Idempotent.
   * @param options.signal gives up waiting. @throws LogWriterFailed when entries remain unacknowledged.
   */
  async close(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const unlink = abortWith(this.#stop, [options.signal]);
    this.#isClosing = true;
    this.#work.open();
    this.#session?.nudge();
    await this.#running;
    unlink();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Never rejects: a failure is kept for the callers. */
  async #run(): Promise<void> {
    const { clock, random, closed } = this.#context;
    const { signal, onDisconnected } = this.#options;
    try {
      await runWriteSessions({
        clock,
        random,
        policy: { ...this.#context.retry, ...this.#options.retry },
        queue: this.#queue,
        work: this.#work,
        stop: this.#stop,
        signals: [closed, signal],
        isClosing: () => this.#isClosing,
        open: () => this.#openSession(),
        onSession: (session) => void (this.#session = session),
        onDisconnected,
      });
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#stop.abort();
    }
  }

  #openSession(): WriteSession {
    const { call, clock } = this.#context;
    return new WriteSession({
      call,
      clock,
      queue: this.#queue,
      policy: {
        ...this.#limits,
        log: this.#options.log ?? "",
        producer: this.producer,
        durability: this.#options.durability === "memory" ? Durability.MEMORY : Durability.DISK,
      },
      flushThrough: () => this.#flushThrough,
      isEnding: () => this.#isClosing,
      onAnswer: (answer) => this.#onAnswer(answer),
    });
  }

  #onAnswer(answer: Answer): void {
    const rejected = answer.rejected.map((each) => ({
      ...each,
      entry: fromBinary(LogEntrySchema, this.#queue.at(each.sequence)),
    }));
    this.#queue.dropBefore(answer.through + 1);
    for (const each of rejected) {
      const { onRejected } = this.#options;
      if (onRejected === undefined)
        throw new Error(`The server rejected entry ${each.sequence} (${each.reason}): ${each.text}`);
      onRejected(each);
    }
    this.#options.onAcknowledged?.(answer.through, { duplicates: answer.duplicates, cursor: answer.cursor });
    while (this.#flushes[0] !== undefined && this.#flushes[0].through <= answer.through)
      this.#flushes.shift()?.resolve();
    if (this.#queue.bytes >= this.#limits.bufferBytesMax) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  #fail(cause: unknown): void {
    // A writer that is ended with nothing left to say has not failed.
    if (this.#stop.signal.aborted && this.#queue.length === 0) return;
    this.#failure = new LogWriterFailed(this.#queue.length, cause);
    for (const flush of this.#flushes) flush.reject(this.#failure);
    this.#flushes = [];
    this.#room?.reject(this.#failure);
    this.#room = undefined;
  }
}

/** The same, with its rejection heard of: nobody may be waiting, and the next call tells of the failure anyway. */
function settled<T>(resolvers: PromiseWithResolvers<T>): PromiseWithResolvers<T> {
  resolvers.promise.catch(() => undefined);
  return resolvers;
}

/** Options without those that are explicitly undefined, so that they do not hide a default. */
function definedOf(options: LogWriterOptions): Partial<typeof DEFAULTS> {
  return Object.fromEntries(Object.entries(options).filter(([name, value]) => name in DEFAULTS && value !== undefined));
}
