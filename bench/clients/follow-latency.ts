// Many followers, and entries at a steady rate: how long after its acknowledgement an entry is with each of them.

import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  LogEntrySchema,
  LogStreamRequestSchema,
  WriteLogStreamRequestSchema,
  WriteLogStreamResponseSchema,
} from "@sluice/api";
import { carryOut } from "./client-process.ts";
import { DeliveryTimes } from "./delivery-times.ts";
import { MessageCounters, MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface FollowLatencyTask {
  readonly address: string;
  readonly connections: number;
  readonly followersPerConnection: number;
  readonly entriesPerSecond: number;
  readonly seconds: number;
  readonly entriesFile: string;
}

export interface FollowLatencyOutcome {
  readonly deliveries: number;
  /** From an entry's acknowledgement to its delivery, 0 where it was delivered before; and from its append. */
  readonly sinceAckP99Ms: number;
  readonly sinceAppendP99Ms: number;
  /** How late the producer was at worst: a client that cannot keep up measures itself. */
  readonly producerLateMs: number;
}

/** All followers of one connection. */
class Followers implements WireHandler {
  readonly #counters: MessageCounters;
  readonly #times: DeliveryTimes;
  openStreams = 0;
  onProgress: () => void = () => {};

  constructor(count: number, times: DeliveryTimes) {
    this.#counters = new MessageCounters(count);
    this.#times = times;
  }

  open(connection: WireConnection, address: string): void {
    const encoder = new HeaderEncoder();
    const request = create(LogStreamRequestSchema, { follow: true, tailLines: 0n });
    const body = grpcFrame(toBinary(LogStreamRequestSchema, request));
    for (let follower = 0; follower < this.#counters.messages.length; follower++) {
      const streamId = follower * 2 + 1;
      const block = encoder.encode(requestFields("/LogService/StreamLogs", address, "plain", 0));
      connection.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      connection.send(streamId, dataFrames(streamId, body, { endStream: true }));
    }
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    const follower = streamId >> 1;
    const before = this.#counters.messages[follower] ?? 0;
    const came = this.#counters.take(follower, buffer, start, end);
    if (came > 0) this.#times.deliver(before, before + came, performance.now());
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
  readonly #reader = new MessageReader();
  readonly #times: DeliveryTimes;
  #connection: WireConnection | undefined;

  constructor(times: DeliveryTimes) {
    this.#times = times;
  }

  open(connection: WireConnection, address: string): void {
    this.#connection = connection;
    const fields = requestFields("/sluice.logs.v1.LogService/WriteLogStream", address, "plain", 0);
    connection.write(frame(frameType.headers, flag.endHeaders, 1, new HeaderEncoder().encode(fields)));
  }

  append(message: Buffer): void {
    this.#times.appended.push(performance.now());
    this.#connection?.send(1, dataFrames(1, message, { endStream: false }));
  }

  onData(_streamId: number, buffer: Buffer, start: number, end: number): void {
    for (const message of this.#reader.take(buffer.subarray(start, end))) {
      const { acknowledged, rejected } = fromBinary(WriteLogStreamResponseSchema, message);
      if (rejected[0] !== undefined) throw new Error(`Entry ${rejected[0].index} was rejected: ${rejected[0].text}`);
      const nowMs = performance.now();
      while (this.#times.acknowledged.length < Number(acknowledged)) this.#times.acknowledged.push(nowMs);
    }
  }

  onHeaders(): void {}
  onEnd(): void {
    throw new Error("The server ended the stream of appends");
  }
  onReadEnd(): void {}
}

async function run(task: FollowLatencyTask): Promise<FollowLatencyOutcome> {
  const times = new DeliveryTimes();
  const groups = Array.from({ length: task.connections }, () => new Followers(task.followersPerConnection, times));
  const connections = await Promise.all(groups.map((group) => WireConnection.open(task.address, group)));
  const producer = new Producer(times);
  const writing = await WireConnection.open(task.address, producer);
  const all = [...connections, writing];
  const failure = Promise.race(all.map((connection) => connection.failure));
  const work = async (): Promise<number> => {
    await openAll(groups, connections, task);
    producer.open(writing, task.address);
    return await appendSteadily(producer, times, task);
  };
  const producerLateMs = await Promise.race([work(), failure]);
  for (const connection of all) connection.close();
  return {
    deliveries: times.deliveries,
    sinceAckP99Ms: times.sinceAck.percentile(0.99),
    sinceAppendP99Ms: times.sinceAppend.percentile(0.99),
    producerLateMs,
  };
}

/** Resolves when every stream's response headers are there: then it follows. */
async function openAll(
  groups: readonly Followers[],
  connections: readonly WireConnection[],
  task: FollowLatencyTask,
): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const [index, group] of groups.entries()) {
      group.onProgress = () => {
        if (groups.every(({ openStreams }) => openStreams === task.followersPerConnection)) resolve();
      };
      group.open(connections[index]!, task.address);
    }
  });
}

/** Appends at the rate; answers when all followers have all entries, with how late an append was at worst, ms. */
async function appendSteadily(producer: Producer, times: DeliveryTimes, task: FollowLatencyTask): Promise<number> {
  const messages = new MessageReader().take(readFileSync(task.entriesFile)).map(appendMessage);
  const entries = task.entriesPerSecond * task.seconds;
  const followers = task.connections * task.followersPerConnection;
  const startMs = performance.now();
  let lateMs = 0;
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const nowMs = performance.now();
      for (;;) {
        const dueMs = startMs + (times.appended.length * 1000) / task.entriesPerSecond;
        if (dueMs > nowMs || times.appended.length === entries) break;
        lateMs = Math.max(lateMs, nowMs - dueMs);
        producer.append(messages[times.appended.length % messages.length]!);
      }
      if (times.deliveries < entries * followers) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
  return lateMs;
}

function appendMessage(entry: Buffer): Buffer {
  const request = create(WriteLogStreamRequestSchema, { entries: [fromBinary(LogEntrySchema, entry)] });
  return grpcFrame(toBinary(WriteLogStreamRequestSchema, request));
}

await carryOut(run);
