// Publishes to one user after another, drawn from many, in batches that are durable when they are answered; to our server, or as
// entries of one Redis Stream for each user.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { PublishRequestSchema, PublishResponseSchema } from "@sluice/api";
import { openAudience, openLine, PUBLISH_PATH, userName } from "./audience.ts";
import { carryOut } from "./client-process.ts";
import { MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface UsersTask {
  readonly address: string;
  readonly protocol: "sluice" | "redis";
  /** A multiple of `batch`. */
  readonly notifications: number;
  /** Users from 0 on. */
  readonly users: number;
  /** Each so many-th is for user 0; 0: all are drawn. */
  readonly everyNth: number;
  readonly batch: number;
  readonly batchesUnderWay: number;
  readonly payloadBytes: number;
  /** Of these users, the first ones are connected, 100 on a connection. */
  readonly devices: number;
  readonly seed: number;
}

export interface UsersOutcome {
  readonly seconds: number;
  /** What came to those who were connected. */
  readonly deliveries: number;
}

/** Where batches go. */
interface Target {
  readonly failure: Promise<never>;
  /** Resolves when all of a batch is on disk. */
  send(batch: Buffer): Promise<void>;
  close(): void;
}

const DEVICES_PER_CONNECTION = 100;

async function run(task: UsersTask): Promise<UsersOutcome> {
  let deliveries = 0;
  const { address, devices, payloadBytes } = task;
  const audience = {
    address,
    protocol: "sluice",
    connections: devices / DEVICES_PER_CONNECTION,
    payloadBytes,
  } as const;
  const lines = await openAudience({ ...audience, devicesPerConnection: DEVICES_PER_CONNECTION }, (from, to) => {
    deliveries += to - from;
  });
  const target = await (task.protocol === "sluice" ? openSluice(address) : openRedis(address, task.batch));
  const batches = new Batches(task);
  let left = task.notifications / task.batch;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await target.send(batches.next());
  };
  const startMs = performance.now();
  const workers = Promise.all(Array.from({ length: task.batchesUnderWay }, worker));
  await Promise.race([workers, target.failure, ...lines.map((line) => line.failure)]);
  const seconds = (performance.now() - startMs) / 1000;
  for (const line of [...lines, target]) line.close();
  return { seconds, deliveries };
}

/** Batches that differ in their users, and cost little to make: names are all as long. */
class Batches {
  readonly #task: UsersTask;
  readonly #one: Buffer;
  readonly #nameAt: number;
  #random: number;
  #count = 0;

  constructor(task: UsersTask) {
    this.#task = task;
    this.#one = task.protocol === "sluice" ? draftBytes(task.payloadBytes) : commandBytes(task.payloadBytes);
    this.#nameAt = this.#one.indexOf(userName(0));
    this.#random = task.seed >>> 0;
  }

  next(): Buffer {
    const { batch, protocol } = this.#task;
    const size = this.#one.length;
    const bytes = Buffer.allocUnsafe(batch * size);
    for (let i = 0; i < batch; i++) {
      this.#one.copy(bytes, i * size);
      bytes.write(userName(this.#draw()), i * size + this.#nameAt, "latin1");
    }
    return protocol === "sluice" ? grpcFrame(bytes) : bytes;
  }

  #draw(): number {
    const { everyNth, users } = this.#task;
    if (everyNth > 0 && this.#count++ % everyNth === 0) return 0;
    // Numerical Recipes: enough to spread users.
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * users);
  }
}

/** One notification of a PublishRequest: requests are as many of them, one behind the other. */
function draftBytes(payloadBytes: number): Buffer {
  const notifications = [{ userIds: [userName(0)], type: "bench", title: "News", message: "x".repeat(payloadBytes) }];
  return Buffer.from(toBinary(PublishRequestSchema, create(PublishRequestSchema, { notifications })));
}

function commandBytes(payloadBytes: number): Buffer {
  const words = ["XADD", `inbox:${userName(0)}`, "*", "n", "x".repeat(payloadBytes)];
  return Buffer.from(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`);
}

async function openSluice(address: string): Promise<Target> {
  const waiting = new Map<number, PromiseWithResolvers<void>>();
  const readers = new Map<number, MessageReader>();
  const answered = new Set<number>();
  const handler: WireHandler = {
    onData(streamId, buffer, start, end) {
      const reader = readers.get(streamId) ?? new MessageReader();
      readers.set(streamId, reader);
      for (const message of reader.take(buffer.subarray(start, end))) {
        const refused = fromBinary(PublishResponseSchema, message).outcomes.find(({ id }) => id === "");
        if (refused !== undefined)
          waiting.get(streamId)!.reject(new Error(`Refused: ${JSON.stringify(refused.error)}`));
        answered.add(streamId);
      }
    },
    onHeaders() {},
    onEnd(streamId) {
      const batch = waiting.get(streamId)!;
      if (answered.delete(streamId)) batch.resolve();
      else batch.reject(new Error("A batch was not answered"));
      waiting.delete(streamId);
      readers.delete(streamId);
    },
    onReadEnd() {},
  };
  const connection = await WireConnection.open(address, handler);
  const encoder = new HeaderEncoder();
  let streamId = -1;
  return {
    failure: connection.failure,
    close: () => connection.close(),
    async send(batch) {
      streamId += 2;
      const done = Promise.withResolvers<void>();
      waiting.set(streamId, done);
      const block = encoder.encode(requestFields(PUBLISH_PATH, address, "plain", 0));
      connection.write(frame(frameType.headers, flag.endHeaders, streamId, block));
      connection.send(streamId, dataFrames(streamId, batch, { endStream: true }));
      await done.promise;
    },
  };
}

const LF = 10;
const MINUS = 45;

/** Answers come in order, two lines each: `$LENGTH` and the id. */
async function openRedis(address: string, batch: number): Promise<Target> {
  const line = await openLine(address);
  const waiting: PromiseWithResolvers<void>[] = [];
  let lines = 0;
  let isAtStart = true;
  line.socket.on("data", (bytes: Buffer) => {
    for (const byte of bytes) {
      if (isAtStart && byte === MINUS) waiting[0]?.reject(new Error(`Refused: ${bytes.toString("latin1", 0, 200)}`));
      isAtStart = byte === LF;
      if (!isAtStart || ++lines < 2 * batch) continue;
      lines = 0;
      waiting.shift()?.resolve();
    }
  });
  return {
    failure: line.failure,
    close: () => line.close(),
    async send(commands) {
      const done = Promise.withResolvers<void>();
      waiting.push(done);
      line.socket.write(commands);
      await done.promise;
    },
  };
}

await carryOut(run);
