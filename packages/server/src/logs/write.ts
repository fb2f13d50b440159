// WriteLogs and WriteLogStream: entries in, acknowledgements out.
//
// W1. An acknowledgement of DURABILITY_DISK follows the sync of what it acknowledges, and of all before it.
// W2. Acknowledgements come in the order of the entries.
// W3. Nothing is read from a stream while the log has no room, or while too much waits to be acknowledged: the peer is
//     held back by HTTP/2's flow control, and told so by `flow`.
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
import type { Ingest, Numbering, RejectedPlace, SliceOutcome } from "./ingest.ts";
import type { WriteRequest } from "./write-request.ts";
import { checkNumbering, parseWriteRequest } from "./write-request.ts";

/** Where entries go. */
export interface WriteTarget {
  readonly ingest: Ingest;
  readonly reader: LogReader;
}

/** Entries and their bytes that a writer may have under way beyond what was acknowledged. */
const WINDOW_ENTRIES = 65_536;
const WINDOW_BYTES = 8 * 1024 * 1024;
/** What may wait to be acknowledged before the stream is no longer read: slices, and rejections in them. */
const WAITING_SLICES_MAX = 256;
const WAITING_REJECTIONS_MAX = 65_536;

/** Appends one batch and answers when the accepted entries are as durable as was asked for. */
export async function writeLogs(
  target: WriteTarget,
  request: WriteRequest,
): Promise<MessageInitShape<typeof WriteLogsResponseSchema>> {
  checkNumbering(request, request.producer);
  const sum = { accepted: 0, duplicates: 0, lastSequence: 0 };
  const rejected: RejectedEntry[] = [];
  let durable: Promise<unknown> | undefined;
  for await (const slice of target.ingest.append(request.entries, numberingOf(request, request.producer))) {
    sum.accepted += slice.accepted;
    sum.duplicates += slice.duplicates;
    if (slice.lastSequence > 0) sum.lastSequence = slice.lastSequence;
    if (slice.accepted > 0) durable = slice.durable;
    for (const place of slice.rejected) rejected.push(rejection(place, 0));
  }
  if (request.durability === Durability.DISK) await durable;
  return {
    accepted: BigInt(sum.accepted),
    duplicates: BigInt(sum.duplicates),
    rejected,
    lastSequence: BigInt(sum.lastSequence),
    lastCursor: sum.lastSequence === 0 ? "" : cursorOf(target.reader, sum.lastSequence),
  };
}

type StreamResponse = MessageInitShape<typeof WriteLogStreamResponseSchema>;

export interface WriteStreamOptions {
  readonly limits: Limits;
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
  call.onEnd(() => {
    session.close();
  });
  yield { flow: { seen: 0n, window: WINDOW_ENTRIES, windowBytes: BigInt(WINDOW_BYTES) } };
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
  #durableSequence = 0;
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
        await this.#append(parseWriteRequest(bytes, this.#options.limits));
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
    for await (const outcome of target.ingest.append(request.entries, numberingOf(request, this.#producer))) {
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
        this.#durableSequence = Math.max(this.#durableSequence, outcome.lastSequence);
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
    const sequence = this.#durableSequence;
    return {
      acknowledged: BigInt(this.#acknowledged),
      rejected,
      lastSequence: BigInt(sequence),
      lastCursor: sequence === 0 || this.#target === undefined ? "" : cursorOf(this.#target.reader, sequence),
      duplicates: BigInt(duplicates),
      flow: { seen: BigInt(this.#seen), window: WINDOW_ENTRIES, windowBytes: BigInt(WINDOW_BYTES) },
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
