// A relay of the sidecar between a worker and a server that a test plays.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type ResultCode,
  SubscribeSchema,
  type WorkRequest,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "@sluice/api";
import { Code, FRAME_HEADER_BYTES, type Frames, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { expect } from "vitest";
import type { RelayContext } from "../sidecar/relay-context.ts";
import { WorkRelay } from "../sidecar/work-relay.ts";
import { constantRandom, settle } from "./chance.ts";

export type Said = NonNullable<MessageInitShape<typeof WorkRequestSchema>["kind"]>;
type Told = NonNullable<MessageInitShape<typeof WorkResponseSchema>["kind"]>;

/** A queue of messages that somebody waits for. */
class Pipe<T> implements AsyncIterableIterator<T, undefined> {
  readonly waiting: T[] = [];
  #end: { readonly error: Error | undefined } | undefined;
  #wake: () => void = () => {};
  pulled = 0;

  push(...messages: T[]): void {
    this.waiting.push(...messages);
    this.#wake();
  }

  end(error?: Error): void {
    this.#end ??= { error };
    this.#wake();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      const value = this.waiting.shift();
      if (value !== undefined) {
        this.pulled++;
        return { done: false, value };
      }
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== undefined) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

/** One stream as the server sees it. */
class ModelStream {
  readonly said: WorkRequest["kind"][] = [];
  readonly answers = new Pipe<Uint8Array>();
  isHalfClosed = false;

  async read(requests: AsyncIterable<Frames>): Promise<void> {
    for await (const { bytes } of requests) {
      for (const message of messagesOf(bytes)) this.said.push(fromBinary(WorkRequestSchema, message).kind);
    }
    this.isHalfClosed = true;
  }

  tell(...kinds: Told[]): void {
    this.answers.push(...kinds.map((kind) => toBinary(WorkResponseSchema, create(WorkResponseSchema, { kind }))));
  }

  deliver(
    number: number,
    attempt: number,
    options: { readonly isOffer?: boolean; readonly bytes?: number } = {},
  ): void {
    const body = new Uint8Array(options.bytes ?? 1);
    const leaseUntil = options.isOffer === true ? 0n : 9n;
    this.tell({
      case: "delivery",
      value: { number: BigInt(number), lease: leaseOf(attempt), job: { body }, leaseUntil },
    });
  }

  cases(): (string | undefined)[] {
    return this.said.map((each) => each.case);
  }

  /** What was said last of this kind. */
  last(name: Said["case"]): unknown {
    return this.said.findLast((each) => each.case === name)?.value;
  }

  /** Attempts that the subscription holds. */
  held(): number[] {
    const [subscribe] = this.said;
    if (subscribe?.case !== "subscribe") throw new Error("There is no subscription");
    return subscribe.value.held.map(({ attempt }) => Number(attempt)).toSorted((a, b) => a - b);
  }
}

function messagesOf(frames: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  const view = Buffer.from(frames);
  for (let at = 0; at < view.length;) {
    const start = at + FRAME_HEADER_BYTES;
    at = start + view.readUInt32BE(at + 1);
    messages.push(Uint8Array.from(view.subarray(start, at)));
  }
  return messages;
}

export const leaseOf = (attempt: number) => ({ jobId: `job-${attempt}`, attempt: BigInt(attempt) });
export const cut = new RpcError(Code.UNAVAILABLE, "cut");

interface Worker {
  readonly workerId?: string;
  readonly leaseMs?: number;
  readonly explicitStart?: boolean;
  readonly heartbeatMs?: number;
  readonly flow?: { readonly seen?: bigint; readonly window: number };
}

/** A relay between a worker and a server that the test plays. */
export function openRelay(subscribe: Worker = {}) {
  const clock = new ManualClock();
  const streams: ModelStream[] = [];
  const worker = new Pipe<Uint8Array>();
  const events: string[] = [];
  const context: RelayContext = {
    call: (requests, { signal }) => {
      const stream = new ModelStream();
      streams.push(stream);
      void stream.read(requests);
      signal.addEventListener("abort", () => stream.answers.end(new RpcError(Code.CANCELLED, "aborted")));
      return stream.answers;
    },
    clock,
    random: constantRandom(0),
    listener: {
      onLost: () => void events.push("lost"),
      onAttached: () => void events.push("attached"),
      onRefused: () => void events.push("refused"),
      onDelivered: () => {},
      onEnded: (how, count) => void events.push(`${how} ${count}`),
      onReturned: (count) => void events.push(`returned ${count}`),
      onOver: () => void events.push("over"),
    },
  };
  const relay = new WorkRelay(create(SubscribeSchema, { queue: "tax", flow: { window: 4 }, ...subscribe }), context);
  const told: WorkResponse["kind"][] = [];
  let end: unknown = "open";
  relay.outbox.attach({ wake: () => {}, end: () => (end = "well"), fail: (error) => (end = error) });
  void relay.run(worker);
  return {
    relay,
    clock,
    streams,
    events,
    worker,
    told,
    say: (...kinds: Said[]) =>
      worker.push(...kinds.map((kind) => toBinary(WorkRequestSchema, create(WorkRequestSchema, { kind })))),
    /** The worker's connection takes what there is. */
    read: async (): Promise<void> => {
      await settle();
      for (let frames = relay.outbox.pull(); frames !== undefined; frames = relay.outbox.pull()) {
        for (const message of messagesOf(frames)) told.push(fromBinary(WorkResponseSchema, message).kind);
      }
    },
    deliveries: () => told.flatMap((each) => (each.case === "delivery" ? [each.value] : [])),
    ending: () => end,
    /** The stream is lost; resolves when the next one is open. */
    reconnect: async (): Promise<ModelStream> => {
      streams.at(-1)!.answers.end(cut);
      const count = streams.length;
      await settle();
      clock.advance(60_000);
      await expect.poll(() => streams.length, { interval: 1 }).toBe(count + 1);
      await settle();
      return streams.at(-1)!;
    },
  };
}

export const session = (kept: number[] = [], lost: number[] = []): Told => ({
  case: "session",
  value: { sessionToken: Uint8Array.of(7), workerId: "w", kept: kept.map(leaseOf), lost: lost.map(leaseOf) },
});
export const results = (attempt: number, code: ResultCode): Told => ({
  case: "results",
  value: { request: 1n, results: [{ lease: leaseOf(attempt), code }] },
});
