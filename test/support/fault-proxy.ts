// A TCP proxy that breaks connections at exact places: after so many bytes in one direction, or when it is told to.
//
// X1. Up to the place of a fault every byte is passed on, and none behind it.
// X2. Disposing it closes every socket.
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

export interface FaultProxyOptions {
  /** "127.0.0.1:8080": asked for each connection, so that a server may move. */
  readonly target: () => string;
  /** What happens to connection `number` (from 1); undefined: nothing. */
  readonly faultOf?: (number: number) => Fault | undefined;
  /** Each chunk is passed on so much later. */
  readonly delayMs?: number;
}

export interface FaultProxy extends AsyncDisposable {
  readonly address: string;
  /** Connections that were accepted so far. */
  readonly connections: number;
  /** Breaks every connection that is open now. */
  breakAll(kind: FaultKind): void;
  /** Refuses new connections, as if nobody listened, until it is called with false. */
  refuse(isRefusing: boolean): void;
}

export async function openFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const links = new Set<Link>();
  let connections = 0;
  let isRefusing = false;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    if (isRefusing) {
      client.resetAndDestroy();
      return;
    }
    connections++;
    const link = new Link(client, options, options.faultOf?.(connections), () => links.delete(link));
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

/** A pair of sockets. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #fault: Fault | undefined;
  readonly #delayMs: number;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #onGone: () => void;
  /** Resolves when both sockets are closed. */
  readonly gone: Promise<unknown>;
  #passed = 0;
  #isStalled = false;

  constructor(client: Socket, options: FaultProxyOptions, fault: Fault | undefined, onGone: () => void) {
    const target = new URL(`tcp://${options.target()}`);
    this.#client = client;
    this.#server = connect({ host: target.hostname, port: Number(target.port), allowHalfOpen: true });
    this.#fault = fault;
    this.#delayMs = options.delayMs ?? 0;
    this.#onGone = onGone;
    this.gone = Promise.all(
      [client, this.#server].map((socket) => new Promise((resolve) => socket.once("close", resolve))),
    );
    this.#pipe(client, this.#server, "to-server");
    this.#pipe(this.#server, client, "to-client");
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

  #pipe(from: Socket, to: Socket, direction: Fault["direction"]): void {
    from.on("data", (chunk: Buffer) => this.#later(() => this.#pass(chunk, to, direction)));
    from.on("end", () => this.#later(() => this.#isStalled || to.end()));
    from.on("error", () => this.#destroy()); // one side has reset it: so does the other see it
    from.on("close", () => {
      if (this.#client.destroyed && this.#server.destroyed) this.#destroy();
    });
  }

  #pass(chunk: Buffer, to: Socket, direction: Fault["direction"]): void {
    if (this.#isStalled || to.destroyed || to.writableEnded) return;
    const fault = this.#fault?.direction === direction ? this.#fault : undefined;
    const room = fault === undefined ? chunk.length : Math.max(0, fault.afterBytes - this.#passed);
    if (fault !== undefined) this.#passed += chunk.length;
    if (room >= chunk.length) {
      to.write(chunk);
    } else if (fault !== undefined) {
      // What was passed on must be on its way before a reset overtakes it.
      to.write(chunk.subarray(0, room), () => this.break(fault.kind, direction));
    }
  }

  #later(action: () => void): void {
    if (this.#delayMs === 0) return action();
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, this.#delayMs);
    this.#timers.add(timer);
  }

  #destroy(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const socket of [this.#client, this.#server]) {
      // One that is not connected yet would wait for that before it resets.
      if (socket.connecting) socket.destroy();
      else if (!socket.destroyed) socket.resetAndDestroy();
    }
    this.#onGone();
  }
}
