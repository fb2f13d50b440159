// Latency of small calls, one after the other, while a bulk stream runs: on the same connection or on another one.

import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { echoRequest, repeatRequest } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, WireConnection, type WireHandler } from "./http2-wire.ts";
import { summarizeLatencies, type Latencies } from "./percentiles.ts";
import { requestFields } from "./request-headers.ts";

export interface BesideBulkTask {
  readonly address: string;
  /** The calls are made on the connection of the bulk stream. */
  readonly isTogether: boolean;
  readonly calls: number;
  readonly messageBytes: number;
  /** Of each message of the bulk stream. */
  readonly bulkMessageBytes: number;
  /** What the server may send on a stream before it hears that it was read. */
  readonly streamWindowBytes: number;
}

export interface BesideBulkOutcome {
  readonly latencies: Latencies;
  /** Of the bulk stream, while the calls were made. */
  readonly bulkBytesPerSecond: number;
}

/** More than any run takes: the bulk stream ends with its connection. */
const bulkMessages = 2 ** 30;
/** The bulk stream runs when so much of it has come. */
const warmBytes = 2 ** 23;
const bulkStreamId = 1;

/** The bulk stream on its connection, and calls on this one or another. */
class Line implements WireHandler {
  readonly answers = new Answers();
  readonly isWarm = Promise.withResolvers<void>();
  bulkBytes = 0;
  onAnswered: () => void = () => {};
  readonly #hasBulk: boolean;
  readonly #windowBytes: number;
  #connection: WireConnection | undefined;
  #owedBytes = 0;

  constructor(hasBulk: boolean, windowBytes: number) {
    this.#hasBulk = hasBulk;
    this.#windowBytes = windowBytes;
  }

  attach(connection: WireConnection): void {
    this.#connection = connection;
  }

  onData(streamId: number, _buffer: Buffer, start: number, end: number): void {
    if (!this.#hasBulk || streamId !== bulkStreamId) return;
    this.bulkBytes += end - start;
    this.#owedBytes += end - start;
    // As clients do: half a window at a time.
    if (this.#owedBytes * 2 >= this.#windowBytes) {
      this.#connection?.widen(bulkStreamId, this.#owedBytes);
      this.#owedBytes = 0;
    }
    if (this.bulkBytes >= warmBytes) this.isWarm.resolve();
  }

  onHeaders(streamId: number, block: Buffer): void {
    if (!this.#hasBulk || streamId !== bulkStreamId) this.answers.count(block);
  }

  onEnd(streamId: number): void {
    if (this.#hasBulk && streamId === bulkStreamId) throw new Error("The server ended the bulk stream");
    this.onAnswered();
  }

  onReadEnd(): void {}
}

async function runBesideBulk(task: BesideBulkTask): Promise<BesideBulkOutcome> {
  const bulk = new Line(true, task.streamWindowBytes);
  const bulkConnection = await WireConnection.open(task.address, bulk, task.streamWindowBytes);
  bulk.attach(bulkConnection);
  const calls = task.isTogether ? bulk : new Line(false, task.streamWindowBytes);
  const connection = task.isTogether
    ? bulkConnection
    : await WireConnection.open(task.address, calls, task.streamWindowBytes);
  const encoder = new HeaderEncoder();
  const begin = (on: WireConnection, method: string, streamId: number, request: Buffer, headers = encoder): void => {
    const block = headers.encode(requestFields(`/bench.v1.EchoService/${method}`, task.address, "plain", 0));
    on.write(frame(frameType.headers, flag.endHeaders, streamId, block));
    on.send(streamId, dataFrames(streamId, request, { endStream: true }));
  };
  const bulkEncoder = task.isTogether ? encoder : new HeaderEncoder();
  begin(bulkConnection, "Repeat", bulkStreamId, repeatRequest(task.bulkMessageBytes, bulkMessages), bulkEncoder);
  const failure = Promise.race([bulkConnection.failure, connection.failure]);
  await Promise.race([bulk.isWarm.promise, failure]);

  const latencies = new Float64Array(task.calls);
  const request = echoRequest(task.messageBytes);
  const bytesBefore = bulk.bulkBytes;
  const start = performance.now();
  await Promise.race([
    failure,
    new Promise<void>((resolve) => {
      let answered = 0;
      let sentAt = start;
      const call = (): void => {
        sentAt = performance.now();
        begin(connection, "Echo", bulkStreamId + 2 * (answered + 1), request);
      };
      calls.onAnswered = () => {
        latencies[answered++] = performance.now() - sentAt;
        // After the read: what it brought besides must not wait in this process.
        if (answered === task.calls) resolve();
        else setImmediate(call);
      };
      call();
    }),
  ]);
  const seconds = (performance.now() - start) / 1000;
  const bulkBytesPerSecond = (bulk.bulkBytes - bytesBefore) / seconds;
  for (const each of [bulkConnection, connection]) each.close();
  calls.answers.verify(task.calls);
  return { latencies: summarizeLatencies(latencies), bulkBytesPerSecond };
}

await carryOut(runBesideBulk);
