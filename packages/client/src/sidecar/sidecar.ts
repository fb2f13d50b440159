// A sidecar: stands beside a service in any language, and gives it the jobs of one queue.
//
// SC1. It holds no job of its own: what the server may send is the sum of what its workers, and the service, have free.
// SC2. In a drain nothing new is taken, what runs may end until the grace is over, and the rest goes back to the queue. Leases
//      are extended, and ends are said, until then.
import { QueueService } from "@sluice/api";
import {
  type Channel,
  createClient,
  createServer,
  healthHandlers,
  HealthRegistry,
  type HttpRequest,
  type HttpResponse,
  listen,
  type ListenAddress,
  type Listener,
  openChannel,
  serve,
  serveHealth,
  serveReflection,
} from "@sluice/rpc";
import { connect, type SluiceClient } from "../client.ts";
import { channelOptionsOf, type ClientOptions } from "../client-options.ts";
import type { QueueJob } from "../queue-job.ts";
import { type Clock, pause, systemClock, systemRandom, type Timer } from "../time.ts";
import type { JobEnd } from "./lease-ledger.ts";
import { Push, type PushOptions } from "./push.ts";
import { RelayService } from "./relay-service.ts";
import { metricsHandler, type SidecarCounts } from "./sidecar-counts.ts";

/** See `openSidecar`. */
export interface SidecarOptions extends Omit<ClientOptions, "closeTimeoutMs" | "keepalive"> {
  /** The server: "host:port", "[::1]:port" or "unix:/path". */
  readonly upstream: string;
  readonly queue: string;
  /** Where workers find it. It asks nobody who they are: a loopback address or a Unix socket. `POST /drain` is there, too. */
  readonly listen?: ListenAddress;
  /** Where its health and its metrics can be asked besides. */
  readonly healthListen?: ListenAddress;
  /** A service that gets jobs by HTTP. */
  readonly push?: PushOptions;
  /** Workers at a time. Default: 1,000. */
  readonly workersMax?: number;
  /** Of the connection to the server. Default: 5 s and 5 s. */
  readonly keepalive?: NonNullable<ClientOptions["keepalive"]>;
  /** What a drain by `POST /drain` gives to jobs that run, ms. Default: 25,000. */
  readonly graceMs?: number;
  readonly onEvent?: (event: SidecarEvent) => void;
}

/** What a sidecar tells of. */
export type SidecarEvent =
  /** The server cannot be reached; jobs that run go on. Told once, until `upstream-back`. */
  | { readonly kind: "upstream-lost"; readonly error: unknown; readonly retryInMs: number }
  | { readonly kind: "upstream-back" }
  /** The server refused a worker, which was told why. */
  | { readonly kind: "worker-refused"; readonly error: unknown }
  /** The service does not listen: no job is taken for it. */
  | { readonly kind: "service-away"; readonly reason: string }
  | { readonly kind: "service-back" }
  /** The service did not do a job. */
  | { readonly kind: "job-failed"; readonly job: QueueJob; readonly reason: string }
  /** How far a drain is. */
  | { readonly kind: "draining"; readonly running: number; readonly unanswered: number };

/** How a drain ended. */
export interface SidecarDrained {
  /** Jobs that were given back because the grace was over. */
  readonly returned: number;
  /** Ends of jobs that the server could not be told of: they are done again. */
  readonly unsaid: number;
}

/** See `openSidecar`. Disposing of it drains without grace. */
export interface Sidecar extends AsyncDisposable {
  /** Where workers find it; undefined: nowhere. */
  readonly address: string | undefined;
  readonly healthAddress: string | undefined;
  /** Rejects when jobs cannot be pushed for good: the queue is not there, there is no right to it. Resolves after a drain. */
  readonly ended: Promise<void>;
  counts(): SidecarCounts;
  /** Takes no new job, lets those that run end for `graceMs`, gives back the rest, and closes. */
  drain(options: { readonly graceMs: number }): Promise<SidecarDrained>;
}

const WORKERS_MAX = 1000;
/** One connection stands for all workers: that it is gone is to be known well before their leases end. */
const KEEPALIVE = { intervalMs: 5000, timeoutMs: 5000 };
const GRACE_MS = 25_000;
const PROGRESS_EVERY_MS = 1000;
/** After the grace: what is given back is answered within that, or the server finds out by itself. */
const LAST_ANSWERS_MS = 2000;

/**
 * Opens a sidecar. The server need not be there yet.
 * @throws ListenError; TypeError and RangeError for options that cannot be
 */
export async function openSidecar(options: SidecarOptions): Promise<Sidecar> {
  const sidecar = new RunningSidecar(options);
  try {
    await sidecar.open();
    return sidecar;
  } catch (error) {
    await sidecar[Symbol.asyncDispose]();
    throw error;
  }
}

class RunningSidecar implements Sidecar {
  readonly ended: Promise<void>;
  readonly #options: SidecarOptions;
  readonly #clock: Clock;
  readonly #channel: Channel;
  readonly #client: SluiceClient;
  readonly #service: RelayService;
  readonly #push: Push | undefined;
  readonly #health = new HealthRegistry([QueueService.typeName]);
  readonly #over = Promise.withResolvers<void>();
  readonly #ends = { ack: 0, return: 0, retry: 0, reject: 0 };
  #listener: Listener | undefined;
  #healthListener: Listener | undefined;
  #delivered = 0;
  #returned = 0;
  #losses = 0;
  #isUpstreamLost = false;
  #quiet: Promise<SidecarDrained> | undefined;
  #drained: Promise<SidecarDrained> | undefined;
  #progressTimer: Timer | undefined;

  constructor(options: SidecarOptions) {
    const { upstream, queue, push, clock = systemClock, random = systemRandom, workersMax = WORKERS_MAX } = options;
    this.#options = options;
    this.#clock = clock;
    const how = { keepalive: KEEPALIVE, ...options, closeTimeoutMs: 0 };
    this.#channel = openChannel(upstream, channelOptionsOf(how));
    this.#client = connect(upstream, how);
    const rpc = createClient(QueueService, this.#channel);
    const listener = this.#relayListener();
    this.#service = new RelayService({ rpc, queue, clock, random, listener, workersMax });
    this.#push = push && new Push(push, { client: this.#client, queue, clock, random, listener });
    this.#push?.ended.catch((error: unknown) => this.#over.reject(error));
    this.ended = this.#over.promise;
    // Whoever does not look at it hears of a failure by the drain.
    this.ended.catch(() => undefined);
  }

  get address(): string | undefined {
    return this.#listener?.address;
  }

  get healthAddress(): string | undefined {
    return this.#healthListener?.address;
  }

  async open(): Promise<void> {
    const { listen: address, healthListen } = this.#options;
    const health = serveHealth(this.#health);
    const handlers = {
      ...healthHandlers(this.#health),
      "/metrics": metricsHandler(this.#options.queue, () => this.counts()),
    };
    if (address !== undefined) {
      const services = [serve(QueueService, this.#service.handlers), health];
      const server = createServer({ services: [...services, ...serveReflection(services)] });
      const web = { handlers: { ...handlers, "/drain": (request: HttpRequest) => this.#drainByHttp(request) } };
      this.#listener = await listen(server, { ...address, web });
    }
    if (healthListen !== undefined) {
      this.#healthListener = await listen(createServer({ services: [health] }), { ...healthListen, web: { handlers } });
    }
  }

  counts(): SidecarCounts {
    const relays = [...this.#service.relays];
    const sum = (of: (relay: (typeof relays)[number]) => number) => relays.reduce((total, each) => total + of(each), 0);
    return {
      workers: sum(({ isHere }) => (isHere ? 1 : 0)),
      sessions: sum(({ isAttached }) => (isAttached ? 1 : 0)) + (this.#push?.isAttached === true ? 1 : 0),
      free: sum(({ free }) => free) + (this.#push?.free ?? 0),
      offered: sum(({ offered }) => offered),
      running: sum(({ running }) => running) + (this.#push?.running ?? 0),
      unanswered: sum(({ unanswered }) => unanswered) + (this.#push?.unanswered ?? 0),
      delivered: this.#delivered,
      ended: { ...this.#ends },
      returned: this.#returned,
      losses: this.#losses,
    };
  }

  drain({ graceMs }: { readonly graceMs: number }): Promise<SidecarDrained> {
    this.#drained ??= this.#drain(graceMs);
    return this.#drained;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain({ graceMs: 0 });
  }

  /** SC2: until nothing is left that runs here, or the grace is over. */
  #quiesce(graceMs: number): Promise<SidecarDrained> {
    this.#quiet ??= this.#becomeQuiet(graceMs);
    return this.#quiet;
  }

  async #becomeQuiet(graceMs: number): Promise<SidecarDrained> {
    const returnedBefore = this.#returned;
    const service = this.#service;
    this.#health.shutDown();
    service.drain();
    this.#tellProgress();
    const pushed = this.#push?.drain(graceMs).catch(() => undefined); // `ended` tells of it
    await this.#within(graceMs, service.idle());
    for (const relay of service.relays) relay.returnAll();
    await this.#within(LAST_ANSWERS_MS, Promise.all([service.idle(), pushed]));
    const { unanswered } = this.counts();
    for (const relay of service.relays) relay.close();
    await service.idle();
    this.#progressTimer?.cancel();
    return { returned: this.#returned - returnedBefore, unsaid: unanswered };
  }

  async #drain(graceMs: number): Promise<SidecarDrained> {
    const drained = await this.#quiesce(graceMs);
    const listeners = [this.#listener, this.#healthListener].filter((listener) => listener !== undefined);
    await Promise.all(listeners.map((listener) => listener.drain({ graceMs: LAST_ANSWERS_MS })));
    await Promise.all([this.#client.close(), this.#channel.close()]);
    await this.#push?.ended.catch(() => undefined);
    this.#over.resolve();
    return drained;
  }

  /** `POST /drain`, for who is about to end the service: answered when nothing runs any more. */
  async #drainByHttp({ method }: HttpRequest): Promise<HttpResponse> {
    if (method !== "POST") return { status: 405, headers: { allow: "POST" }, body: "POST begins a drain.\n" };
    const drained = await this.#quiesce(this.#options.graceMs ?? GRACE_MS);
    return { status: 200, headers: { "content-type": "application/json" }, body: `${JSON.stringify(drained)}\n` };
  }

  /** Waits for it, but no longer. */
  async #within(ms: number, what: Promise<unknown>): Promise<void> {
    const done = new AbortController();
    const finished = what.then(() => done.abort());
    await Promise.race([finished, pause(this.#clock, ms, done.signal)]);
    done.abort();
  }

  #tellProgress(): void {
    const { running, offered, unanswered } = this.counts();
    if (running + offered + unanswered > 0) this.#tell({ kind: "draining", running, unanswered });
    this.#progressTimer = this.#clock.setTimer(() => this.#tellProgress(), PROGRESS_EVERY_MS);
  }

  #tell(event: SidecarEvent): void {
    this.#options.onEvent?.(event);
  }

  #relayListener() {
    return {
      onLost: (error: unknown, retryInMs: number): void => {
        this.#losses++;
        if (this.#isUpstreamLost) return;
        this.#isUpstreamLost = true;
        this.#health.setServing(QueueService.typeName, false);
        this.#tell({ kind: "upstream-lost", error, retryInMs });
      },
      onAttached: (): void => {
        if (!this.#isUpstreamLost) return;
        this.#isUpstreamLost = false;
        this.#health.setServing(QueueService.typeName, true);
        this.#tell({ kind: "upstream-back" });
      },
      onRefused: (error: unknown): void => this.#tell({ kind: "worker-refused", error }),
      onDelivered: (): void => void this.#delivered++,
      onEnded: (how: JobEnd, count: number): void => void (this.#ends[how] += count),
      onReturned: (count: number): void => void (this.#returned += count),
      onService: (isAway: boolean, reason: string): void =>
        this.#tell(isAway ? { kind: "service-away", reason } : { kind: "service-back" }),
      onFailed: (job: QueueJob, reason: string): void => this.#tell({ kind: "job-failed", job, reason }),
    };
  }
}
