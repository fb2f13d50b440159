// Many readers of history at once, each at a place of its own.

import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { MessageCounters } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface ReadManyTask {
  readonly address: string;
  readonly path: string;
  /** A request for each reader, as a gRPC frame in base64. */
  readonly requests: readonly string[];
  readonly readersPerConnection: number;
  /** What the server may send on a stream before it hears that it was read. */
  readonly streamWindowBytes: number;
}

export interface ReadManyOutcome {
  readonly entries: number;
  readonly seconds: number;
}

class Readers implements WireHandler {
  readonly answers = new Answers();
  readonly counters: MessageCounters;
  readonly ended = Promise.withResolvers<void>();
  readonly #owed: Float64Array;
  readonly #windowBytes: number;
  #connection: WireConnection | undefined;
  #left: number;

  constructor(readers: number, windowBytes: number) {
    this.counters = new MessageCounters(readers);
    this.#owed = new Float64Array(readers);
    this.#left = readers;
    this.#windowBytes = windowBytes;
  }

  attach(connection: WireConnection): void {
    this.#connection = connection;
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    const reader = (streamId - 1) / 2;
    this.counters.take(reader, buffer, start, end);
    this.#owed[reader]! += end - start;
    // As clients do: half a window at a time.
    if (this.#owed[reader]! * 2 < this.#windowBytes) return;
    this.#connection?.widen(streamId, this.#owed[reader]!);
    this.#owed[reader] = 0;
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.answers.count(block);
  }

  onEnd(): void {
    this.#left--;
    if (this.#left === 0) this.ended.resolve();
  }

  onReadEnd(): void {}
}

async function readMany(task: ReadManyTask): Promise<ReadManyOutcome> {
  const start = performance.now();
  const counts: Promise<number>[] = [];
  for (let from = 0; from < task.requests.length; from += task.readersPerConnection) {
    counts.push(readOn(task, task.requests.slice(from, from + task.readersPerConnection)));
  }
  const entries = (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  return { entries, seconds: (performance.now() - start) / 1000 };
}

/** All readers of one connection; how many entries they got. */
async function readOn(task: ReadManyTask, requests: readonly string[]): Promise<number> {
  const readers = new Readers(requests.length, task.streamWindowBytes);
  const connection = await WireConnection.open(task.address, readers, task.streamWindowBytes);
  readers.attach(connection);
  const headers = new HeaderEncoder();
  requests.forEach((request, i) => {
    const block = headers.encode(requestFields(task.path, task.address, "plain", 0));
    connection.write(frame(frameType.headers, flag.endHeaders, 2 * i + 1, block));
    connection.send(2 * i + 1, dataFrames(2 * i + 1, Buffer.from(request, "base64"), { endStream: true }));
  });
  await Promise.race([readers.ended.promise, connection.failure]);
  connection.close();
  readers.answers.verify(requests.length);
  return readers.counters.messages.reduce((sum, count) => sum + count, 0);
}

await carryOut(readMany);
