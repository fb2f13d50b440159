// HTTP/1.1 at the port: Node's parser before it, gRPC-Web and plain handlers behind it, over sockets in memory.
//
// P1. Whatever comes in, nothing is thrown, and what goes out begins like HTTP/1.1.
// P2. When the socket is gone, nothing of its calls is left.
import type { Socket } from "node:net";
import { duplexPair } from "node:stream";
import { createServer, serve } from "@sluice/rpc";
import { Http1Server } from "../../../packages/rpc/src/http1/http1-server.ts";
import { DEFAULT_HTTP1_LIMITS, http2Limits } from "../../../packages/rpc/src/limits.ts";
import { ManualClock } from "../../../packages/rpc/src/testing/manual-clock.ts";
import { createFront } from "../../../packages/rpc/src/web/front.ts";
import { EchoService } from "../../rpc/gen/echo_pb.ts";
import { echoHandlers } from "../echo.ts";
import { textLines } from "../grammar.ts";
import { Random } from "../random.ts";
import { http1Recordings } from "../recordings.ts";
import type { Input, Target } from "../target.ts";
import { machineParts } from "./machine.ts";
import { piecesOf } from "./pieces.ts";
import { settle } from "./settled.ts";

/** Turns of the event loop in which answers come; those to a damaged request come at once or never. */
const TURNS = 6;

const errors: unknown[] = [];
const onError = (error: unknown): void => {
  errors.push(error);
};
const server = createServer({
  services: [serve(EchoService, echoHandlers)],
  onError,
  clock: new ManualClock(),
});
const front = createFront(server, {
  origins: ["http://page.example"],
  handlers: { "/plain": () => ({ status: 200, body: "plain" }) },
  onError,
});
const limits = { ...http2Limits(), ...DEFAULT_HTTP1_LIMITS };
const peer = { address: "memory", isEncrypted: false };

async function run({ bytes, salt }: Input): Promise<void> {
  const [near, far] = duplexPair();
  const clock = new ManualClock();
  const { resources } = machineParts(limits);
  const http1 = new Http1Server({ limits, resources, clock, peerOf: () => peer });
  const answer: Buffer[] = [];
  far.on("data", (chunk: Buffer) => answer.push(chunk));
  far.on("error", () => {});
  // Node's HTTP server takes any duplex stream for a socket.
  const socket = Object.assign(near as Socket, { setTimeout: () => near, setNoDelay: () => near });
  socket.on("error", () => {});
  const [first = Buffer.alloc(0), ...rest] = piecesOf(bytes, new Random(salt));
  try {
    const connection = http1.serveSocket(socket, front, first);
    for (const piece of rest) if (!far.destroyed) far.write(piece);
    for (let turns = 0; turns < TURNS; turns++) await new Promise((resolve) => setImmediate(resolve));
    const { unread } = resources;
    if (connection.openStreams === 0 && unread.bytes !== 0) throw new Error(`P2: ${unread.bytes} bytes of no request`);
  } finally {
    near.destroy();
    far.destroy();
    http1.close();
  }
  const text = Buffer.concat(answer).toString("latin1", 0, 9);
  if (text !== "" && !text.startsWith("HTTP/1.1 ")) throw new Error(`P1: an answer that begins with ${text}`);
  const left = (): number[] => {
    const { unread, queued } = resources;
    const { openCalls, runningHandlers, heldBytes } = server;
    return [
      unread.bytes,
      unread.holders,
      queued.bytes,
      queued.holders,
      openCalls,
      runningHandlers,
      heldBytes,
      clock.timers,
    ];
  };
  await settle(
    () => left().every((count) => count === 0),
    () => `P2: ${left().join()}`,
  );
  if (errors.length > 0) throw new Error("A handler failed", { cause: errors.splice(0)[0] });
}

export const http1: Target = {
  name: "http1",
  about: "HTTP/1.1 at the port: gRPC-Web and plain handlers, over sockets in memory",
  weight: 1,
  open: async () => ({
    grammar: textLines,
    corpus: await http1Recordings(),
    extras: [
      "Transfer-Encoding: chunked\r\n",
      "Content-Length: 5\r\n",
      "Connection: close\r\n",
      "Expect: 100-continue\r\n",
      "Upgrade: h2c\r\n",
      "Origin: http://page.example\r\n",
      "Access-Control-Request-Method: POST\r\n",
      "\r\n",
      "5\r\nhello\r\n",
      "0\r\n\r\n",
      "OPTIONS * HTTP/1.1\r\n",
      "GET http://x/plain HTTP/1.1\r\n",
    ].map((line) => Buffer.from(line)),
    run,
  }),
};
