// The gRPC client on one connection: a server's frames in, eight calls of all kinds that each have to end.
//
// L1. Every call settles, with a message or an RpcError, whatever the server sent, at the latest when the connection is gone.
// L2. The same bytes cut anywhere else bring every call the same end.
// L3. No deadline is left armed, and what was sent is legal HTTP/2.
import { RpcError, type Channel } from "@sluice/rpc";
import type { CallableChannel } from "../../../packages/rpc/src/grpc/channel.ts";
import type { ClientCall } from "../../../packages/rpc/src/grpc/client-call.ts";
import { DeadlineWheel } from "../../../packages/rpc/src/grpc/deadline.ts";
import { Code } from "../../../packages/rpc/src/grpc/status.ts";
import { ClientConnection } from "../../../packages/rpc/src/http2/client-connection.ts";
import { MemoryCarrier } from "../../../packages/rpc/src/http2/testing/machines.ts";
import { DEFAULT_GRPC_LIMITS } from "../../../packages/rpc/src/limits.ts";
import { ManualClock } from "../../../packages/rpc/src/testing/manual-clock.ts";
import type { ClientTransportHandler } from "../../../packages/rpc/src/transport.ts";
import { makeCalls, type Result } from "../calls.ts";
import { http2Frames } from "../grammar.ts";
import { Random } from "../random.ts";
import { serverRecordings } from "../recordings.ts";
import type { Input, Target } from "../target.ts";
import { frameExtras } from "./frame-extras.ts";
import { judgeSent } from "./legal-frames.ts";
import { chooseLimits, endConnection, flushAll, machineParts } from "./machine.ts";
import { piecesOf } from "./pieces.ts";
import { poolIsDone, settle } from "./settled.ts";

/** A channel whose one connection is a machine in memory. */
class MachineChannel implements CallableChannel, ClientTransportHandler {
  readonly address = "memory";
  readonly codecs = undefined;
  readonly clock = new ManualClock();
  readonly wheel = new DeadlineWheel(this.clock);
  readonly limits;
  connection: ClientConnection | undefined = undefined;
  openCalls = 0;
  readonly #waiting = new Set<ClientCall>();
  #isClosed = false;

  constructor(messageBytesMax: number) {
    this.limits = { ...DEFAULT_GRPC_LIMITS, messageBytesMax };
  }

  get state(): Channel["state"] {
    return this.#isClosed ? "closed" : "ready";
  }

  headerFields(path: string): readonly string[] {
    return [":method", "POST", ":scheme", "http", ":path", path, ":authority", "test", "te", "trailers"];
  }

  begin(call: ClientCall): void {
    if (call.isEnded) return;
    this.openCalls += 1;
    call.start();
  }

  dispatch(call: ClientCall): void {
    const { connection } = this;
    if (this.#isClosed || connection === undefined || connection.state === "draining") {
      call.fail(new RpcError(Code.UNAVAILABLE, "the connection is gone"));
    } else if (connection.streamsAvailable > 0) call.attach(connection);
    else this.#waiting.add(call);
  }

  onSettled(call: ClientCall): void {
    this.openCalls -= 1;
    this.#waiting.delete(call);
  }

  onOpen(): void {
    this.onStreamsAvailable();
  }

  onStreamsAvailable(): void {
    for (const call of this.#waiting) {
      if (this.connection?.streamsAvailable === 0) return;
      this.#waiting.delete(call);
      this.dispatch(call);
    }
  }

  onDraining(): void {
    this.#failWaiting();
  }

  onConnectionClose(): void {
    this.#isClosed = true;
    this.#failWaiting();
  }

  #failWaiting(): void {
    for (const call of this.#waiting) call.fail(new RpcError(Code.UNAVAILABLE, "the connection is gone"));
  }

  async close(): Promise<void> {
    this.connection?.disconnected("closed");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function play(pieces: readonly Buffer[], { bytes, salt }: Input, flushesBetween: boolean): Promise<Result[]> {
  const random = new Random(salt);
  const parts = machineParts(chooseLimits(random));
  const carrier = new MemoryCarrier();
  const channel = new MachineChannel(random.oneIn(4) ? 40 : DEFAULT_GRPC_LIMITS.messageBytesMax);
  const connection = new ClientConnection(carrier, channel, parts.options);
  channel.connection = connection;
  let results: Result[] | undefined;
  const pending = makeCalls(channel).then((all) => {
    results = all;
  });
  // Request streams are asked for what they have to send.
  await new Promise((resolve) => setImmediate(resolve));
  for (const piece of pieces) {
    connection.receive(piece, 0);
    if (!flushesBetween) continue;
    flushAll(connection, carrier);
    if (random.oneIn(8)) await new Promise((resolve) => setImmediate(resolve));
  }
  for (let turns = 0; turns < 3; turns++) {
    flushAll(connection, carrier);
    await new Promise((resolve) => setImmediate(resolve));
    // A response may be on its way through the decompressor.
    if (channel.openCalls > 0) await poolIsDone();
  }
  judgeSent(carrier.take(), bytes, "client"); // L3
  endConnection(connection, parts);
  await settle(
    () => results !== undefined,
    () => `${channel.openCalls} calls`,
  ); // L1
  await pending;
  if (channel.openCalls !== 0 || channel.wheel.size !== 0) {
    throw new Error(`${channel.openCalls} calls and ${channel.wheel.size} deadlines are left`); // L3
  }
  for (const result of results ?? []) {
    const code = /^(\w+) (\S+):/.exec(result);
    const isKnown = code === null || (code[1] === "RpcError" && Number(code[2]) >= 1 && Number(code[2]) <= 16);
    if (!isKnown) throw new Error(`A call ended with ${result}`);
  }
  return results ?? [];
}

async function run(input: Input): Promise<void> {
  const random = new Random(~input.salt);
  const whole = await play([input.bytes], input, false);
  const cut = await play(piecesOf(input.bytes, random), input, false);
  if (whole.join("\n") !== cut.join("\n")) {
    throw new Error(`Cut otherwise, the calls brought\n${cut.join("\n")}\ninstead of\n${whole.join("\n")}`); // L2
  }
  await play(piecesOf(input.bytes, random), input, true);
}

export const grpcClient: Target = {
  name: "grpc-client",
  about: "the gRPC client: calls of all kinds that get a damaged answer",
  weight: 2,
  open: async () => ({ grammar: http2Frames, corpus: await serverRecordings(), extras: frameExtras, run }),
};
