// WriteLogs and WriteLogStream: entries in, acknowledgements out.
//
// W1. An acknowledgement of DURABILITY_DISK follows the sync of what it acknowledges, and of all before it.
// W2. Acknowledgements come in the order of the entries.
// W3. Nothing is read from a stream while the log has no room, or while too much waits to be acknowledged: the peer is
//     held back by HTTP/2's flow control, and told so by `flow`. A single batch is refused instead, with a time to retry.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Durability,
  RejectedEntrySchema,
  type RejectedEntry,
  type WriteLogsResponseSchema,
  type WriteLogStreamResponseSchema,
} from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { LogReader } from "../store/contract.ts";
import { cursorOf } from "../stream/cursor.ts";
import type { AppendOptions, Numbering, RejectedPlace, SliceOutcome, WriteTarget } from "./ingest.ts";
import type { WriteBudget } from "../stream/write-budget.ts";
import type { WriteRequest } from "./write-request.ts";
import { checkNumbering, parseWriteRequest } from "./write-request.ts";

/** Entries that a stream may have under way beyond what was taken from it. */
const WINDOW_ENTRIES = 65_536;
/** What may wait to be acknowledged before the stream is no longer read: slices, and rejections in them. */
const WAITING_SLICES_MAX = 256;
const WAITING_REJECTIONS_MAX = 65_536;

/** Where a place in a log is, for a cursor. */
interface LogPlace {
  readonly reader: LogReader;
  readonly sequence: number;
}

/** Appends one batch and answers when the accepted entries are as durable as was asked for. */
export async function writeLogs(
  request: WriteRequest,
  { target, budget, atBound }: AppendOptions & { readonly target: WriteTarget; readonly budget: WriteBudget },
): Promise<MessageInitShape<typeof WriteLogsResponseSchema>> {
  checkNumbering(request, request.producer);
  const sum = { accepted: 0, duplicates: 0 };
  const rejected: RejectedEntry[] = [];
  const durable: Promise<unknown>[] = [];
  let last: LogPlace | undefined;
  const numbering = numberingOf(request, request.producer);
  const release = budget.take(request.entries.bytes.length);
  try {
    for await (const slice of target.append(request.entries, numbering, { atBound })) {
      sum.accepted += slice.accepted;
      sum.duplicates += slice.duplicates;
      if (slice.lastSequence > 0) last = { reader: slice.reader, sequence: slice.lastSequence };
      if (slice.accepted > 0) durable.push(slice.durable);
      for (const place of slice.rejected) rejected.push(rejection(place, 0));
    }
  } finally {
    release();
  }
  if (request.durability === Durability.DISK) await Promise.all(durable);
  return {
    accepted: BigInt(sum.accepted),
    duplicates: BigInt(sum.duplicates),
    rejected,
    lastSequence: BigInt(last?.sequence ?? 0),
    lastCursor: last === undefined ? "" : cursorOf(last.reader, last.sequence),
  };
}

type StreamResponse = MessageInitShape<typeof WriteLogStreamResponseSchema>;

export interface WriteStreamOptions {
  readonly limits: Limits;
  readonly budget: WriteBudget;
  /** Finds the log that the first request names, and asks whether the caller may write to it. */
  readonly open: (log: string) => WriteTarget;
}

/** Appends what comes, and acknowledges it. */
export async function* writeLogStream(
  requests: AsyncIterable<Uint8Array>,
  call: Call,
  options: WriteStreamOptions,
): AsyncGenerator<StreamResponse> {
  call.sendHeaders();
  const session = new WriteSession(options);
  const leave = options.budget.enter();
  call.onEnd(() => {
    leave();
    session.close();
  });
  yield { flow: { seen: 0n, window: WINDOW_ENTRIES, windowBytes: BigInt(options.budget.firstWindowBytes) } };
  const reading = session.read(requests);
  for (let response = await session.next(); response !== undefined; response = await session.next()) yield response;
  await reading;
}

/** A slice that was appended and is not acknowledged yet. */
interface Waiting {
  readonly outcome: SliceOutcome;
  /** Place in the stream of the first entry of its request. */
  readonly base: number;
  isSettled: boolean;
}

/** One WriteLogStream: `read` fills the queue of what waits, `next` empties it. */
class WriteSession {
  readonly #options: WriteStreamOptions;
  readonly #queue: Waiting[] = [];
  #target: WriteTarget | undefined = undefined;
  #log = "";
  #producer = "";
  #seen = 0;
  #acknowledged = 0;
  #durable: LogPlace | undefined = undefined;
  #waitingRejections = 0;
  #isDone = false;
  /** What ended `read`: thrown when all before it is acknowledged. */
  #readFailure: { readonly error: unknown } | undefined = undefined;
  /** What kept entries from becoming durable: thrown when all that did is acknowledged. */
  #commitFailure: { readonly error: unknown } | undefined = undefined;
  /** Wakes `next`, and `read`, when they wait. */
  #wakeNext: () => void = nothing;
  #wakeRead: () => void = nothing;

  constructor(options: WriteStreamOptions) {
    this.#options = options;
  }

  /** The call has ended: nobody waits any longer. */
  close(): void {
    this.#isDone = true;
    this.#queue.length = 0;
    this.#wakeNext();
    this.#wakeRead();
  }

  /** Appends request by request. Never fails: what goes wrong is thrown by `next`, after what went well before it. */
  async read(requests: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const bytes of requests) {
        const release = this.#options.budget.take(bytes.length);
        try {
          await this.#append(parseWriteRequest(bytes, this.#options.limits));
        } finally {
          release();
        }
        if (this.#isDone) return;
      }
    } catch (error) {
      this.#readFailure = { error };
    }
    this.#isDone = true;
    this.#wakeNext();
  }

  /** The next acknowledgement, of everything that has become durable; undefined at the end of the stream. */
  async next(): Promise<StreamResponse | undefined> {
    for (;;) {
      if (this.#queue[0]?.isSettled === true) return this.#acknowledge();
      if (this.#commitFailure !== undefined) throw this.#commitFailure.error;
      if (this.#queue.length === 0 && this.#isDone) {
        if (this.#readFailure !== undefined) throw this.#readFailure.error;
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wakeNext = resolve;
      });
      this.#wakeNext = nothing;
    }
  }

  async #append(request: WriteRequest): Promise<void> {
    const target = this.#openTarget(request);
    checkNumbering(request, this.#producer);
    const base = this.#seen;
    const numbering = numberingOf(request, this.#producer);
    for await (const outcome of target.append(request.entries, numbering, { atBound: "wait" })) {
      if (this.#isDone) return;
      this.#seen += outcome.count;
      this.#enqueue({ outcome, base, isSettled: false }, request.durability);
      while (this.#queue.length >= WAITING_SLICES_MAX || this.#waitingRejections >= WAITING_REJECTIONS_MAX) {
        await new Promise<void>((resolve) => {
          this.#wakeRead = resolve;
        });
        this.#wakeRead = nothing;
        if (this.#isDone) return;
      }
    }
  }

  #openTarget(request: WriteRequest): WriteTarget {
    if (this.#target === undefined) {
      this.#target = this.#options.open(request.log);
      this.#log = request.log;
      this.#producer = request.producer;
      return this.#target;
    }
    if (request.log !== "" && request.log !== this.#log) throw changed("log", this.#log, request.log);
    if (request.producer !== "" && request.producer !== this.#producer) {
      throw changed("producer", this.#producer, request.producer);
    }
    return this.#target;
  }

  #enqueue(waiting: Waiting, durability: Durability): void {
    const { outcome } = waiting;
    this.#queue.push(waiting);
    this.#waitingRejections += outcome.rejected.length;
    const settle = (): void => {
      waiting.isSettled = true;
      if (this.#queue[0] === waiting) this.#wakeNext();
    };
    outcome.durable.then(
      () => {
        this.#noteDurable(outcome);
        settle();
      },
      (error: unknown) => {
        this.#commitFailure ??= { error };
        this.#isDone = true;
        this.#wakeNext();
        this.#wakeRead();
      },
    );
    if (durability === Durability.MEMORY) settle();
  }

  /** In one log the place only goes forward, also when an answer is of what was there before. */
  #noteDurable({ reader, lastSequence: sequence }: SliceOutcome): void {
    if (sequence === 0) return;
    if (this.#durable?.reader === reader && this.#durable.sequence > sequence) return;
    this.#durable = { reader, sequence };
  }

  #acknowledge(): StreamResponse {
    const rejected: RejectedEntry[] = [];
    let duplicates = 0;
    while (this.#queue[0]?.isSettled === true) {
      const { outcome, base } = this.#queue.shift()!;
      this.#acknowledged += outcome.count;
      duplicates += outcome.duplicates;
      for (const place of outcome.rejected) rejected.push(rejection(place, base));
    }
    this.#waitingRejections -= rejected.length;
    this.#wakeRead();
    const { budget } = this.#options;
    return {
      acknowledged: BigInt(this.#acknowledged),
      rejected,
      lastSequence: BigInt(this.#durable?.sequence ?? 0),
      lastCursor: this.#durable === undefined ? "" : cursorOf(this.#durable.reader, this.#durable.sequence),
      duplicates: BigInt(duplicates),
      flow: { seen: BigInt(this.#seen), window: WINDOW_ENTRIES, windowBytes: BigInt(budget.windowBytes) },
    };
  }
}

function nothing(): void {}

function numberingOf(request: WriteRequest, producer: string): Numbering | undefined {
  if (producer === "") return undefined;
  return { producer, first: request.firstProducerSequence, settled: request.settledProducerSequence };
}

function rejection(place: RejectedPlace, base: number): RejectedEntry {
  return create(RejectedEntrySchema, { index: BigInt(base + place.index), reason: place.reason, text: place.text });
}

function changed(field: string, from: string, to: string): InvalidRequest {
  return new InvalidRequest("CHANGED_FIELD", [
    { field, description: `cannot change within a stream, here from "${from}" to "${to}"; open another one` },
  ]);
}
