// What searches of a large log cost others: latency of unary calls, and how long a new entry takes to those who follow,
// while so many readers search.

import { create, toBinary } from "@bufbuild/protobuf";
import {
  ListApplicationsRequestSchema,
  LogEntrySchema,
  LogStreamRequestSchema,
  WriteLogStreamRequestSchema,
} from "@sluice/api";
import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { MessageCounters } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { summarizeLatencies, type Latencies } from "./percentiles.ts";
import { requestFields } from "./request-headers.ts";

export interface InterferenceTask {
  readonly address: string;
  /** Each searches all of the log for this, again and again, on a connection of its own. */
  readonly searchers: number;
  readonly filters: readonly string[];
  readonly followers: number;
  /** Calls, one after the other, each with an entry that is written at the same time. */
  readonly rounds: number;
}

export interface InterferenceOutcome {
  readonly calls: Latencies;
  /** From the sending of an entry until the last follower has it: it is durable before. */
  readonly deliveries: Latencies;
  /** Searches that came to the end of the log meanwhile, and how long they took together. */
  readonly searches: number;
  readonly seconds: number;
}

const service = "/sluice.logs.v1.LogService";
/** Between two rounds, so that calls and entries meet every moment of a search. */
const pauseMs = 5;

/** Streams of one connection, one request each. */
class Line implements WireHandler {
  readonly answers = new Answers();
  connection: WireConnection | undefined;
  opened = 0;
  onOpened: () => void = () => {};
  onBytes: (streamId: number, buffer: Buffer, start: number, end: number) => void = () => {};
  onEnded: () => void = () => {};
  readonly #address: string;
  readonly #encoder = new HeaderEncoder();
  #nextStream = 1;

  constructor(address: string) {
    this.#address = address;
  }

  async connect(): Promise<WireConnection> {
    this.connection = await WireConnection.open(this.#address, this);
    return this.connection;
  }

  begin(method: string, request: Uint8Array, { endStream } = { endStream: true }): number {
    const streamId = this.#nextStream;
    this.#nextStream += 2;
    const block = this.#encoder.encode(requestFields(`${service}/${method}`, this.#address, "plain", 0));
    this.connection?.write(frame(frameType.headers, flag.endHeaders, streamId, block));
    this.send(streamId, request, { endStream });
    return streamId;
  }

  send(streamId: number, request: Uint8Array, { endStream }: { endStream: boolean }): void {
    this.connection?.send(streamId, dataFrames(streamId, grpcFrame(request), { endStream }));
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    this.onBytes(streamId, buffer, start, end);
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.answers.count(block);
    this.opened++;
    this.onOpened();
  }

  onEnd(): void {
    this.onEnded();
  }

  onReadEnd(): void {}
}

async function runInterference(task: InterferenceTask): Promise<InterferenceOutcome> {
  const line = (): Line => new Line(task.address);
  const [calls, follows, writes] = [line(), line(), line()];
  const searchers = Array.from({ length: task.searchers }, line);
  const connections = await Promise.all([calls, follows, writes, ...searchers].map((each) => each.connect()));
  const failure = Promise.race(connections.map((connection) => connection.failure));

  const application = "interference";
  const follow = { application, follow: true, tailLines: 0n, controlFrames: false };
  await Promise.race([failure, openFollows(follows, task.followers, encodeQuery(follow))]);
  const query = encodeQuery({ filters: [...task.filters], controlFrames: false });
  const searching = searchers.map((searcher) => searchOnAndOn(searcher, query));
  const entry = create(LogEntrySchema, { application, level: "INFO", message: "still there" });
  const write = toBinary(WriteLogStreamRequestSchema, create(WriteLogStreamRequestSchema, { entries: [entry] }));
  const writeStream = writes.begin("WriteLogStream", new Uint8Array(), { endStream: false });

  const start = performance.now();
  const callMs = new Float64Array(task.rounds);
  const deliveryMs = new Float64Array(task.rounds);
  const counters = new MessageCounters(task.followers);
  for (let round = 0; round < task.rounds; round++) {
    const delivered = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    let missing = task.followers;
    const began = performance.now();
    follows.onBytes = (streamId, buffer, from, to) => {
      missing -= counters.take(streamId >> 1, buffer, from, to);
      if (missing > 0) return;
      deliveryMs[round] = performance.now() - began;
      delivered.resolve();
    };
    calls.onEnded = () => {
      callMs[round] = performance.now() - began;
      answered.resolve();
    };
    writes.send(writeStream, write, { endStream: false });
    calls.begin("ListApplications", toBinary(ListApplicationsRequestSchema, create(ListApplicationsRequestSchema)));
    await Promise.race([failure, Promise.all([delivered.promise, answered.promise])]);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  const seconds = (performance.now() - start) / 1000;
  for (const connection of connections) connection.close();
  calls.answers.verify(task.rounds);
  const searches = searching.reduce((sum, { ended }) => sum + ended, 0);
  return { calls: summarizeLatencies(callMs), deliveries: summarizeLatencies(deliveryMs), searches, seconds };
}

/** Searches, and when the log has ended, searches again. */
function searchOnAndOn(line: Line, query: Uint8Array): { ended: number } {
  const searching = { ended: 0 };
  line.onEnded = () => {
    searching.ended++;
    line.begin("StreamLogs", query);
  };
  line.begin("StreamLogs", query);
  return searching;
}

function encodeQuery(query: {
  application?: string;
  filters?: string[];
  follow?: boolean;
  tailLines?: bigint;
  controlFrames: boolean;
}): Uint8Array {
  return toBinary(LogStreamRequestSchema, create(LogStreamRequestSchema, query));
}

/** Resolves when every follower's response headers are there: then it follows. */
async function openFollows(line: Line, followers: number, query: Uint8Array): Promise<void> {
  await new Promise<void>((resolve) => {
    line.onOpened = () => {
      if (line.opened === followers) resolve();
    };
    for (let i = 0; i < followers; i++) line.begin("StreamLogs", query);
  });
}

await carryOut(runInterference);
