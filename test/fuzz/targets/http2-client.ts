// HTTP/2's client role without gRPC: a server's frames in, eight streams that wait for an answer.
//
// The invariants are those of http2-server.ts, V1 to V4.
import {
  HeaderBlock,
  type ClientTransportHandler,
  type HeaderList,
  type StreamEnd,
  type StreamHandler,
  type TransportStream,
} from "../../../packages/rpc/src/transport.ts";
import { ClientConnection } from "../../../packages/rpc/src/http2/client-connection.ts";
import { MemoryCarrier } from "../../../packages/rpc/src/http2/testing/machines.ts";
import { http2Frames } from "../grammar.ts";
import { Random } from "../random.ts";
import { serverRecordings } from "../recordings.ts";
import type { Input, Target } from "../target.ts";
import { frameExtras } from "./frame-extras.ts";
import { judgeSent } from "./legal-frames.ts";
import { chooseLimits, endConnection, flushAll, machineParts, sentBytesMax } from "./machine.ts";
import { cutEitherWay, type Outcome } from "./cut-either-way.ts";

const STREAMS = 8;
const CREDIT_BYTES = 512;
const REQUEST = new HeaderBlock([":method", "POST", ":scheme", "http", ":path", "/S/M", ":authority", "test"]);
const BODY = Buffer.from("a request that is short");

type Manner = "wait" | "upload" | "cancel" | "again" | "drain";
const MANNERS: readonly Manner[] = ["wait", "wait", "upload", "upload", "cancel", "again", "drain"];

/** Waits for the answer to one request. */
class Asker implements StreamHandler {
  stream: TransportStream | undefined = undefined;
  ends = 0;
  readonly manner: Manner;
  readonly #askers: Askers;
  readonly #events: string[] = [];
  readonly #body: Buffer[] = [];
  #received = 0;
  #credited = 0;
  #hasHeaders = false;

  constructor(askers: Askers, manner: Manner) {
    this.#askers = askers;
    this.manner = manner;
  }

  get story(): string {
    return `${this.manner}: ${this.#events.join("; ")}; ${Buffer.concat(this.#body).toString("hex")}`;
  }

  onHeaders(headers: HeaderList, endStream: boolean): void {
    if (this.#hasHeaders) throw new Error("a second response");
    this.#hasHeaders = true;
    this.#hear(`headers ${headers.fields.join("|")}${endStream ? ", end" : ""}`);
    if (this.manner === "cancel") this.stream?.reset(8);
    if (this.manner === "again") this.#askers.askMore();
    if (this.manner === "drain") this.stream?.connection.drain();
  }

  onData(buffer: Buffer, start: number, end: number, endStream: boolean): void {
    if (!this.#hasHeaders) throw new Error("data before headers");
    if (this.ends > 0) throw new Error("data after the end");
    this.#received += end - start;
    this.#body.push(buffer.subarray(start, end));
    for (; this.#received - this.#credited >= CREDIT_BYTES; this.#credited += CREDIT_BYTES) {
      this.stream?.consume(CREDIT_BYTES);
    }
    if (endStream) this.#hear("end");
  }

  onTrailers(trailers: HeaderList): void {
    if (!this.#hasHeaders) throw new Error("trailers before headers");
    this.#hear(`trailers ${trailers.fields.join("|")}`);
  }

  onWritable(): void {
    if (this.ends > 0) throw new Error("writable after the end");
  }

  onClose(end: StreamEnd): void {
    this.ends += 1;
    this.#hear(`closed by ${end.by} ${end.code} ${end.reason}`);
    // T3: nothing of this may have an effect any more.
    this.stream?.write(BODY);
    this.stream?.consume(1_000_000);
    this.stream?.reset(2);
    if (this.manner === "again") this.#askers.askMore();
  }

  #hear(event: string): void {
    this.#events.push(event);
  }
}

/** Asks when there are streams to be had. */
class Askers implements ClientTransportHandler {
  readonly all: Asker[] = [];
  connection: ClientConnection | undefined = undefined;
  closes = 0;
  readonly #random: Random;
  #wanted = STREAMS;

  constructor(random: Random) {
    this.#random = random;
  }

  askMore(): void {
    if (this.all.length >= 3 * STREAMS) return;
    this.#wanted += 1;
    this.onStreamsAvailable();
  }

  onOpen(): void {
    this.onStreamsAvailable();
  }

  onStreamsAvailable(): void {
    const { connection } = this;
    while (this.#wanted > 0 && connection !== undefined && connection.streamsAvailable > 0) {
      this.#wanted -= 1;
      const asker = new Asker(this, this.#random.pick(MANNERS));
      this.all.push(asker);
      const isUpload = asker.manner === "upload";
      const stream = connection.open(REQUEST, asker, { endStream: !isUpload });
      asker.stream = stream;
      if (!isUpload) continue;
      stream.write(BODY);
      stream.end();
    }
  }

  onDraining(): void {
    if (this.connection?.streamsAvailable !== 0) throw new Error("streams to be had of a connection that drains");
  }

  onConnectionClose(): void {
    this.closes += 1;
  }
}

function play(pieces: readonly Buffer[], { bytes, salt }: Input, flushesBetween: boolean): Outcome {
  const random = new Random(salt);
  const carrier = new MemoryCarrier();
  const askers = new Askers(random);
  const parts = machineParts(chooseLimits(random));
  const connection = new ClientConnection(carrier, askers, parts.options);
  askers.connection = connection;
  for (const piece of pieces) {
    connection.receive(piece, 0);
    if (flushesBetween) flushAll(connection, carrier);
  }
  flushAll(connection, carrier);
  const sent = carrier.take();
  const heard = judgeSent(sent, bytes, "client"); // V1
  if (sent.length - heard.dataFrameBytes > sentBytesMax(bytes.length))
    throw new Error(`${sent.length} bytes for an input of ${bytes.length}`);
  endConnection(connection, parts);
  for (const asker of askers.all) if (asker.ends !== 1) throw new Error(`a stream ended ${asker.ends} times`); // V4
  if (askers.closes !== 1) throw new Error(`the connection ended ${askers.closes} times`);
  return { sent, stories: askers.all.map((asker) => asker.story).join("\n") };
}

export const http2Client: Target = {
  name: "http2-client",
  about: "HTTP/2's client role: a server's frames, streams opened from within callbacks",
  weight: 10,
  open: async () => ({
    grammar: http2Frames,
    corpus: await serverRecordings(),
    extras: frameExtras,
    run: cutEitherWay(play),
  }),
};
