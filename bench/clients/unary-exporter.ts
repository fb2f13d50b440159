import { Answers } from "./answers.ts";
import { MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

/** What one program on one connection sends, and hears of it. */
export interface Sender extends WireHandler {
  start(connection: WireConnection): void;
  readonly done: Promise<void>;
  /** @throws when not all was answered well */
  verify(): void;
}

export interface UnaryExporterOptions {
  readonly address: string;
  /** "/package.Service/Method". */
  readonly path: string;
  readonly requests: number;
  /** Sent and not yet answered, at most. */
  readonly underWay: number;
  /** Sent in turn. */
  readonly bodies: readonly Buffer[];
  /** Changes a body before it is sent. */
  readonly prepare?: (body: Buffer) => void;
  /** @throws when the answer is a refusal */
  readonly check: (answer: Uint8Array) => void;
}

/** OpenTelemetry's Export: a unary call for each batch. */
export class UnaryExporter implements Sender {
  readonly #options: UnaryExporterOptions;
  readonly #encoder = new HeaderEncoder();
  readonly #answers = new Answers();
  readonly #readers = new Map<number, MessageReader>();
  readonly #done = Promise.withResolvers<void>();
  #connection: WireConnection | undefined;
  #sent = 0;
  #answered = 0;

  constructor(options: UnaryExporterOptions) {
    this.#options = options;
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  start(connection: WireConnection): void {
    this.#connection = connection;
    this.onReadEnd();
  }

  onData(streamId: number, buffer: Buffer, start: number, end: number): void {
    const reader = this.#readers.get(streamId) ?? new MessageReader();
    this.#readers.set(streamId, reader);
    for (const message of reader.take(buffer.subarray(start, end))) this.#options.check(message);
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.#answers.count(block);
  }

  onEnd(streamId: number): void {
    this.#readers.delete(streamId);
    this.#answered++;
  }

  onReadEnd(): void {
    const { address, path, requests, underWay, bodies, prepare } = this.#options;
    if (this.#answered === requests) this.#done.resolve();
    while (this.#sent < requests && this.#sent - this.#answered < underWay) {
      const streamId = this.#sent * 2 + 1;
      const block = this.#encoder.encode(requestFields(path, address, "plain", 0));
      const body = bodies[this.#sent % bodies.length]!;
      prepare?.(body);
      this.#sent++;
      this.#connection?.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      this.#connection?.send(streamId, dataFrames(streamId, grpcFrame(body), { endStream: true }));
    }
  }

  verify(): void {
    this.#answers.verify(this.#options.requests);
  }
}

/** Opens a connection for each sender, then lets all begin; answers how many seconds until the last is done. */
export async function timeSenders(address: string, senders: readonly Sender[]): Promise<number> {
  const lines = await Promise.all(
    senders.map(async (sender) => ({ sender, connection: await WireConnection.open(address, sender) })),
  );
  const start = performance.now();
  await Promise.all(
    lines.map(async ({ sender, connection }) => {
      sender.start(connection);
      await Promise.race([sender.done, connection.failure]);
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const { sender, connection } of lines) {
    connection.close();
    sender.verify();
  }
  return seconds;
}
