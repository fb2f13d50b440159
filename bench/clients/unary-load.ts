// Unary calls at the highest rate that a server answers: every request of a run is prepared beforehand as bytes, so
// that sending is a slice and a write, and the client is never what is measured.

import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { echoRequest } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields, type HeaderForm } from "./request-headers.ts";

export interface UnaryTask {
  readonly address: string;
  readonly path: string;
  readonly connections: number;
  readonly inFlightPerConnection: number;
  readonly callsPerConnection: number;
  readonly headers: HeaderForm;
  /** Length of the request message in bytes; it is an EchoRequest. */
  readonly messageBytes: number;
}

export interface UnaryOutcome {
  readonly calls: number;
  readonly seconds: number;
  readonly dataBytes: number;
}

interface Prepared {
  /** Headers and data of all calls of a connection, in order. */
  readonly bytes: Buffer;
  /** Where call `i` begins; one more at the end. */
  readonly starts: Uint32Array;
  readonly dataBytesPerCall: number;
}

function prepare(task: UnaryTask): Prepared {
  const encoder = new HeaderEncoder();
  const body = echoRequest(task.messageBytes);
  const frames: Buffer[] = [];
  const starts = new Uint32Array(task.callsPerConnection + 1);
  let length = 0;
  for (let call = 0; call < task.callsPerConnection; call++) {
    const streamId = call * 2 + 1;
    const block = encoder.encode(requestFields(task.path, task.address, task.headers, call));
    const request = [
      frame(frameType.headers, flag.endHeaders, streamId, block),
      ...dataFrames(streamId, body, { endStream: true }),
    ];
    frames.push(...request);
    length += request.reduce((sum, { length: bytes }) => sum + bytes, 0);
    starts[call + 1] = length;
  }
  return { bytes: Buffer.concat(frames), starts, dataBytesPerCall: body.length };
}

class Caller implements WireHandler {
  readonly answers = new Answers();
  dataBytes = 0;
  readonly #prepared: Prepared;
  readonly #inFlightMax: number;
  readonly #done = Promise.withResolvers<void>();
  #connection: WireConnection | undefined;
  #sent = 0;
  #answered = 0;

  constructor(prepared: Prepared, inFlightMax: number) {
    this.#prepared = prepared;
    this.#inFlightMax = inFlightMax;
  }

  get calls(): number {
    return this.#prepared.starts.length - 1;
  }

  async run(connection: WireConnection): Promise<void> {
    this.#connection = connection;
    this.onReadEnd();
    await Promise.race([this.#done.promise, connection.failure]);
  }

  onData(_streamId: number, _buffer: Buffer, start: number, end: number): void {
    this.dataBytes += end - start;
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.answers.count(block);
  }

  onEnd(): void {
    this.#answered++;
  }

  onReadEnd(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    if (this.#answered === this.calls) this.#done.resolve();
    const { bytes, starts, dataBytesPerCall } = this.#prepared;
    const count = Math.min(
      this.#answered + this.#inFlightMax - this.#sent,
      this.calls - this.#sent,
      Math.floor(connection.sendWindow / dataBytesPerCall),
    );
    if (count <= 0) return;
    connection.sendWindow -= count * dataBytesPerCall;
    connection.write(bytes.subarray(starts[this.#sent], starts[this.#sent + count]));
    this.#sent += count;
  }
}

async function runUnary(task: UnaryTask): Promise<UnaryOutcome> {
  const prepared = prepare(task);
  const lines = await Promise.all(
    Array.from({ length: task.connections }, async () => {
      const caller = new Caller(prepared, task.inFlightPerConnection);
      return { caller, connection: await WireConnection.open(task.address, caller) };
    }),
  );
  const start = performance.now();
  await Promise.all(lines.map(({ caller, connection }) => caller.run(connection)));
  const seconds = (performance.now() - start) / 1000;
  for (const { caller, connection } of lines) {
    connection.close();
    caller.answers.verify(caller.calls);
  }
  return {
    calls: task.connections * task.callsPerConnection,
    seconds,
    dataBytes: lines.reduce((sum, { caller }) => sum + caller.dataBytes, 0),
  };
}

await carryOut(runUnary);
