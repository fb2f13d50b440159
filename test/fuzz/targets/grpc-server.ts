// The whole server behind one connection: HTTP/2, gRPC and gRPC-Web, handlers that echo.
//
// G1. Whatever came in, what goes out is legal HTTP/2 and legal gRPC: whole messages, a status of 0 to 16.
// G2. The same bytes cut anywhere else bring every stream the same answer.
// G3. When the connection is gone, nothing of its calls is left: no handler, no deadline, no byte of a message.
// G4. Nothing that a peer sends looks like a fault of a handler.
import { createServer, serve } from "@sluice/rpc";
import { frameLengthAt } from "../../../packages/rpc/src/grpc/frames.ts";
import { MemoryCarrier } from "../../../packages/rpc/src/http2/testing/machines.ts";
import { ServerConnection } from "../../../packages/rpc/src/http2/server-connection.ts";
import { ManualClock } from "../../../packages/rpc/src/testing/manual-clock.ts";
import { createFront } from "../../../packages/rpc/src/web/front.ts";
import { EchoService } from "../../rpc/gen/echo_pb.ts";
import { echoHandlers } from "../echo.ts";
import { http2Frames } from "../grammar.ts";
import { Random } from "../random.ts";
import { clientRecordings } from "../recordings.ts";
import type { Input, Target } from "../target.ts";
import { frameExtras } from "./frame-extras.ts";
import { type Heard, type HeardStream, judgeSent } from "./legal-frames.ts";
import { chooseLimits, endConnection, flushAll, machineParts } from "./machine.ts";
import { piecesOf } from "./pieces.ts";
import { poolIsDone, settle } from "./settled.ts";

const CODE_MAX = 16;
const HTTP2_NO_ERROR = 0;
const LIMITS = [{}, { messageBytesMax: 64 }, { heldBytesMax: 40 }];

/** Before and after deadlines, and the time to fetch a status after them. */
const PAUSES_MS = [10, 1000, 70_000];

/** Half of the time the limits of every server. */
function chooseFixture(random: Random): number {
  return random.oneIn(2) ? 0 : random.below(LIMITS.length);
}

/** One server, as it has to be, for any number of connections. */
class Fixture {
  readonly clock = new ManualClock();
  readonly errors: unknown[] = [];
  readonly server;
  readonly front;

  constructor(limits: (typeof LIMITS)[number]) {
    const onError = (error: unknown): void => {
      this.errors.push(error);
    };
    this.server = createServer({
      services: [serve(EchoService, echoHandlers)],
      limits,
      clock: this.clock,
      onError,
    });
    const plain = async (request: { body: AsyncIterable<Uint8Array> }) => {
      let bytes = 0;
      for await (const chunk of request.body) bytes += chunk.length;
      return { status: 200, body: `plain ${bytes}` };
    };
    this.front = createFront(this.server, { origins: ["http://page.example"], handlers: { "/plain": plain }, onError });
  }

  get isIdle(): boolean {
    const { openCalls, runningHandlers, armedDeadlines, heldBytes } = this.server;
    return openCalls === 0 && runningHandlers === 0 && armedDeadlines === 0 && heldBytes === 0;
  }

  describe(): string {
    const { openCalls, runningHandlers, armedDeadlines, heldBytes } = this.server;
    return JSON.stringify({ openCalls, runningHandlers, armedDeadlines, heldBytes });
  }
}

const fixtures = LIMITS.map((limits) => new Fixture(limits));

async function play(pieces: readonly Buffer[], input: Input, flushesBetween: boolean): Promise<Heard> {
  const random = new Random(input.salt);
  const at = chooseFixture(random);
  try {
    return await playOn(fixtures[at]!, pieces, { input, random, flushesBetween });
  } catch (error) {
    // What this input left behind is not to be found again with the next one.
    fixtures[at] = new Fixture(LIMITS[at]!);
    throw error;
  }
}

/** How an input is played. */
interface Play {
  readonly input: Input;
  readonly random: Random;
  readonly flushesBetween: boolean;
}

async function playOn(fixture: Fixture, pieces: readonly Buffer[], play: Play): Promise<Heard> {
  const { input, random, flushesBetween } = play;
  const parts = machineParts(chooseLimits(random));
  const carrier = new MemoryCarrier();
  const connection = new ServerConnection(carrier, fixture.front, parts.options);
  for (const piece of pieces) {
    connection.receive(piece, 0);
    if (!flushesBetween) continue;
    flushAll(connection, carrier);
    if (random.oneIn(8)) await new Promise((resolve) => setImmediate(resolve));
    if (random.oneIn(16)) fixture.clock.advance(random.pick(PAUSES_MS));
  }
  await quiet(connection, carrier, fixture);
  const heard = judgeSent(carrier.take(), input.bytes, "server");
  for (const [id, stream] of heard.streams) judgeAnswer(id, stream);
  endConnection(connection, parts, { mayRun: true });
  await settle(
    () => fixture.isIdle && connection.busyHandlers === 0,
    () => `${fixture.describe()}, busy handlers ${connection.busyHandlers}`,
  ); // G3
  fixture.clock.advance(10);
  if (fixture.errors.length > 0) throw new Error("A handler failed", { cause: fixture.errors.splice(0)[0] }); // G4
  return heard;
}

/** Lets handlers go on until none of them sends anything more. */
async function quiet(connection: ServerConnection, carrier: MemoryCarrier, { server }: Fixture): Promise<void> {
  let idleTurns = 0;
  while (idleTurns < 3) {
    const { sends } = carrier;
    const running = server.runningHandlers;
    flushAll(connection, carrier);
    await new Promise((resolve) => setImmediate(resolve));
    // A handler may be waiting for a message that is being decompressed.
    if (server.runningHandlers > 0) await poolIsDone();
    const isBusy = carrier.sends > sends || server.runningHandlers !== running || carrier.isFlushRequested;
    idleTurns = isBusy ? 0 : idleTurns + 1;
  }
}

function fieldOf(fields: readonly string[] | undefined, name: string): string | undefined {
  const at = fields?.findIndex((text, index) => index % 2 === 0 && text === name) ?? -1;
  return at < 0 ? undefined : fields?.[at + 1];
}

/** G1 */
function judgeAnswer(id: number, { headers, trailers, body, hasEnded, reset }: HeardStream): void {
  if (headers === undefined) return;
  const type = fieldOf(headers, "content-type") ?? "";
  if (!/^application\/grpc(\+|$)/.test(type)) return;
  const status = fieldOf(trailers ?? headers, "grpc-status");
  if (hasEnded && status === undefined) throw new Error(`stream ${id} ended without a status`);
  if (status !== undefined && !(Number(status) <= CODE_MAX)) throw new Error(`stream ${id}: status ${status}`);
  const bytes = Buffer.concat(body);
  let at = 0;
  while (at + 5 <= bytes.length) at += 5 + frameLengthAt(bytes, at);
  if (hasEnded && reset === undefined && at !== bytes.length) throw new Error(`stream ${id}: a torn message`);
}

/**
 * What a caller learns of its call; undefined where that depends on how the bytes were cut. When a stream was reset for
 * the end of its text body, that may come before or after the status that its beginning deserved.
 */
function answerOf(stream: HeardStream | undefined): string | undefined {
  if (stream === undefined) return "nothing";
  const { headers, trailers, body, reset } = stream;
  if (reset !== undefined && reset !== HTTP2_NO_ERROR) return undefined;
  // Whether the headers had left when a status came is a matter of turns: it may be in either block.
  const learned = ["grpc-status", "grpc-message"].map((name) => fieldOf(trailers, name) ?? fieldOf(headers, name));
  // A body of Connect has no length before it: when it is over the limit, nobody knows by how much.
  const text = Buffer.concat(body)
    .toString("latin1")
    .replace(/a message of \d+ bytes/, "a message");
  return JSON.stringify([fieldOf(headers, ":status"), ...learned, text]);
}

async function run(input: Input): Promise<void> {
  const random = new Random(~input.salt);
  const whole = await play([input.bytes], input, false);
  const cut = await play(piecesOf(input.bytes, random), input, false);
  // What is held of an unfinished message depends on where it was cut: so does who has to give way. And a frame for a
  // stream that was answered early ends the connection, for one that was not, the stream.
  const holdsLittle = "heldBytesMax" in LIMITS[chooseFixture(new Random(input.salt))]!;
  const isComparable = !holdsLittle && whole.goaway === cut.goaway;
  for (const [id, stream] of isComparable ? whole.streams : []) {
    const expected = answerOf(stream);
    const answer = answerOf(cut.streams.get(id));
    if (expected === undefined || answer === undefined || answer === expected) continue;
    throw new Error(`Cut otherwise, stream ${id} got ${answer}, not ${expected}`); // G2
  }
  await play(piecesOf(input.bytes, random), input, true);
}

export const grpcServer: Target = {
  name: "grpc-server",
  about: "the gRPC and gRPC-Web server on HTTP/2, with handlers that echo",
  weight: 3,
  open: async () => ({ grammar: http2Frames, corpus: await clientRecordings(), extras: frameExtras, run }),
};
