// A TCP proxy that breaks connections at exact places: after so many bytes in one direction, or when it is told to; and
// that makes them slow or far away.
//
// X1. Up to the place of a fault every byte is passed on, and none behind it.
// X2. Disposing it closes every socket.
// X3. What waits in it is bounded: a line that is slower than its sender makes the sender wait.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** What happens to a connection. */
export type FaultKind =
  /** RST to both sides. */
  | "reset"
  /** FIN to both sides, after what was passed on. */
  | "close"
  /** FIN in the direction of the fault only; the other one stays open and goes on. */
  | "half-close"
  /** Nothing is passed on any more in either direction; both sides see an open connection. */
  | "stall";

export interface Fault {
  readonly kind: FaultKind;
  /** Bytes that pass before it happens. */
  readonly afterBytes: number;
  /** Whose bytes are counted. */
  readonly direction: "to-server" | "to-client";
}

/** What a connection is like while it holds. */
export interface Line {
  /** Each byte arrives so much later. Default: 0. */
  readonly delayMs?: number;
  /** In each direction. Default: no bound. */
  readonly bytesPerSecond?: number;
}

export interface FaultProxyOptions {
  /** "127.0.0.1:8080": asked for each connection, so that a server may move. */
  readonly target: () => string;
  /** What happens to connection `number` (from 1); undefined: nothing. */
  readonly faultOf?: (number: number) => Fault | undefined;
  /** What connection `number` is like; undefined: near and fast. */
  readonly lineOf?: (number: number) => Line | undefined;
}

export interface FaultProxy extends AsyncDisposable {
  readonly address: string;
  /** Connections that were accepted so far. */
  readonly connections: number;
  /** Faults of `faultOf` that have happened. */
  readonly faults: number;
  /** Breaks every connection that is open now. */
  breakAll(kind: FaultKind): void;
  /** Refuses new connections, as if nobody listened, until it is called with false. */
  refuse(isRefusing: boolean): void;
}

export async function openFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const links = new Set<Link>();
  let connections = 0;
  let faults = 0;
  let isRefusing = false;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    if (isRefusing) {
      client.resetAndDestroy();
      return;
    }
    connections++;
    const number = connections;
    const link = new Link(client, options.target(), {
      fault: options.faultOf?.(number),
      line: options.lineOf?.(number) ?? {},
      onFault: () => {
        faults++;
      },
      onGone: () => links.delete(link),
    });
    links.add(link);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("The proxy has no port");
  return {
    address: `127.0.0.1:${bound.port}`,
    get connections() {
      return connections;
    },
    get faults() {
      return faults;
    },
    breakAll(kind) {
      for (const link of Array.from(links)) link.break(kind, "to-client");
    },
    refuse(value) {
      isRefusing = value;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      const open = Array.from(links);
      for (const link of open) link.break("reset", "to-client");
      await Promise.all([closed, ...open.map((link) => link.gone)]);
    },
  };
}

interface LinkOptions {
  readonly fault: Fault | undefined;
  readonly line: Line;
  readonly onFault: () => void;
  readonly onGone: () => void;
}

/** What a slow line holds in one direction before its sender must wait. */
const WAITING_BYTES_MAX = 64 * 1024;

/** One direction of a link. */
interface Way {
  readonly direction: Fault["direction"];
  readonly from: Socket;
  readonly to: Socket;
  /** What is on the line, in order: timers alone do not keep it. */
  readonly queue: (() => void)[];
  /** When the last byte that was taken in will have left. */
  freeAtMs: number;
  waitingBytes: number;
}

/** A pair of sockets. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #options: LinkOptions;
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Resolves when both sockets are closed. */
  readonly gone: Promise<unknown>;
  #passed = 0;
  #isStalled = false;

  constructor(client: Socket, address: string, options: LinkOptions) {
    const target = new URL(`tcp://${address}`);
    this.#client = client;
    this.#server = connect({ host: target.hostname, port: Number(target.port), allowHalfOpen: true });
    this.#options = options;
    this.gone = Promise.all(
      [client, this.#server].map((socket) => new Promise((resolve) => socket.once("close", resolve))),
    );
    for (const socket of [client, this.#server]) socket.setNoDelay();
    this.#pipe("to-server", client, this.#server);
    this.#pipe("to-client", this.#server, client);
    client.resume();
  }

  break(kind: FaultKind, direction: Fault["direction"]): void {
    switch (kind) {
      case "reset":
        this.#destroy();
        break;
      case "close":
        this.#client.end();
        this.#server.end();
        break;
      case "half-close":
        (direction === "to-server" ? this.#server : this.#client).end();
        break;
      case "stall":
        this.#isStalled = true;
        this.#client.pause();
        this.#server.pause();
        break;
      default:
        throw new Error(`There is no fault ${kind satisfies never}`);
    }
  }

  #pipe(direction: Fault["direction"], from: Socket, to: Socket): void {
    const way: Way = { direction, from, to, queue: [], freeAtMs: 0, waitingBytes: 0 };
    from.on("data", (chunk: Buffer) => this.#carry(way, chunk.length, () => this.#pass(way, chunk)));
    from.on("end", () => this.#carry(way, 0, () => this.#isStalled || to.end()));
    from.on("error", () => this.#destroy()); // one side has reset it: so does the other see it
    from.on("close", () => {
      if (this.#client.destroyed && this.#server.destroyed) this.#destroy();
    });
  }

  /** Lets `arrive` happen when so many bytes have come to the line's other end. */
  #carry(way: Way, bytes: number, arrive: () => void): void {
    const { delayMs = 0, bytesPerSecond = Number.POSITIVE_INFINITY } = this.#options.line;
    const nowMs = performance.now();
    way.freeAtMs = Math.max(way.freeAtMs, nowMs) + (bytes * 1000) / bytesPerSecond;
    if (way.queue.length === 0 && way.freeAtMs + delayMs <= nowMs) return arrive();
    way.waitingBytes += bytes;
    way.queue.push(() => {
      way.waitingBytes -= bytes;
      if (way.waitingBytes <= WAITING_BYTES_MAX && !this.#isStalled) way.from.resume();
      arrive();
    });
    if (way.waitingBytes > WAITING_BYTES_MAX) way.from.pause(); // X3
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        way.queue.shift()?.();
      },
      way.freeAtMs + delayMs - nowMs,
    );
    this.#timers.add(timer);
  }

  #pass({ direction, to }: Way, chunk: Buffer): void {
    if (this.#isStalled || to.destroyed || to.writableEnded) return;
    const fault = this.#options.fault?.direction === direction ? this.#options.fault : undefined;
    const room = fault === undefined ? chunk.length : Math.max(0, fault.afterBytes - this.#passed);
    if (fault !== undefined) this.#passed += chunk.length;
    if (room >= chunk.length) {
      to.write(chunk);
    } else if (fault !== undefined) {
      if (this.#passed - chunk.length > fault.afterBytes) return;
      this.#options.onFault();
      // What was passed on must be on its way before a reset overtakes it.
      to.write(chunk.subarray(0, room), () => this.break(fault.kind, direction));
    }
  }

  #destroy(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const socket of [this.#client, this.#server]) {
      // One that is not connected yet would wait for that before it resets.
      if (socket.connecting) socket.destroy();
      else if (!socket.destroyed) socket.resetAndDestroy();
    }
    this.#options.onGone();
  }
}
