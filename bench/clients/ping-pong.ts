// Streams of requests: `chat` sends one message on an open stream and waits for its answer before the next; `upload` sends
// them all as fast as the server's windows admit.

import { fromBinary } from "@bufbuild/protobuf";
import { UploadResponseSchema } from "../gen/bench/v1/echo_pb.ts";
import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { echoRequest, MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, WireConnection, type WireHandler } from "./http2-wire.ts";
import { summarizeLatencies, type Latencies } from "./percentiles.ts";
import { requestFields } from "./request-headers.ts";

export interface PingPongTask {
  readonly address: string;
  readonly kind: "chat" | "upload";
  readonly messages: number;
  readonly messageBytes: number;
}

export interface PingPongOutcome {
  readonly seconds: number;
  /** Of a `chat`: from a message's write to its answer. */
  readonly latencies: Latencies | undefined;
}

/** Messages that one buffer of an upload holds. */
const groupMessages = 5000;

class Stream implements WireHandler {
  readonly answers = new Answers();
  readonly reader = new MessageReader();
  readonly ended = Promise.withResolvers<void>();
  last: Buffer | undefined;
  onMessage: () => void = () => {};

  onData(_streamId: number, buffer: Buffer, start: number, end: number): void {
    for (const message of this.reader.take(buffer.subarray(start, end))) {
      this.last = message;
      this.onMessage();
    }
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.answers.count(block);
  }

  onEnd(): void {
    this.ended.resolve();
  }

  onReadEnd(): void {}
}

async function runPingPong(task: PingPongTask): Promise<PingPongOutcome> {
  const stream = new Stream();
  const connection = await WireConnection.open(task.address, stream);
  const method = task.kind === "chat" ? "Chat" : "Upload";
  const block = new HeaderEncoder().encode(requestFields(`/bench.v1.EchoService/${method}`, task.address, "plain", 0));
  connection.write(frame(frameType.headers, flag.endHeaders, 1, block));
  const start = performance.now();
  const latencies = task.kind === "chat" ? await chat(connection, stream, task) : undefined;
  if (task.kind === "upload") upload(connection, task);
  // In line behind what still waits for the windows.
  connection.send(1, [frame(frameType.data, flag.endStream, 1, Buffer.alloc(0))]);
  await Promise.race([stream.ended.promise, connection.failure]);
  const seconds = (performance.now() - start) / 1000;
  connection.close();
  stream.answers.verify(1);
  if (task.kind === "upload") verifyUpload(stream.last, task.messages);
  return { seconds, latencies };
}

async function chat(connection: WireConnection, stream: Stream, task: PingPongTask): Promise<Latencies> {
  const request = echoRequest(task.messageBytes);
  const ping = dataFrames(1, request, { endStream: false });
  const latencies = new Float64Array(task.messages);
  let answered = 0;
  const done = Promise.withResolvers<void>();
  let sentAt = performance.now();
  stream.onMessage = () => {
    const now = performance.now();
    if (stream.last?.length !== task.messageBytes) done.reject(new Error("An answer is not as long as its message"));
    latencies[answered++] = now - sentAt;
    if (answered === task.messages) {
      done.resolve();
      return;
    }
    sentAt = now;
    connection.send(1, ping);
  };
  connection.send(1, ping);
  await Promise.race([done.promise, connection.failure]);
  return summarizeLatencies(latencies);
}

function upload(connection: WireConnection, { messages, messageBytes }: PingPongTask): void {
  const request = echoRequest(messageBytes);
  const framesOf = (count: number): Buffer[] =>
    dataFrames(1, Buffer.concat(Array.from({ length: count }, () => request)), { endStream: false });
  const group = framesOf(groupMessages);
  for (let left = messages; left > 0; left -= groupMessages) {
    connection.send(1, left < groupMessages ? framesOf(left) : group);
  }
}

/** @throws Error unless the server has counted all messages */
function verifyUpload(answer: Buffer | undefined, messages: number): void {
  const { count } = fromBinary(UploadResponseSchema, answer ?? Buffer.alloc(0));
  if (count !== messages) throw new Error(`The server took ${count} of ${messages} messages`);
}

await carryOut(runPingPong);
