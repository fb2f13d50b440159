// Enqueue and EnqueueStream: jobs in, their ids out.
//
// EN1. An answer follows when the whole batch is on disk; nothing of a refused batch is taken.
// EN2. A producer waits while the journal has no room, and a stream of batches is not read meanwhile: HTTP/2 holds it back.
import { fromBinary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import {
  EnqueueRequestSchema,
  type EnqueueResponseSchema,
  EnqueueStreamRequestSchema,
  type EnqueueStreamResponseSchema,
} from "@sluice/api";
import type { Call } from "@sluice/rpc";
import { InvalidRequest } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { WriteBudget } from "../stream/write-budget.ts";
import type { Answer, Enqueued, OpenQueue } from "./contract.ts";
import { bad, parseNewJobs } from "./requests.ts";

/** Batches of a stream that wait for the disk before it is no longer read. */
const WAITING_BATCHES_MAX = 256;

export interface EnqueueOptions {
  readonly limits: Limits;
  /** Bytes of requests in hand, of all producers. */
  readonly budget: WriteBudget;
  /** Finds a queue, and asks whether the caller may add to it. */
  readonly open: (queue: string) => OpenQueue;
}

type Response = MessageInitShape<typeof EnqueueResponseSchema>;

export async function enqueue(bytes: Uint8Array, options: EnqueueOptions): Promise<Response> {
  const { queue: name, jobs } = decode(EnqueueRequestSchema, bytes);
  const queue = options.open(name);
  const { value, place } = await append(queue, { jobs, bytes: bytes.length }, options);
  await queue.journal.durable(place);
  return { jobs: value.map(toResponse) };
}

type NewJobs = MessageShape<typeof EnqueueRequestSchema>["jobs"];

/** EN2. */
async function append(
  { engine, journal }: OpenQueue,
  batch: { readonly jobs: NewJobs; readonly bytes: number },
  { limits, budget }: EnqueueOptions,
): Promise<Answer<readonly Enqueued[]>> {
  const checked = parseNewJobs(batch.jobs, limits);
  const release = budget.take(batch.bytes);
  try {
    for (let wait = journal.room(batch.bytes); wait !== undefined; wait = journal.room(batch.bytes)) await wait;
    return engine.enqueue(checked);
  } finally {
    release();
  }
}

function toResponse({ jobId, duplicate }: Enqueued) {
  return { jobId, duplicate };
}

function decode<S extends typeof EnqueueRequestSchema | typeof EnqueueStreamRequestSchema>(
  schema: S,
  bytes: Uint8Array,
): MessageShape<S> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    throw new InvalidRequest("MALFORMED_MESSAGE", [{ field: "", description: `is no ${schema.typeName}` }]);
  }
}

type StreamResponse = MessageInitShape<typeof EnqueueStreamResponseSchema>;

/** One EnqueueStream: `read` fills the row of what waits for the disk, `answers` empties it. */
export class EnqueueStream {
  readonly #options: EnqueueOptions;
  readonly #waiting: Answer<readonly Enqueued[]>[] = [];
  #queue: OpenQueue | undefined = undefined;
  #isDone = false;
  #failure: { readonly error: unknown } | undefined = undefined;
  #wakeAnswers: () => void = nothing;
  #wakeRead: () => void = nothing;

  constructor(options: EnqueueOptions) {
    this.#options = options;
  }

  /** Takes no more: what was taken is answered, then the stream ends with the error. Idempotent. */
  stop(error: unknown): void {
    this.#failure ??= { error };
    this.close();
  }

  /** Nobody waits any longer. */
  close(): void {
    this.#isDone = true;
    this.#wakeAnswers();
    this.#wakeRead();
  }

  async *answers(requests: AsyncIterable<Uint8Array>, call: Call): AsyncGenerator<StreamResponse> {
    call.sendHeaders();
    call.onEnd(() => {
      this.#waiting.length = 0;
      this.close();
    });
    const reading = this.#read(requests);
    for (;;) {
      const first = this.#waiting.shift();
      if (first !== undefined) {
        await this.#queue?.journal.durable(first.place);
        this.#wakeRead();
        yield { jobs: first.value.map(toResponse) };
      } else if (this.#isDone) {
        break;
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeAnswers = resolve;
        });
        this.#wakeAnswers = nothing;
      }
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    await reading;
  }

  /** Never rejects: what goes wrong is thrown by `answers`, after what went well before it. */
  async #read(requests: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const bytes of requests) {
        if (this.#isDone) return;
        const { queue: name, jobs } = decode(EnqueueStreamRequestSchema, bytes);
        const queue = this.#open(name);
        this.#waiting.push(await append(queue, { jobs, bytes: bytes.length }, this.#options));
        this.#wakeAnswers();
        while (this.#waiting.length >= WAITING_BATCHES_MAX && !this.#isDone) {
          await new Promise<void>((resolve) => {
            this.#wakeRead = resolve;
          });
          this.#wakeRead = nothing;
        }
      }
    } catch (error) {
      this.#failure ??= { error };
    }
    this.close();
  }

  #open(name: string): OpenQueue {
    this.#queue ??= this.#options.open(name);
    if (name === "" || name === this.#queue.name) return this.#queue;
    throw bad("queue", `cannot change within a stream, here from "${this.#queue.name}" to "${name}"; open another one`);
  }
}

function nothing(): void {}
