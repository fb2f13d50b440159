// Many who download one file, each on a connection of its own, in groups that come from different addresses; for a while.

import { setTimeout as delay } from "node:timers/promises";
import { carryOut } from "./client-process.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, WireConnection, type WireHandler } from "./http2-wire.ts";
import { requestFields } from "./request-headers.ts";

export interface ReaderGroup {
  /** Where its connections come from: "127.0.0.2". */
  readonly localAddress: string;
  readonly readers: number;
  /** Of each; undefined: as fast as it comes. A slow one does not look at its socket for a while after each read. */
  readonly bytesPerSecond?: number;
}

export interface ManyReadersTask {
  readonly address: string;
  readonly path: string;
  /** A gRPC frame in base64; undefined: GET. */
  readonly request?: string;
  readonly groups: readonly ReaderGroup[];
  /** Not counted, then counted. */
  readonly warmUpMs: number;
  readonly ms: number;
}

export interface ManyReadersOutcome {
  /** Of the groups, in their order: bytes a second of all its readers, and of the one that got least. */
  readonly groups: readonly { readonly bytesPerSecond: number; readonly least: number }[];
}

const streamWindowBytes = 2 ** 30;

/** Downloads the file again and again. */
class Reader implements WireHandler {
  received = 0;
  readonly #task: ManyReadersTask;
  readonly #bytesPerSecond: number | undefined;
  readonly #headers = new HeaderEncoder();
  #connection: WireConnection | undefined;
  #nextId = 1;
  #owed = 0;
  #read = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(task: ManyReadersTask, { bytesPerSecond }: ReaderGroup) {
    this.#task = task;
    this.#bytesPerSecond = bytesPerSecond;
  }

  async open(localAddress: string): Promise<void> {
    this.#connection = await WireConnection.open(this.#task.address, this, streamWindowBytes, localAddress);
    this.#request();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#connection?.close();
  }

  #request(): void {
    const { path, address, request } = this.#task;
    const id = this.#nextId;
    this.#nextId += 2;
    this.#owed = 0;
    const fields = requestFields(path, address, "plain", 0);
    const isGet = request === undefined;
    if (isGet) fields[0] = { name: ":method", value: "GET" };
    const flags = isGet ? flag.endHeaders | flag.endStream : flag.endHeaders;
    this.#connection!.write(
      frame(frameType.headers, flags, id, this.#headers.encode(isGet ? fields.slice(0, 4) : fields)),
    );
    if (!isGet) this.#connection!.send(id, dataFrames(id, Buffer.from(request, "base64"), { endStream: true }));
  }

  onData(streamId: number, _buffer: Buffer, start: number, end: number): void {
    this.received += end - start;
    this.#read += end - start;
    this.#owed += end - start;
    if (this.#owed * 2 < streamWindowBytes) return;
    this.#connection?.widen(streamId, this.#owed);
    this.#owed = 0;
  }

  onHeaders(): void {}

  onEnd(): void {
    this.#request();
  }

  onReadEnd(): void {
    const read = this.#read;
    this.#read = 0;
    if (this.#bytesPerSecond === undefined || read === 0) return;
    const { socket } = this.#connection!;
    socket.pause();
    this.#timer = setTimeout(() => socket.resume(), (read * 1000) / this.#bytesPerSecond);
  }
}

async function readMany(task: ManyReadersTask): Promise<ManyReadersOutcome> {
  const groups = task.groups.map((group) => ({
    group,
    readers: Array.from({ length: group.readers }, () => new Reader(task, group)),
  }));
  for (const { group, readers } of groups) await Promise.all(readers.map((reader) => reader.open(group.localAddress)));
  await delay(task.warmUpMs);
  const all = groups.flatMap(({ readers }) => readers);
  const before = new Map(all.map((reader) => [reader, reader.received]));
  const startMs = performance.now();
  await delay(task.ms);
  const seconds = (performance.now() - startMs) / 1000;
  const rateOf = (reader: Reader): number => (reader.received - before.get(reader)!) / seconds;
  const outcome = groups.map(({ readers }) => {
    const rates = readers.map(rateOf);
    return { bytesPerSecond: rates.reduce((sum, rate) => sum + rate, 0), least: Math.min(...rates) };
  });
  for (const reader of all) reader.close();
  return { groups: outcome };
}

await carryOut(readMany);
