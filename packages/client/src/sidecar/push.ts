// Jobs for a service that speaks HTTP alone: one request for each free slot.
//
// PU1. A job is taken when a slot is free for it, and it is posted at once: nothing waits here.
// PU2. While the service does not listen it has no free slot: no job is taken, and what was taken in that moment goes back
//      without counting as a failure.
import { Agent } from "node:http";
import { connect as connectSocket } from "node:net";
import { DEFAULT_BACKOFF, backoffMs } from "../backoff.ts";
import type { SluiceClient } from "../client.ts";
import { type JobContext, type QueueJob, ReturnJob } from "../queue-job.ts";
import type { QueueWorker } from "../queue-worker.ts";
import { type Clock, pause, type Random } from "../time.ts";
import { postJob, type PushTarget, ServiceAway } from "./push-request.ts";
import type { RelayListener } from "./relay-context.ts";

/** A service that gets jobs by HTTP. */
export interface PushOptions {
  /** "http://127.0.0.1:8000/jobs": where each job is posted. */
  readonly url: string;
  /** Requests at the same time. */
  readonly slots: number;
}

export interface PushContext {
  readonly client: SluiceClient;
  readonly queue: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: Omit<RelayListener, "onOver" | "onRefused"> & {
    /** The service does not listen; `isAway` false: it does again. */
    onService(isAway: boolean, reason: string): void;
    onFailed(job: QueueJob, reason: string): void;
  };
}

const PROBE_BACKOFF = { ...DEFAULT_BACKOFF, maxMs: 2000 };
const NS_PER_MS = 1_000_000n;

export class Push {
  /** Rejects when the queue cannot be worked on; resolves after a drain. */
  readonly ended: Promise<void>;
  readonly #context: PushContext;
  readonly #target: PushTarget;
  readonly #slots: number;
  readonly #stop = new AbortController();
  /** Attempts that the service has answered, and the server has not heard of. */
  readonly #answered = new Set<bigint>();
  #worker: QueueWorker | undefined;
  #away = Promise.withResolvers<string>();

  /** @throws RangeError for slots that are none; TypeError for a URL that is no http:// one */
  constructor({ url, slots }: PushOptions, context: PushContext) {
    if (!Number.isInteger(slots) || slots < 1) throw new RangeError(`A service has 1 slot or more, not ${slots}`);
    this.#context = context;
    this.#slots = slots;
    const agent = new Agent({ keepAlive: true, maxSockets: slots });
    this.#target = { url: parsePushUrl(url), queue: context.queue, agent };
    this.ended = this.#run().finally(() => agent.destroy());
  }

  get running(): number {
    return this.#worker?.running ?? 0;
  }

  /** Answers of the service that the server does not have yet. */
  get unanswered(): number {
    return this.#answered.size;
  }

  get free(): number {
    return this.#worker?.isConnected === true && !this.#stop.signal.aborted ? this.#slots - this.running : 0;
  }

  get isAttached(): boolean {
    return this.#worker?.isConnected === true;
  }

  /** Takes no more; requests that run may end until the deadline, then they are given up and their jobs returned. */
  async drain(deadlineMs: number): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#worker?.drain({ deadlineMs }), this.ended]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#untilListening();
      if (signal.aborted) return;
      this.#away = Promise.withResolvers<string>();
      const worker = this.#openWorker();
      this.#worker = worker;
      const reason = await Promise.race([worker.ended, this.#away.promise]);
      if (reason === undefined) return;
      this.#context.listener.onService(true, reason);
      await worker.drain(); // PU2
    }
  }

  #openWorker(): QueueWorker {
    const { client, queue, listener } = this.#context;
    return client.queues.worker(queue, (job, context) => this.#do(job, context), {
      slots: this.#slots,
      // Nothing here blocks the event loop.
      heartbeat: "loop",
      onConnected: () => listener.onAttached(),
      onDisconnected: (error, { retryInMs }) => listener.onLost(error, retryInMs),
      onEnded: ({ attempt }, how) => {
        this.#answered.delete(attempt);
        listener.onEnded(how, 1);
      },
      onLeaseLost: ({ attempt }) => void this.#answered.delete(attempt),
    });
  }

  async #do(job: QueueJob, { signal }: JobContext): Promise<void> {
    const { listener, clock } = this.#context;
    listener.onDelivered();
    try {
      await postJob(this.#target, job, { signal, nowMs: () => Number(clock.nowNs() / NS_PER_MS) });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!(error instanceof ServiceAway)) {
        listener.onFailed(job, reason);
        throw error;
      }
      this.#away.resolve(reason);
      throw new ReturnJob(reason);
    } finally {
      if (!signal.aborted) this.#answered.add(job.attempt);
    }
  }

  /** PU2: resolves when somebody takes a connection there, or at the drain. */
  async #untilListening(): Promise<void> {
    const { clock, random, listener } = this.#context;
    const { signal } = this.#stop;
    const { hostname, port } = this.#target.url;
    for (let attempt = 1; !signal.aborted; attempt++) {
      const address = { host: hostname.replaceAll(/[[\]]/gu, ""), port: port === "" ? 80 : Number(port) };
      const error = await tryConnecting(address, signal);
      if (error === undefined) return listener.onService(false, "");
      if (attempt === 1) listener.onService(true, error);
      await pause(clock, backoffMs(attempt, PROBE_BACKOFF, random), signal);
    }
  }
}

/** The URL of a service beside: http, without user and fragment. @throws TypeError */
export function parsePushUrl(text: string): URL {
  const url = URL.parse(text);
  if (url?.protocol === "http:" && url.username === "" && url.hash === "") return url;
  throw new TypeError(`"${text}" is no URL of a service beside, for example http://127.0.0.1:8000/jobs`);
}

/** Why nobody answers there; undefined: somebody does. */
function tryConnecting(
  address: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connectSocket({ ...address, signal });
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("error", ({ message }) => {
      socket.destroy();
      resolve(message);
    });
  });
}
