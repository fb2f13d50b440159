// The writers of a history: idempotent producers that send batches without waiting, and send again what has no answer.
import { LimitExceeded } from "../../packages/server/src/errors.ts";
import { ProducerGap } from "../../packages/server/src/logs/ingest.ts";
import type { Log } from "../../packages/server/src/store/log.ts";
import { makeBatch, type TestEntry } from "../../packages/server/src/store/testing/frames.ts";
import type { CrashChecker } from "./crash-checker.ts";
import { nameOf, payloadOf, PRODUCERS, severityOf, type Step, timestampOf } from "./history-steps.ts";

/** What an idempotent producer knows of itself: it outlives the crashes. */
interface Producer {
  readonly id: string;
  acknowledged: number;
  sent: number;
  /** Grows when a batch is refused: those that were sent behind it are void, as on a stream that has ended. */
  stream: number;
  /** The batch before has its place in the log, or none. */
  turn: Promise<void>;
}

interface SentBatch {
  readonly first: number;
  readonly count: number;
  readonly label: number;
  readonly size: number;
}

export interface HistoryWritersContext {
  readonly checker: CrashChecker;
  /** Takes what is wrong, in sentences. */
  readonly violations: string[];
  /** The log that is open now. */
  readonly log: () => Log | undefined;
  /** Whether a log may refuse a write for this reason. */
  readonly isExpected: (error: unknown) => boolean;
}

/** Turns of the event loop within which an append is answered, unless it hangs. */
const TURNS_MAX = 5000;
/** Kind of what entries share, in the dictionary. */
const SHARED = 1;

export class HistoryWriters {
  readonly producers: readonly Producer[];
  /** What an entry refers to in the dictionary, by its payload. */
  readonly references = new Map<string, { readonly id: number; readonly text: string }>();
  readonly #context: HistoryWritersContext;
  /** Appends that are not answered yet. */
  readonly #answers = new Set<Promise<void>>();

  constructor(context: HistoryWritersContext) {
    this.#context = context;
    this.producers = Array.from({ length: PRODUCERS }, (_, i) => ({
      id: `p${i}`,
      acknowledged: 0,
      sent: 0,
      stream: 0,
      turn: Promise.resolve(),
    }));
  }

  #producer(index: number): Producer {
    const producer = this.producers[index];
    if (producer === undefined) throw new RangeError(`There is no producer ${index}`);
    return producer;
  }

  async write({ producer, count, label, size }: Extract<Step, { kind: "write" }>): Promise<void> {
    const writing = this.#producer(producer);
    const first = writing.sent + 1;
    writing.sent += count;
    this.#send(producer, { first, count, label, size });
    await turn();
  }

  async writeAgain(index: number): Promise<void> {
    const producer = this.#producer(index);
    const first = producer.acknowledged + 1;
    if (producer.sent < first) return;
    this.#send(index, { first, count: producer.sent - first + 1, label: 0, size: 0 });
    await turn();
  }

  #send(index: number, batch: SentBatch): void {
    const producer = this.#producer(index);
    const { promise: hasItsPlace, resolve } = Promise.withResolvers<void>();
    const before = producer.turn;
    producer.turn = hasItsPlace;
    const { stream } = producer;
    const answer = before
      .then(() => (producer.stream === stream ? this.#append(index, batch, resolve) : undefined))
      .catch((error: unknown) => this.#refused(producer, error))
      .finally(() => {
        resolve();
        this.#answers.delete(answer);
      });
    this.#answers.add(answer);
  }

  /** What a service does with a batch: leaves out what the log has, and appends the rest. */
  async #append(index: number, batch: SentBatch, hasItsPlace: () => void): Promise<void> {
    const log = this.#context.log();
    if (log === undefined) return;
    const { writer } = log;
    const producer = this.#producer(index);
    const last = batch.first + batch.count - 1;
    using lease = log.dictionary.lease();
    const text = `shared by ${(batch.first + index) % 23}`;
    const id = await lease.intern(SHARED, Buffer.from(text));
    const known = writer.producer(producer.id);
    const next = (known?.lastProducerSequence ?? 0) + 1;
    if (batch.first > next) throw new ProducerGap(producer.id, batch.first, next);
    const from = Math.max(batch.first, next);
    if (from > last) {
      hasItsPlace();
      await writer.durable(known?.lastSequence ?? 0);
    } else {
      const label = labelIn(log, batch.label);
      const entries = Array.from({ length: last - from + 1 }, (_, i) =>
        entryOf(index, from + i, { label, size: batch.size }),
      );
      for (const { payload } of entries) {
        this.#context.checker.attempt(payload);
        if (id !== undefined) this.references.set(payload, { id, text });
      }
      const { epoch } = writer;
      const appended = writer.append(writer.next, makeBatch(writer, entries, { id: producer.id, first: from }));
      hasItsPlace();
      const sequence = await appended;
      for (const [i, { payload }] of entries.entries()) {
        this.#promise({ epoch, sequence: sequence - entries.length + 1 + i, payload });
      }
    }
    producer.acknowledged = Math.max(producer.acknowledged, last);
  }

  /** A client sends again from the first entry without an answer. */
  #refused(producer: Producer, error: unknown): void {
    if (!this.#context.isExpected(error))
      this.#context.violations.push(`refused for a reason of its own: ${String((error as Error).stack)}`);
    producer.stream++;
    producer.sent = producer.acknowledged;
  }

  async answered(): Promise<void> {
    for (let turns = 0; this.#answers.size > 0; turns++) {
      if (turns > TURNS_MAX) {
        this.#context.violations.push(`${this.#answers.size} appends were not answered`);
        this.#answers.clear();
      }
      await turn();
    }
  }

  #promise(entry: { epoch: number; sequence: number; payload: string }): void {
    this.#context.violations.push(...this.#context.checker.promise(entry));
  }
}

function entryOf(producer: number, number: number, { label, size }: { label: number; size: number }): TestEntry {
  return {
    timestamp: timestampOf(producer, number),
    severity: severityOf(producer, number),
    label: nameOf(label),
    payload: payloadOf(producer, number) + "x".repeat(size === 0 ? 0 : (size * 7 + number) % size),
  };
}

/** The label of a batch; where the log takes no more names, one that it has. */
function labelIn({ writer }: Log, label: number): number {
  try {
    writer.internLabel(nameOf(label));
    return label;
  } catch (error) {
    if (!(error instanceof LimitExceeded)) throw error;
    return 0;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
