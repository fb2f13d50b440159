// Writes points of metrics: batched, kept until acknowledged, sent again after a lost connection.
//
// MW1. What is written is either in the queue, acknowledged, or told of as rejected.
// MW2. A point that is sent again changes nothing: the server has it already, by its series and its time. So each has its
//      time when it is written, not when it is sent.
// MW3. The queue is bounded: past `bufferBytesMax` `write` makes its caller wait.
// MW4. No more is under way than the server's flow grants, but for a single batch.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type MetricPoint, MetricPointSchema, type WriteMetricsResponse } from "@sluice/api";
import { Code, Frames, frameOf, RpcError } from "@sluice/rpc";
import { abortWith } from "./abort.ts";
import { EntryQueue } from "./entry-queue.ts";
import { Gate } from "./gate.ts";
import { withRepeated } from "./repeated-field.ts";
import type { RetryPolicy } from "./retry.ts";
import { SilenceAlarm } from "./silence-alarm.ts";
import type { Clock, Random } from "./time.ts";
import { runWriteSessions } from "./write-sessions.ts";

/** A point to be written; `timestamp` (Unix ns) is now when absent, `metricType` "gauge". */
export type NewMetricPoint = Pick<
  Exclude<MessageInitShape<typeof MetricPointSchema>, MetricPoint>,
  | "name"
  | "value"
  | "intValue"
  | "timestamp"
  | "startTimestamp"
  | "labels"
  | "metricType"
  | "unit"
  | "description"
  | "stale"
  | "histogram"
  | "exponentialHistogram"
  | "summary"
  | "exemplars"
> & { readonly name: string };

/** A point that the server refused, with its reason (stable, UPPER_SNAKE_CASE) and a sentence. */
export interface RejectedMetricPoint {
  readonly point: MetricPoint;
  readonly reason: string;
  readonly text: string;
}

/** How points are written. */
export interface MetricWriterOptions {
  /** Hears of refused points. Without it a refusal fails the writer: nothing is lost unnoticed. */
  readonly onRejected?: (rejected: RejectedMetricPoint) => void;
  /** So many more points are kept by the server, or were rejected. */
  readonly onAcknowledged?: (points: number) => void;
  /** The connection is lost; what is unacknowledged will be sent again after `retryInMs`. */
  readonly onDisconnected?: (error: unknown, retry: { readonly retryInMs: number; readonly failures: number }) => void;
  /** Bytes kept before `write` makes its caller wait. Default: 4 MiB. */
  readonly bufferBytesMax?: number;
  /** A server that answers nothing for so long is given up and called anew, ms. Default: 30 s. */
  readonly answerTimeoutMs?: number;
  /** Ends the writer at once, without waiting for acknowledgements. */
  readonly signal?: AbortSignal;
  /** Default: goes on for ever, with up to 30 s between attempts. */
  readonly retry?: Partial<RetryPolicy>;
}

/** A writer can do no more. `cause` is why; `unacknowledged` points may or may not be kept by the server. */
export class MetricWriterFailed extends Error {
  override readonly name = "MetricWriterFailed";
  readonly unacknowledged: number;
  constructor(unacknowledged: number, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`Cannot write on, ${unacknowledged} points are unacknowledged: ${why}`, { cause });
    this.unacknowledged = unacknowledged;
  }
}

/** The one call that a writer needs. */
export interface WriteMetricsCall {
  (requests: AsyncIterable<Frames>, options: { readonly signal: AbortSignal }): AsyncIterable<WriteMetricsResponse>;
}

export interface MetricWriterContext {
  readonly call: WriteMetricsCall;
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryPolicy;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
}

const BATCH_POINTS_MAX = 1000;
const BATCH_BYTES_MAX = 256 * 1024;
const BUFFER_BYTES_MAX = 4 * 1024 * 1024;
const ANSWER_TIMEOUT_MS = 30_000;
const READY = Promise.resolve();

/** Writes points: gathers them into batches, and keeps each until the server has it. */
export class MetricWriter implements AsyncDisposable {
  readonly #context: MetricWriterContext;
  readonly #options: MetricWriterOptions;
  readonly #bufferBytesMax: number;
  readonly #queue = new EntryQueue(0);
  readonly #work = new Gate();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #session: Session | undefined;
  /** There while somebody waits for room, or for all to be acknowledged. */
  #changed = Promise.withResolvers<void>();
  #isClosing = false;
  #failure: MetricWriterFailed | undefined;

  constructor(context: MetricWriterContext, options: MetricWriterOptions) {
    this.#context = context;
    this.#options = options;
    this.#bufferBytesMax = options.bufferBytesMax ?? BUFFER_BYTES_MAX;
    this.#running = this.#run();
  }

  /** Resolves when the writer can do no more: it was closed, or it has failed. Never rejects. */
  get ended(): Promise<void> {
    return this.#running;
  }

  /**
   * Takes a point, and resolves as soon as there is room for the next one; it does not wait for the server (see `flush`).
   * @throws MetricWriterFailed
   */
  write(point: NewMetricPoint): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#isClosing) return Promise.reject(new Error("Cannot write to a writer that is closed"));
    const timestamp = point.timestamp ?? this.#context.clock.nowNs(); // MW2
    this.#queue.push(toBinary(MetricPointSchema, create(MetricPointSchema, { ...point, timestamp })));
    this.#nudge();
    return this.#queue.bytes < this.#bufferBytesMax
      ? READY
      : this.#until(() => this.#queue.bytes < this.#bufferBytesMax);
  }

  /** Resolves when everything written so far is acknowledged, or told of as rejected. @throws MetricWriterFailed */
  flush(): Promise<void> {
    const through = this.#queue.next;
    return this.#until(() => this.#queue.first >= through);
  }

  /** Sends the rest, waits until all is acknowledged, and ends. Idempotent. @throws MetricWriterFailed */
  async close(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const unlink = abortWith(this.#stop, [options.signal]);
    this.#isClosing = true;
    this.#nudge();
    await this.#running;
    unlink();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #until(isDone: () => boolean): Promise<void> {
    while (this.#failure === undefined && !isDone()) await this.#changed.promise;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #nudge(): void {
    this.#work.open();
    this.#session?.nudge();
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
      if (!this.#stop.signal.aborted || this.#queue.length > 0) {
        this.#failure = new MetricWriterFailed(this.#queue.length, error);
      }
    } finally {
      this.#change();
    }
  }

  #openSession(): Session {
    return new Session({
      call: this.#context.call,
      clock: this.#context.clock,
      queue: this.#queue,
      answerTimeoutMs: this.#options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
      isClosing: () => this.#isClosing,
      onRejected: (place, { reason, text }) => {
        const { onRejected } = this.#options;
        const point = fromBinary(MetricPointSchema, this.#queue.at(place));
        if (onRejected === undefined)
          throw new Error(`The server rejected a point of "${point.name}" (${reason}): ${text}`);
        onRejected({ point, reason, text });
      },
      onAcknowledged: (before) => {
        const count = before - this.#queue.first;
        this.#queue.dropBefore(before);
        this.#options.onAcknowledged?.(count);
        this.#change();
      },
    });
  }
}

interface SessionContext {
  readonly call: WriteMetricsCall;
  readonly clock: Clock;
  readonly queue: EntryQueue;
  readonly answerTimeoutMs: number;
  readonly isClosing: () => boolean;
  onRejected(place: number, why: { readonly reason: string; readonly text: string }): void;
  /** Everything before this place of the queue is answered. */
  onAcknowledged(before: number): void;
}

/** One WriteMetrics. */
class Session {
  readonly #context: SessionContext;
  /** Place in the queue of this call's first point; the counts below are of this call. */
  readonly #base: number;
  readonly #changed = new Gate();
  readonly #alarm: SilenceAlarm;
  readonly #attempt = new AbortController();
  #sent = 0;
  #acknowledged = 0;
  #seen = 0;
  #window = 0;
  #isOver = false;

  constructor(context: SessionContext) {
    this.#context = context;
    this.#base = context.queue.first;
    this.#alarm = new SilenceAlarm(context.clock, context.answerTimeoutMs, () => {
      const text = `The server answered nothing for ${context.answerTimeoutMs} ms while points were under way`;
      this.#attempt.abort(new RpcError(Code.UNAVAILABLE, text));
    });
  }

  /** True when the server acknowledged anything. */
  get hasProgress(): boolean {
    return this.#acknowledged > 0;
  }

  nudge(): void {
    this.#changed.open();
  }

  /** Resolves when the writer is closing and all is acknowledged. @throws what ended the call otherwise */
  async run(stop: AbortSignal): Promise<void> {
    const { call, queue, isClosing } = this.#context;
    const unlink = abortWith(this.#attempt, [stop]);
    const { signal } = this.#attempt;
    this.#alarm.listen(); // for the server's first word
    try {
      signal.throwIfAborted();
      for await (const response of call(this.#requests(), { signal })) this.#take(response);
      if (!isClosing() || queue.length > 0) {
        throw new RpcError(Code.UNAVAILABLE, "The server ended the stream while points were still to come");
      }
    } catch (error) {
      signal.throwIfAborted(); // the reason says more than the cancellation that it caused
      throw error;
    } finally {
      this.#isOver = true;
      this.#alarm.stop();
      this.#changed.open();
      unlink();
      this.#attempt.abort();
    }
  }

  async *#requests(): AsyncGenerator<Frames> {
    const { queue, isClosing } = this.#context;
    while (!this.#isOver) {
      const waiting = queue.next - this.#base - this.#sent;
      if (waiting > 0 && (this.#sent === this.#seen || this.#sent - this.#seen < this.#window))
        yield this.#batch(waiting);
      else if (waiting === 0 && isClosing()) return;
      else await this.#changed.wait();
    }
  }

  /** MW4. */
  #batch(waiting: number): Frames {
    const { queue } = this.#context;
    const credit = this.#sent === this.#seen ? BATCH_POINTS_MAX : this.#window - (this.#sent - this.#seen);
    const points: Uint8Array[] = [];
    let bytes = 0;
    for (let i = 0; i < Math.min(waiting, BATCH_POINTS_MAX, credit); i++) {
      const point = queue.at(this.#base + this.#sent + i);
      if (i > 0 && bytes + point.length > BATCH_BYTES_MAX) break;
      points.push(point);
      bytes += point.length;
    }
    if (this.#sent === this.#acknowledged) this.#alarm.listen();
    this.#sent += points.length;
    return new Frames(frameOf(withRepeated(NOTHING, POINTS_TAG, points)));
  }

  #take({ acknowledged: through, rejected, flow }: WriteMetricsResponse): void {
    const acknowledged = Math.max(Number(through), this.#acknowledged);
    if (acknowledged > this.#sent) {
      throw new RpcError(Code.INTERNAL, `The server acknowledged ${acknowledged} points of ${this.#sent}`);
    }
    this.#alarm.heard();
    if (acknowledged < this.#sent) this.#alarm.listen();
    for (const each of rejected) this.#context.onRejected(this.#base + Number(each.index), each);
    if (flow !== undefined) this.#window = flow.window;
    this.#seen = Math.max(this.#seen, acknowledged, Math.min(Number(flow?.seen ?? 0n), this.#sent));
    if (acknowledged > this.#acknowledged) {
      this.#acknowledged = acknowledged;
      this.#context.onAcknowledged(this.#base + acknowledged);
    }
    this.#changed.open();
  }
}

/** Tag of `WriteMetricsRequest.points`. */
const POINTS_TAG = (1 << 3) | 2;
const NOTHING = new Uint8Array(0);
