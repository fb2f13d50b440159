// Many followers, one producer: how many deliveries a second arrive. The producer appends entries one by one, each as
// a message of its own; what the followers receive is counted on their side of the sockets.

import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, LogStreamRequestSchema, WriteLogStreamRequestSchema } from "@sluice/api";
import { Answers } from "./answers.ts";
import { carryOut, type Pause } from "./client-process.ts";
import { MessageCounters, MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface FollowTask {
  readonly address: string;
  readonly connections: number;
  readonly followersPerConnection: number;
  /** Entries to append, after a pause at "open": then all followers follow, and nothing has come yet. May be 0. */
  readonly entries: number;
  /** Entries that may be under way to the followers. 1: the next is appended when all have the one before. */
  readonly entriesUnderWay: number;
  readonly entriesFile: string;
}

export interface FollowOutcome {
  readonly deliveries: number;
  /** From the first append until the last follower had the last entry. */
  readonly seconds: number;
}

/** All followers of one connection. */
class Followers implements WireHandler {
  readonly counters: MessageCounters;
  /** The first follower's entries, to be looked at afterwards. */
  readonly firstBody: Buffer[] = [];
  openStreams = 0;
  deliveries = 0;
  onProgress: () => void = () => {};

  constructor(followers: number) {
    this.counters = new MessageCounters(followers);
  }

  open(connection: WireConnection, address: string): void {
    const encoder = new HeaderEncoder();
    const request = create(LogStreamRequestSchema, { follow: true, tailLines: 0n });
    const body = grpcFrame(toBinary(LogStreamRequestSchema, request));
    for (let follower = 0; follower < this.counters.messages.length; follower++) {
      const streamId = follower * 2 + 1;
      const block = encoder.encode(requestFields("/LogService/StreamLogs", address, "plain", 0));
      connection.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      connection.send(streamId, dataFrames(streamId, body, { endStream: true }));
    }
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    const follower = streamId >> 1;
    if (follower === 0) this.firstBody.push(Buffer.from(buffer.subarray(start, end)));
    this.deliveries += this.counters.take(follower, buffer, start, end);
  }

  onHeaders(): void {
    this.openStreams++;
  }

  onEnd(streamId: number): void {
    throw new Error(`The server ended the follow on stream ${streamId}`);
  }

  onReadEnd(): void {
    this.onProgress();
  }
}

/** Appends entries on a connection of its own, one message for each. */
class Producer implements WireHandler {
  readonly answers = new Answers();
  readonly #messages: readonly Buffer[];
  #connection: WireConnection | undefined;
  #appended = 0;

  constructor(entriesFile: string) {
    const entries = new MessageReader().take(readFileSync(entriesFile));
    this.#messages = entries.map((entry) => {
      const empty = create(WriteLogStreamRequestSchema, { entries: [fromBinary(LogEntrySchema, entry)] });
      return grpcFrame(toBinary(WriteLogStreamRequestSchema, empty));
    });
  }

  open(connection: WireConnection, address: string): void {
    this.#connection = connection;
    const fields = requestFields("/sluice.logs.v1.LogService/WriteLogStream", address, "plain", 0);
    connection.write(frame(frameType.headers, flag.endHeaders, 1, new HeaderEncoder().encode(fields)));
  }

  append(): void {
    const message = this.#messages[this.#appended++ % this.#messages.length];
    if (message !== undefined) this.#connection?.send(1, dataFrames(1, message, { endStream: false }));
  }

  onData(): void {}
  onHeaders(): void {}
  onEnd(): void {
    throw new Error("The server ended the stream of appends");
  }
  onReadEnd(): void {}
}

async function runFollow(task: FollowTask, pause: Pause): Promise<FollowOutcome> {
  const groups = Array.from({ length: task.connections }, () => new Followers(task.followersPerConnection));
  const connections = await Promise.all(groups.map((group) => WireConnection.open(task.address, group)));
  const producer = new Producer(task.entriesFile);
  const producerConnection = await WireConnection.open(task.address, producer);
  const all = [...connections, producerConnection];
  const failure = Promise.race(all.map((connection) => connection.failure));

  await Promise.race([openAll(groups, connections, task), failure]);
  await pause("open");
  producer.open(producerConnection, task.address);
  const seconds = await Promise.race([deliver(groups, producer, task), failure]);
  for (const connection of all) connection.close();
  verify(groups, task);
  return { deliveries: groups.reduce((sum, group) => sum + group.deliveries, 0), seconds };
}

function followersOf(task: FollowTask): number {
  return task.connections * task.followersPerConnection;
}

/** Resolves when every stream's response headers are there: then it follows. */
async function openAll(
  groups: readonly Followers[],
  connections: readonly WireConnection[],
  task: FollowTask,
): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const [index, group] of groups.entries()) {
      group.onProgress = () => {
        if (groups.every(({ openStreams }) => openStreams === task.followersPerConnection)) resolve();
      };
      const connection = connections[index];
      if (connection !== undefined) group.open(connection, task.address);
    }
  });
}

/** Appends the entries; returns the seconds until the last follower had the last one. */
async function deliver(groups: readonly Followers[], producer: Producer, task: FollowTask): Promise<number> {
  const followers = followersOf(task);
  const delivered = (): number => groups.reduce((sum, group) => sum + group.deliveries, 0);
  let appended = 0;
  const start = performance.now();
  await new Promise<void>((resolve) => {
    const advance = (): void => {
      const arrived = delivered();
      if (arrived === task.entries * followers) resolve();
      while (appended < task.entries && appended * followers - arrived <= (task.entriesUnderWay - 1) * followers) {
        producer.append();
        appended++;
      }
    };
    for (const group of groups) group.onProgress = advance;
    advance();
  });
  return (performance.now() - start) / 1000;
}

/** Every follower has every entry, and the first one of each connection has the right ones in the right order. */
function verify(groups: readonly Followers[], task: FollowTask): void {
  const entries = new MessageReader().take(readFileSync(task.entriesFile));
  const expected = entries.map((entry) => fromBinary(LogEntrySchema, entry).message);
  for (const { counters, firstBody } of groups) {
    const received = new MessageReader().take(Buffer.concat(firstBody));
    for (const [index, message] of received.entries()) {
      const text = fromBinary(LogEntrySchema, message).message;
      if (text !== expected[index % expected.length]) throw new Error(`Delivery ${index} is another entry: ${text}`);
    }
    const isComplete = counters.messages.every((messages) => messages === task.entries);
    const isEqual = counters.bytes.every((bytes) => bytes === counters.bytes[0]);
    if (!isComplete || !isEqual)
      throw new Error(`A follower does not have all of ${task.entries} entries, byte for byte`);
  }
}

await carryOut(runFollow);
