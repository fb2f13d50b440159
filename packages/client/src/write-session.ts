// One WriteLogStream call: sends what waits in a queue, and takes answered entries out of it.
//
// W1. Entries go out in the queue's order, beginning with its first: so the server, which drops what it already has of a
//     producer, ends up with each entry once, however many sessions it took.
// W2. Nothing is sent before the server has said how much it takes. sent <= seen + window, and the bytes beyond `seen` stay within windowBytes, except for one batch when nothing is
//     under way: an entry larger than the window would otherwise never leave.
// W3. An entry leaves the queue when the server answered it, accepted or rejected, and never before.
import { toBinary } from "@bufbuild/protobuf";
import { type Durability, WriteLogStreamRequestSchema, type WriteLogStreamResponse } from "@sluice/api";
import { Code, Frames, frameOf, RpcError } from "@sluice/rpc";
import { abortWith } from "./abort.ts";
import type { EntryQueue } from "./entry-queue.ts";
import { Gate } from "./gate.ts";
import { withRepeated } from "./repeated-field.ts";
import { SilenceAlarm } from "./silence-alarm.ts";
import type { Clock, Timer } from "./time.ts";

/** The one call that a session needs. */
export interface WriteLogStreamCall {
  (requests: AsyncIterable<Frames>, options: { signal: AbortSignal }): AsyncIterable<WriteLogStreamResponse>;
}

export interface SessionPolicy {
  readonly log: string;
  readonly producer: string;
  readonly durability: Durability;
  readonly batchEntriesMax: number;
  readonly batchBytesMax: number;
  /** How long an entry may wait for company, ms. */
  readonly delayMs: number;
  /** A server that answers nothing for so long while something is under way is given up. */
  readonly answerTimeoutMs: number;
}

/** The server's answer to a run of entries, in the producer's sequences. */
export interface Answer {
  /** Everything up to and including this was answered. */
  readonly through: number;
  readonly rejected: readonly { readonly sequence: number; readonly reason: string; readonly text: string }[];
  /** How many the log already had. */
  readonly duplicates: number;
  /** Cursor of the last entry of this call that is durable; empty: none. */
  readonly cursor: string;
}

export interface SessionContext {
  readonly call: WriteLogStreamCall;
  readonly clock: Clock;
  readonly queue: EntryQueue;
  readonly policy: SessionPolicy;
  /** Entries up to this producer's sequence may not wait for company. */
  flushThrough(): number;
  /** No more entries will be written: end when the queue is sent. */
  isEnding(): boolean;
  /** Takes the answered entries out of the queue (W3). */
  onAnswer(answer: Answer): void;
}

export class WriteSession {
  readonly #context: SessionContext;
  /** The producer's sequence of this call's first entry; the counts below are of this call. */
  readonly #base: number;
  readonly #changed = new Gate();
  #sent = 0;
  #acknowledged = 0;
  #seen = 0;
  #window = 0;
  /** 0: no limit. */
  #windowBytes = 0;
  /** Bytes sent beyond `seen`. */
  #unseenBytes = 0;
  /** Bytes sent and not answered. */
  #unansweredBytes = 0;
  #lingering: Timer | undefined;
  #isOverdue = false;
  #isOver = false;
  #alarm: SilenceAlarm | undefined;

  constructor(context: SessionContext) {
    this.#context = context;
    this.#base = context.queue.first;
  }

  /** True when the server answered anything. */
  get hasProgress(): boolean {
    return this.#acknowledged > 0;
  }

  /** Resolves when the call ended well, after `isEnding`. @throws what ended it otherwise. */
  async run(stop: AbortSignal): Promise<void> {
    const { call, clock, policy } = this.#context;
    const attempt = new AbortController();
    const unlink = abortWith(attempt, [stop]);
    this.#alarm = new SilenceAlarm(clock, policy.answerTimeoutMs, () => {
      const text = `The server answered nothing for ${policy.answerTimeoutMs} ms while entries were under way`;
      attempt.abort(new RpcError(Code.UNAVAILABLE, text));
    });
    this.#alarm.listen(); // for the server's first word
    try {
      attempt.signal.throwIfAborted();
      for await (const response of call(this.#requests(), { signal: attempt.signal })) this.#take(response);
      if (!this.#context.isEnding() || this.#context.queue.length > 0) {
        throw new RpcError(Code.UNAVAILABLE, "The server ended the stream while entries were still to come");
      }
    } catch (error) {
      attempt.signal.throwIfAborted(); // the reason says more than the cancellation that it caused
      throw error;
    } finally {
      this.#isOver = true;
      this.#alarm.stop();
      this.#lingering?.cancel();
      this.#changed.open();
      unlink();
      attempt.abort();
    }
  }

  /** An entry was pushed, a flush was asked for, or the end is near. Cheap. */
  nudge(): void {
    if (this.#unsent === 1 || this.#isDue()) this.#changed.open();
    else if (this.#unsent === 0 && this.#context.isEnding()) this.#changed.open();
  }

  get #unsent(): number {
    return this.#context.queue.next - this.#base - this.#sent;
  }

  /** Whether what waits should leave now. */
  #isDue(): boolean {
    const { queue, policy } = this.#context;
    return (
      this.#isOverdue ||
      this.#unsent >= policy.batchEntriesMax ||
      queue.bytes - this.#unansweredBytes >= policy.batchBytesMax ||
      this.#context.flushThrough() >= this.#base + this.#sent ||
      this.#context.isEnding()
    );
  }

  async *#requests(): AsyncGenerator<Frames> {
    while (!this.#isOver) {
      const count = this.#isDue() ? this.#countSendable() : 0;
      if (count > 0) {
        yield this.#send(count);
        continue;
      }
      if (this.#unsent === 0 && this.#context.isEnding()) return;
      if (this.#unsent > 0) this.#linger();
      await this.#changed.wait();
    }
  }

  #linger(): void {
    this.#lingering ??= this.#context.clock.setTimer(() => {
      this.#isOverdue = true;
      this.#changed.open();
    }, this.#context.policy.delayMs);
  }

  /** How many of the waiting entries make the next batch, within the credit (W2). */
  #countSendable(): number {
    const { queue, policy } = this.#context;
    const credit = this.#seen + this.#window - this.#sent;
    const max = Math.min(this.#unsent, policy.batchEntriesMax, credit);
    let bytes = 0;
    for (let count = 0; count < max; count++) {
      bytes += queue.at(this.#base + this.#sent + count).length;
      const isTooLarge = count > 0 && bytes > policy.batchBytesMax;
      const isBeyondCredit = this.#windowBytes > 0 && this.#unseenBytes + bytes > this.#windowBytes;
      const isAlone = count === 0 && this.#unseenBytes === 0;
      if (isTooLarge || (isBeyondCredit && !isAlone)) return count;
    }
    return Math.max(max, 0);
  }

  /** Moves `count` entries from waiting to under way. */
  #send(count: number): Frames {
    const { queue, policy } = this.#context;
    const first = this.#base + this.#sent;
    const entries: Uint8Array[] = [];
    for (let i = 0; i < count; i++) entries.push(queue.at(first + i));
    const bytes = entries.reduce((sum, entry) => sum + entry.length, 0);
    if (this.#sent === this.#acknowledged) this.#alarm?.listen();
    this.#sent += count;
    this.#unseenBytes += bytes;
    this.#unansweredBytes += bytes;
    this.#lingering?.cancel();
    this.#lingering = undefined;
    this.#isOverdue = false;
    return encodeBatch({ ...policy, first, settled: queue.first - 1, isOpening: this.#sent === count }, entries);
  }

  #take(response: WriteLogStreamResponse): void {
    const { queue } = this.#context;
    const acknowledged = Number(response.acknowledged);
    if (acknowledged < this.#acknowledged || acknowledged > this.#sent) {
      const text = `The server acknowledged ${acknowledged} entries of a stream: ${this.#acknowledged} were before, ${this.#sent} were sent`;
      throw new RpcError(Code.INTERNAL, text);
    }
    this.#alarm?.heard();
    if (acknowledged < this.#sent) this.#alarm?.listen();
    this.#takeFlow(response, acknowledged);
    for (let i = this.#acknowledged; i < acknowledged; i++) this.#unansweredBytes -= queue.at(this.#base + i).length;
    const isNews = acknowledged > this.#acknowledged;
    this.#acknowledged = acknowledged;
    if (isNews) {
      this.#context.onAnswer({
        through: this.#base + acknowledged - 1,
        rejected: response.rejected.map(({ index, reason, text }) => ({
          sequence: this.#base + Number(index),
          reason,
          text,
        })),
        duplicates: Number(response.duplicates),
        cursor: response.lastCursor,
      });
    }
    this.#changed.open();
  }

  /** What is answered was seen, whether or not the server says so. */
  #takeFlow(response: WriteLogStreamResponse, acknowledged: number): void {
    const flow = response.flow;
    const seen = Math.max(this.#seen, acknowledged, Math.min(Number(flow?.seen ?? 0n), this.#sent));
    for (let i = this.#seen; i < seen; i++) this.#unseenBytes -= this.#context.queue.at(this.#base + i).length;
    this.#seen = seen;
    if (flow === undefined) return;
    this.#window = flow.window;
    this.#windowBytes = Number(flow.windowBytes);
  }
}

/** Tag of `WriteLogStreamRequest.entries`: field 4, length-delimited. */
const ENTRIES_TAG = 0x22;

/** A request whose entries are encoded already, as one frame. */
function encodeBatch(
  head: { log: string; producer: string; durability: Durability; first: number; settled: number; isOpening: boolean },
  entries: readonly Uint8Array[],
): Frames {
  const opening = toBinary(WriteLogStreamRequestSchema, {
    $typeName: "sluice.logs.v1.WriteLogStreamRequest",
    log: head.isOpening ? head.log : "",
    producer: head.isOpening ? head.producer : "",
    firstProducerSequence: BigInt(head.first),
    settledProducerSequence: BigInt(head.settled),
    entries: [],
    durability: head.durability,
  });
  return new Frames(frameOf(withRepeated(opening, ENTRIES_TAG, entries)));
}
