// grpc.health.v1: whether a service is ready, asked once (Check, List) or followed (Watch).
// Source: github.com/grpc/grpc doc/health-checking.md.
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthCheckResponseSchema,
} from "./gen/grpc/health/v1/health_pb.ts";
import { toBinary, create } from "@bufbuild/protobuf";
import { frameOf } from "./grpc/frames.ts";
import type { FrameSource, FrameStream } from "./grpc/handlers.ts";
import { serve, type ServedService } from "./grpc/routes.ts";
import { Code, RpcError } from "./grpc/status.ts";
import type { HttpHandlers } from "./web/http.ts";

/** "": the server as a whole. */
export type HealthServiceName = string;

/** Holds the status of services by their full names, and tells watchers of changes. */
export class HealthRegistry {
  readonly #statuses = new Map<HealthServiceName, ServingStatus>();
  readonly #watchers = new Map<HealthServiceName, Set<Watcher>>();
  #isShutDown = false;

  /** @param services known and serving from the start; the server as a whole ("") is always. */
  constructor(services: Iterable<HealthServiceName> = []) {
    this.#statuses.set("", ServingStatus.SERVING);
    for (const service of services) this.#statuses.set(service, ServingStatus.SERVING);
  }

  /** Sets one service's status; a new name makes it known. Has no effect after `shutDown`. */
  setServing(service: HealthServiceName, isServing: boolean): void {
    if (!this.#isShutDown) this.#set(service, isServing ? ServingStatus.SERVING : ServingStatus.NOT_SERVING);
  }

  /** Says for good that nothing is served any more: load balancers turn away before the connections close. */
  shutDown(): void {
    this.#isShutDown = true;
    for (const service of this.#statuses.keys()) this.#set(service, ServingStatus.NOT_SERVING);
  }

  /** undefined: not known. */
  find(service: HealthServiceName): ServingStatus | undefined {
    return this.#statuses.get(service);
  }

  statuses(): ReadonlyMap<HealthServiceName, ServingStatus> {
    return this.#statuses;
  }

  /** Open watches. */
  get watchers(): number {
    let count = 0;
    for (const watchers of this.#watchers.values()) count += watchers.size;
    return count;
  }

  /** Returns the unsubscribe. */
  watch(service: HealthServiceName, watcher: Watcher): () => void {
    const watchers = this.#watchers.get(service) ?? new Set();
    this.#watchers.set(service, watchers.add(watcher));
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(service) === watchers) this.#watchers.delete(service);
    };
  }

  #set(service: HealthServiceName, status: ServingStatus): void {
    if (this.#statuses.get(service) === status) return;
    this.#statuses.set(service, status);
    for (const watcher of this.#watchers.get(service) ?? []) watcher(status);
  }
}

/**
 * What probes ask over plain HTTP: `/healthz`, which answers as long as the process does, and `/readyz`, which is 503 when
 * the server as a whole does not serve. To be given to `listen` among its handlers.
 */
export function healthHandlers(registry: HealthRegistry): HttpHandlers {
  const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
  return {
    "/healthz": () => ({ status: 200, headers, body: "ok\n" }),
    "/readyz": () =>
      registry.find("") === ServingStatus.SERVING
        ? { status: 200, headers, body: "ready\n" }
        : { status: 503, headers, body: "not ready\n" },
  };
}

type Watcher = (status: ServingStatus) => void;

/** The health service over a registry. */
export function serveHealth(registry: HealthRegistry): ServedService {
  return serve(Health, {
    check({ service }) {
      const status = registry.find(service);
      if (status === undefined)
        throw new RpcError(Code.NOT_FOUND, `Cannot check "${service}": no such service is known`);
      return { status };
    },
    list() {
      const statuses = [...registry.statuses()].map(([name, status]) => [name, { status }] as const);
      return { statuses: Object.fromEntries(statuses) };
    },
    watch({ service }, call) {
      const source = new WatchSource(registry.find(service) ?? ServingStatus.SERVICE_UNKNOWN);
      call.onEnd(registry.watch(service, (status) => source.offer(status)));
      return source;
    },
  });
}

/** The latest status; what changed while the client did not read is not repeated to it. */
class WatchSource implements FrameSource {
  #latest: ServingStatus;
  #sent: ServingStatus | undefined;
  #stream: FrameStream | undefined;

  constructor(status: ServingStatus) {
    this.#latest = status;
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  offer(status: ServingStatus): void {
    this.#latest = status;
    this.#stream?.wake();
  }

  pull(): Uint8Array | undefined {
    if (this.#latest === this.#sent) return undefined;
    this.#sent = this.#latest;
    return frameOf(toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status: this.#latest })));
  }
}
