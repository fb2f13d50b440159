// Many followers, few producers: how many deliveries a second arrive. A producer appends entries one by one, each as
// a message of its own; what the followers receive is counted on their side of the sockets.

import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  LogEntrySchema,
  LogStreamRequestSchema,
  WriteLogStreamRequestSchema,
  WriteLogStreamResponseSchema,
} from "@sluice/api";
import { Answers } from "./answers.ts";
import { carryOut, type Pause } from "./client-process.ts";
import { MessageCounters, MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

/** "acknowledged": the server's answer to its entry before. "delivered": that all followers have the entry before. */
export type FollowPace = "acknowledged" | "delivered";

export interface FollowTask {
  readonly address: string;
  readonly connections: number;
  readonly followersPerConnection: number;
  /** Entries to append, after a pause at "open": then all followers follow, and nothing has come yet. May be 0. */
  readonly entries: number;
  /** Each has a connection of its own, and appends the entries one by one, in turn with the others. */
  readonly producers: number;
  /** What a producer waits for before it appends its next entry. */
  readonly pace: FollowPace;
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
  readonly #reader = new MessageReader();
  #connection: WireConnection | undefined;
  appended = 0;
  acknowledged = 0;
  onProgress: () => void = () => {};

  open(connection: WireConnection, address: string): void {
    this.#connection = connection;
    const fields = requestFields("/sluice.logs.v1.LogService/WriteLogStream", address, "plain", 0);
    connection.write(frame(frameType.headers, flag.endHeaders, 1, new HeaderEncoder().encode(fields)));
  }

  append(message: Buffer): void {
    this.appended++;
    this.#connection?.send(1, dataFrames(1, message, { endStream: false }));
  }

  onData(_streamId: number, buffer: Buffer, start: number, end: number): void {
    for (const message of this.#reader.take(buffer.subarray(start, end))) {
      const { acknowledged, rejected } = fromBinary(WriteLogStreamResponseSchema, message);
      if (rejected[0] !== undefined) throw new Error(`Entry ${rejected[0].index} was rejected: ${rejected[0].text}`);
      this.acknowledged = Number(acknowledged);
    }
  }

  onHeaders(): void {}
  onEnd(): void {
    throw new Error("The server ended the stream of appends");
  }

  onReadEnd(): void {
    this.onProgress();
  }
}

async function runFollow(task: FollowTask, pause: Pause): Promise<FollowOutcome> {
  const groups = Array.from({ length: task.connections }, () => new Followers(task.followersPerConnection));
  const connections = await Promise.all(groups.map((group) => WireConnection.open(task.address, group)));
  const entries = new MessageReader().take(readFileSync(task.entriesFile));
  const producers = Array.from({ length: task.producers }, () => new Producer());
  const writing = await Promise.all(producers.map((producer) => WireConnection.open(task.address, producer)));
  const all = [...connections, ...writing];
  const failure = Promise.race(all.map((connection) => connection.failure));

  await Promise.race([openAll(groups, connections, task), failure]);
  await pause("open");
  for (const [index, connection] of writing.entries()) producers[index]?.open(connection, task.address);
  const seconds = await Promise.race([deliver(groups, producers, entries.map(appendMessage), task), failure]);
  for (const connection of all) connection.close();
  const texts = entries.map((entry) => fromBinary(LogEntrySchema, entry).message);
  verify(groups, texts, task);
  return { deliveries: groups.reduce((sum, group) => sum + group.deliveries, 0), seconds };
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

function appendMessage(entry: Buffer): Buffer {
  const request = create(WriteLogStreamRequestSchema, { entries: [fromBinary(LogEntrySchema, entry)] });
  return grpcFrame(toBinary(WriteLogStreamRequestSchema, request));
}

/** Appends the entries; returns the seconds until the last follower had the last one. */
async function deliver(
  groups: readonly Followers[],
  producers: readonly Producer[],
  messages: readonly Buffer[],
  { pace, entries, ...task }: FollowTask,
): Promise<number> {
  const followers = task.connections * task.followersPerConnection;
  const delivered = (): number => groups.reduce((sum, group) => sum + group.deliveries, 0);
  let appended = 0;
  const start = performance.now();
  await new Promise<void>((resolve) => {
    const advance = (): void => {
      const arrived = delivered();
      if (arrived === entries * followers) resolve();
      for (const producer of producers) {
        const mayAppend =
          pace === "acknowledged" ? producer.acknowledged === producer.appended : appended * followers === arrived;
        if (!mayAppend || appended === entries) continue;
        producer.append(messages[appended++ % messages.length] ?? Buffer.alloc(0));
      }
    };
    for (const producer of producers) producer.onProgress = advance;
    for (const group of groups) group.onProgress = advance;
    advance();
  });
  return (performance.now() - start) / 1000;
}

/** Every follower has every entry, and the first one of each connection has the right ones (in order, from one producer). */
function verify(groups: readonly Followers[], appended: readonly string[], task: FollowTask): void {
  const inOrder = (texts: string[]): string[] => (task.producers === 1 ? texts : texts.toSorted());
  const expected = inOrder(Array.from({ length: task.entries }, (_, i) => appended[i % appended.length] ?? ""));
  for (const { counters, firstBody } of groups) {
    const messages = new MessageReader().take(Buffer.concat(firstBody));
    const received = inOrder(messages.map((message) => fromBinary(LogEntrySchema, message).message));
    const wrong = expected.findIndex((text, i) => text !== received[i]);
    if (wrong >= 0) throw new Error(`Delivery ${wrong} is another entry: ${received[wrong]}`);
    const isComplete = counters.messages.every((count) => count === task.entries);
    const isEqual = counters.bytes.every((bytes) => bytes === counters.bytes[0]);
    if (!isComplete || !isEqual)
      throw new Error(`A follower does not have all of ${task.entries} entries, byte for byte`);
  }
}

await carryOut(runFollow);
