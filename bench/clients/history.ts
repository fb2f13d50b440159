// Reads one stream to its end and counts what came: where h2load is missing, and to learn what a right answer is.

import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { MessageCounters } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface HistoryTask {
  readonly address: string;
  readonly path: string;
  /** The request as a gRPC frame, in base64; an empty message without it. */
  readonly request?: string;
}

export interface HistoryOutcome {
  readonly entries: number;
  readonly seconds: number;
  readonly dataBytes: number;
}

class Reader implements WireHandler {
  readonly answers = new Answers();
  readonly counters = new MessageCounters(1);
  readonly ended = Promise.withResolvers<void>();

  onData(_streamId: number, buffer: Buffer, start: number, end: number): void {
    this.counters.take(0, buffer, start, end);
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.answers.count(block);
  }

  onEnd(): void {
    this.ended.resolve();
  }

  onReadEnd(): void {}
}

async function readHistory(task: HistoryTask): Promise<HistoryOutcome> {
  const reader = new Reader();
  const connection = await WireConnection.open(task.address, reader);
  const block = new HeaderEncoder().encode(requestFields(task.path, task.address, "plain", 0));
  const request = task.request === undefined ? grpcFrame(new Uint8Array()) : Buffer.from(task.request, "base64");
  const start = performance.now();
  connection.write(frame(frameType.headers, flag.endHeaders, 1, block));
  connection.send(1, dataFrames(1, request, { endStream: true }));
  await Promise.race([reader.ended.promise, connection.failure]);
  const seconds = (performance.now() - start) / 1000;
  connection.close();
  reader.answers.verify(1);
  return { entries: reader.counters.messages[0] ?? 0, seconds, dataBytes: reader.counters.bytes[0] ?? 0 };
}

await carryOut(readHistory);
