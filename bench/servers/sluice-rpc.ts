// Ourselves as a plain gRPC server: handlers behind the ordinary API of @sluice/rpc, nothing switched off, nothing of the
// product. `plain` has generators and messages, as most will write it; `encoded` yields frames made
// beforehand, and its followers are generators that wait.

import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, LogService, SeedLogService, type LogStreamRequest } from "@sluice/api";
import {
  createServer,
  frameOf,
  Frames,
  listen,
  serve,
  type Call,
  type FrameSource,
  type FrameStream,
} from "@sluice/rpc";
import { entryFrameBytes } from "../entries.ts";
import { EchoResponseSchema, EchoService, type RepeatRequest } from "../gen/bench/v1/echo_pb.ts";
import { announce, parseServerOptions } from "./server-options.ts";

const options = parseServerOptions();
const { frames, count } = options;

/** The stored entries round and round, in pieces as large as the transport asks for. */
class History implements FrameSource {
  #stream: FrameStream | undefined;
  #left = count * entryFrameBytes;
  #at = 0;

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  pull(maxBytes: number): Uint8Array | undefined {
    if (this.#left === 0) {
      this.#stream?.end();
      return undefined;
    }
    const whole = Math.max(entryFrameBytes, maxBytes - (maxBytes % entryFrameBytes));
    const piece = frames.subarray(this.#at, this.#at + Math.min(whole, this.#left));
    this.#left -= piece.length;
    this.#at = (this.#at + piece.length) % frames.length;
    return piece;
  }
}

/** What was published and not every follower has: followers are positions in it. */
const published: Uint8Array[] = [];
let firstPosition = 0;
const followers = new Set<Follower>();

class Follower implements FrameSource {
  position = firstPosition + published.length;
  #stream: FrameStream | undefined;

  attach(stream: FrameStream): void {
    this.#stream = stream;
    followers.add(this);
  }

  pull(): Uint8Array | undefined {
    const frame = published[this.position - firstPosition];
    if (frame !== undefined) this.position++;
    return frame;
  }

  wake(): void {
    this.#stream?.wake();
  }
}

/** Frames that the slowest follower has are let go now and then, not for each entry. */
const keptMax = 1024;

function publish(frame: Uint8Array): void {
  published.push(frame);
  if (published.length > keptMax) {
    let slowest = firstPosition + published.length;
    for (const { position } of followers) slowest = Math.min(slowest, position);
    published.splice(0, slowest - firstPosition);
    firstPosition = slowest;
  }
  for (const follower of followers) follower.wake();
}

function streamLogs(request: LogStreamRequest, call: Call): FrameSource | AsyncIterable<never> {
  if (request.follow !== true) return new History();
  if (options.form === "encoded") return followIdly(call);
  const follower = new Follower();
  call.onEnd(() => followers.delete(follower));
  return follower;
}

/** A subscription as a generator: it waits for a promise, here for one that never comes. */
async function* followIdly(call: Call) {
  await new Promise<void>((resolve) => call.onEnd(() => resolve()));
  yield* [];
}

async function* repeatMessages({ payload, count: times }: RepeatRequest) {
  for (let index = 0; index < times; index++) yield { payload };
}

async function* repeatFrames({ payload, count: times }: RepeatRequest) {
  const answer = new Frames(frameOf(toBinary(EchoResponseSchema, create(EchoResponseSchema, { payload }))));
  for (let index = 0; index < times; index++) yield answer;
}

const server = createServer({
  services: [
    serve(EchoService, {
      echo: (request) => ({ payload: request.payload }),
      repeat: options.form === "encoded" ? repeatFrames : repeatMessages,
      async upload(requests) {
        let received = 0;
        for await (const _ of requests) received++;
        return { count: received };
      },
      async *chat(requests) {
        for await (const { payload } of requests) yield { payload };
      },
    }),
    serve(SeedLogService, { streamLogs }),
    serve(LogService, {
      streamLogs,
      async *writeLogStream(requests) {
        let acknowledged = 0n;
        for await (const { entries } of requests) {
          for (const entry of entries) publish(frameOf(toBinary(LogEntrySchema, entry)));
          acknowledged += BigInt(entries.length);
          yield { acknowledged };
        }
      },
    }),
  ],
});
const { tls, port } = options;
const listener = await listen(server, { host: "127.0.0.1", port, ...(tls === undefined ? {} : { tls }) });
announce(`@sluice/rpc on Node ${process.version}`, listener.address);
