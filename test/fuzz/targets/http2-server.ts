// HTTP/2's server role without gRPC: frames in, a handler that does whatever a handler may do, frames out.
//
// V1. What it sends a strict peer can read (legal-frames.ts), and it is no more than the peer granted.
// V2. The same bytes cut anywhere else have the same effect, to the byte.
// V3. A connection error is said by GOAWAY, and is the last that is sent.
// V4. Every stream hears of its end once and last; nothing of it is left, nor of the connection.
import {
  HeaderBlock,
  type HeaderList,
  type ServerTransportHandler,
  type StreamEnd,
  type StreamHandler,
  type TransportConnection,
  type TransportStream,
} from "../../../packages/rpc/src/transport.ts";
import { ErrorCode, FrameType } from "../../../packages/rpc/src/http2/frame.ts";
import { MemoryCarrier } from "../../../packages/rpc/src/http2/testing/machines.ts";
import { ServerConnection } from "../../../packages/rpc/src/http2/server-connection.ts";
import { http2Frames } from "../grammar.ts";
import { Random } from "../random.ts";
import { clientRecordings } from "../recordings.ts";
import type { Input, Target } from "../target.ts";
import { frameExtras } from "./frame-extras.ts";
import { judgeSent } from "./legal-frames.ts";
import { chooseLimits, endConnection, flushAll, machineParts, sentBytesMax } from "./machine.ts";
import { cutEitherWay, type Outcome } from "./cut-either-way.ts";

const HEADERS = new HeaderBlock([":status", "200", "content-type", "application/grpc"]);
const TRAILERS = new HeaderBlock(["grpc-status", "0"]);
const TRAILERS_ONLY = new HeaderBlock([":status", "200", "grpc-status", "12"]);
/** Credit goes back in lumps that do not depend on how the bytes were cut (V2). */
const CREDIT_BYTES = 512;
const BODY_BYTES_MAX = 8192;

/** The code of a reset after the end, which nobody may see. */
const TOO_LATE = ErrorCode.INADEQUATE_SECURITY;
/** Large enough to be sent by reference, and to wait for windows. */
const BULK = Buffer.alloc(40_000, "bulk");
/** Less than one stream with a bulk answer or a long request may come to hold. */
const SHARED_BYTES_MAX = 30_000;

type Manner = "echo" | "refuse" | "silent" | "greedy" | "bulk" | "source" | "reset" | "drain" | "destroy";
const MANNERS: readonly Manner[] = [
  "echo",
  "echo",
  "echo",
  "refuse",
  "silent",
  "greedy",
  "bulk",
  "source",
  "reset",
  "drain",
  "destroy",
];

/** Answers one stream in its manner, and writes down what it hears. */
class Player implements StreamHandler {
  readonly #stream: TransportStream;
  readonly #manner: Manner;
  readonly #events: string[] = [];
  #body: Buffer[] = [];
  #received = 0;
  #credited = 0;
  ends = 0;

  constructor(stream: TransportStream, manner: Manner) {
    this.#stream = stream;
    this.#manner = manner;
  }

  /** What it heard, without how the data was cut. */
  get story(): string {
    return `${this.#manner}: ${this.#events.join("; ")}; ${Buffer.concat(this.#body).toString("hex")}`;
  }

  start(headers: HeaderList, endStream: boolean): void {
    this.#hear(headers.fields.join("|"));
    switch (this.#manner) {
      case "refuse":
        this.#stream.sendHeaders(TRAILERS_ONLY, { endStream: true });
        break;
      case "source": {
        this.#stream.sendHeaders(HEADERS, { endStream: false });
        let left = 3;
        let lent = 0;
        this.#stream.setSource({
          pull: (bytesMax) => {
            lent += 1;
            // More than was asked for: the rest waits at the stream.
            if (--left >= 0) return BULK.subarray(0, left === 1 ? 20_000 : Math.min(700, bytesMax));
            this.#stream.end(TRAILERS);
            return undefined;
          },
          sent: () => {
            if (lent === 0) throw new Error("sent what was never pulled");
          },
        });
        break;
      }
      case "drain":
        this.#stream.connection.drain();
        break;
      default:
    }
    if (endStream) this.#onEnd();
  }

  onHeaders(): void {
    throw new Error("a server's stream hears of no second request");
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    this.#checkOpen();
    this.#received += end - start;
    this.#body.push(buffer.subarray(start, end));
    while (this.#manner !== "silent" && this.#received - this.#credited >= CREDIT_BYTES) {
      this.#credited += CREDIT_BYTES;
      this.#stream.consume(CREDIT_BYTES);
    }
    if (endStream) this.#onEnd();
  }

  onTrailers(trailers: HeaderList): void {
    this.#checkOpen();
    this.#hear(`trailers ${trailers.fields.join("|")}`);
    this.#onEnd();
  }

  onWritable(): void {
    this.#checkOpen();
  }

  onClose(end: StreamEnd): void {
    this.ends += 1;
    this.#hear(`closed by ${end.by} ${end.code} ${end.reason}`);
    // T3: nothing of this may have an effect any more.
    this.#stream.write(Buffer.of(1));
    this.#stream.consume(1_000_000);
    this.#stream.reset(TOO_LATE);
    this.#stream.end(TRAILERS);
  }

  #onEnd(): void {
    this.#hear("end");
    switch (this.#manner) {
      case "echo": {
        this.#stream.sendHeaders(HEADERS, { endStream: false });
        this.#stream.write(Buffer.concat(this.#body).subarray(0, BODY_BYTES_MAX));
        this.#stream.end(TRAILERS);
        break;
      }
      case "greedy":
        // More than there was: only what there was counts.
        this.#stream.consume(1_000_000);
        this.#stream.sendHeaders(HEADERS, { endStream: false });
        for (let times = 0; times < 3; times++) this.#stream.write(Buffer.alloc(300, times));
        this.#stream.end();
        break;
      case "bulk":
        this.#stream.sendHeaders(HEADERS, { endStream: false });
        for (let times = 0; times < 8; times++) this.#stream.write(BULK);
        this.#stream.end(TRAILERS);
        break;
      case "reset":
        this.#stream.reset(8);
        break;
      case "destroy":
        this.#stream.connection.destroy(2, "as the handler likes");
        break;
      default:
    }
  }

  #hear(event: string): void {
    this.#events.push(event);
  }

  #checkOpen(): void {
    if (this.ends > 0) throw new Error("a stream heard of something after its end");
  }
}

class Players implements ServerTransportHandler {
  readonly all: Player[] = [];
  closes = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  onStream(stream: TransportStream, headers: HeaderList, endStream: boolean): StreamHandler {
    const player = new Player(stream, this.#random.pick(MANNERS));
    this.all.push(player);
    player.start(headers, endStream);
    return player;
  }

  onConnectionClose(_connection: TransportConnection): void {
    this.closes += 1;
  }
}

/** @param flushesBetween also sends between the pieces, as sockets do. */
function play(pieces: readonly Buffer[], { bytes, salt }: Input, flushesBetween: boolean): Outcome {
  const random = new Random(salt);
  const carrier = new MemoryCarrier();
  const players = new Players(random);
  // What has to give way depends on what has been sent meanwhile.
  const sharedBytesMax = flushesBetween && random.oneIn(2) ? SHARED_BYTES_MAX : Infinity;
  const parts = machineParts(chooseLimits(random), sharedBytesMax);
  const isFull = random.oneIn(4);
  if (isFull) carrier.outcome = "full";
  const connection = new ServerConnection(carrier, players, parts.options);
  for (const piece of pieces) {
    connection.receive(piece, 0);
    if (flushesBetween) flushAll(connection, carrier);
  }
  if (isFull) {
    flushAll(connection, carrier);
    carrier.outcome = "sent";
    connection.resume();
  }
  flushAll(connection, carrier);
  const sent = carrier.take();
  const heard = judgeSent(sent, bytes, "server"); // V1
  for (const [id, { resets }] of heard.streams) {
    if (resets.includes(TOO_LATE)) throw new Error(`stream ${id} was reset after its end`); // V4
  }
  if (carrier.isClosed && heard.goaway === undefined && !hasGoaway(bytes)) {
    throw new Error("the connection ended without a GOAWAY"); // V3
  }
  if (sent.length - heard.dataFrameBytes > sentBytesMax(bytes.length))
    throw new Error(`${sent.length} bytes for an input of ${bytes.length}`);
  endConnection(connection, parts);
  for (const player of players.all) if (player.ends !== 1) throw new Error(`a stream ended ${player.ends} times`); // V4
  if (players.closes !== 1) throw new Error(`the connection ended ${players.closes} times`);
  return { sent, stories: players.all.map((player) => player.story).join("\n") };
}

/** A peer that says GOAWAY gets none: the connection just ends with its last stream. */
function hasGoaway(bytes: Buffer): boolean {
  return http2Frames.cut(bytes).some((unit) => unit[3] === FrameType.GOAWAY);
}

export const http2Server: Target = {
  name: "http2-server",
  about: "HTTP/2's server role: frames, flow control, ends of streams",
  weight: 12,
  open: async () => ({
    grammar: http2Frames,
    corpus: await clientRecordings(),
    extras: frameExtras,
    run: cutEitherWay(play),
  }),
};
