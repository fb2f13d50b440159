// The attacked server, in a process of its own that says what it held at most. Both halves are in this file: the test's
// `startAttackedServer`, and, when it is run, the process.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  createServer,
  type GrpcLimits,
  type Http1Limits,
  type Http2Limits,
  listen,
  type RpcServer,
  serve,
} from "@sluice/rpc";
import { EchoService } from "../rpc/gen/echo_pb.ts";
import { startProcess } from "./process.ts";

export interface ServerSettings {
  readonly http1?: Partial<Http1Limits>;
  readonly http2?: Partial<Http2Limits>;
  readonly grpc?: Partial<GrpcLimits>;
  readonly tls?: boolean;
  readonly connectionsMax?: number;
}

/** What the process holds, and held at most since `reset`. Bytes. */
export interface Held {
  /** Of the process, as the system sees it: most since the last reset, garbage included. */
  readonly peakResidentBytes: number;
  /** JavaScript's heap and what it owns outside, after a garbage collection. */
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly connections: number;
  readonly openCalls: number;
  readonly runningHandlers: number;
}

export interface AttackedServer extends AsyncDisposable {
  readonly port: number;
  /** @param reset begins to look for the most anew. */
  held(options?: { reset: boolean }): Promise<Held>;
}

export async function startAttackedServer(settings: ServerSettings = {}): Promise<AttackedServer> {
  const process = startProcess(fileURLToPath(import.meta.url), [JSON.stringify(settings)], ["--expose-gc"]);
  const { port } = await process.ask<{ port: number }>(undefined);
  return {
    port,
    held: ({ reset } = { reset: false }) => process.ask<Held>({ reset }),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

const SAMPLE_MS = 10;
/** Of which all answers are made: what is held of them is held by the server, not by its handlers. */
const ZEROS = new Uint8Array(256 * 1024);

function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error("Started without --expose-gc");
  globalThis.gc();
}

/** Watches the memory of this process; between two looks a handler of one turn may hide. */
class MemoryWatch {
  #residentBytes = 0;

  constructor() {
    setInterval(() => this.#look(), SAMPLE_MS);
  }

  answer(server: RpcServer, connections: number, reset: boolean): Held {
    this.#look();
    const peakResidentBytes = this.#residentBytes;
    collectGarbage();
    const { heapUsed, external, rss } = process.memoryUsage();
    if (reset) this.#residentBytes = 0;
    const { openCalls, runningHandlers } = server;
    return {
      peakResidentBytes,
      heapBytes: heapUsed + external,
      residentBytes: rss,
      connections,
      openCalls,
      runningHandlers,
    };
  }

  #look(): void {
    this.#residentBytes = Math.max(this.#residentBytes, process.memoryUsage.rss());
  }
}

function createEcho(limits: Partial<GrpcLimits>): RpcServer {
  const echo = serve(EchoService, {
    echo: ({ text, payload }) => ({ text, payload }),
    /** Sends so many messages as fast as they are taken; without a number, waits for its end. */
    async *count({ count, payloadBytes }, call) {
      const payload = ZEROS.subarray(0, payloadBytes);
      for (let index = 0; index < count; index++) yield { index, payload };
      if (count === 0) await new Promise<void>((resolve) => call.onEnd(() => resolve()));
    },
    async sum(requests) {
      let messages = 0;
      for await (const request of requests) if (request.value >= 0n) messages++;
      return { messages };
    },
    /** Hears of no cancel for a moment, and reads nothing before its end. */
    async *chat(requests, call) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      if (!call.isEnded) await new Promise<void>((resolve) => call.onEnd(() => resolve()));
      for await (const { text } of requests) yield { text };
    },
  });
  return createServer({
    services: [echo],
    limits,
    onError: (error) => void process.stderr.write(`${String(error)}\n`),
  });
}

function tlsOptions(): { cert: string; key: string } {
  const read = (name: string): string =>
    readFileSync(new URL(`../fixtures/tls/localhost.${name}`, import.meta.url), "utf8");
  return { cert: read("crt"), key: read("key") };
}

async function runServer(settings: ServerSettings): Promise<void> {
  const { http1 = {}, http2 = {}, grpc = {}, tls = false, ...listening } = settings;
  const server = createEcho(grpc);
  const secured = tls ? { tls: tlsOptions() } : {};
  const listener = await listen(server, { http1, http2: { limits: http2 }, ...secured, ...listening });
  const watch = new MemoryWatch();
  process.on("message", ({ reset }: { reset: boolean }) => {
    collectGarbage();
    // What the first round's finalizers let go is free only after the second, a turn later.
    setImmediate(() => process.send?.(watch.answer(server, listener.connections, reset)));
  });
  process.on("disconnect", () => process.exit());
  process.send?.({ port: listener.port });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runServer(JSON.parse(process.argv[2] ?? "{}") as ServerSettings);
}
