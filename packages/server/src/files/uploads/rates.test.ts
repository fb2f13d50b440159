// How fast uploads are taken, by whatever protocol they come, on a clock that the test moves.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ByteStream,
  FileService,
  StartUploadRequestSchema,
  type StartUploadResponse,
  UploadFileRequestSchema,
} from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { allowAll } from "../../security/authorize.ts";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import { type FileServiceHandle, openFileService } from "../service.ts";
import { BODY_TYPE, metadata } from "../testing/tus-place.ts";
import type { Rates } from "../turns.ts";

const PIECE = Buffer.alloc(1000, 7);
const PIECES = 8;

let folder: string;
let clock: ManualClock;
let service: FileServiceHandle;
/** What still runs. */
let sending: Sending[];

interface Sending {
  /** Pieces that were taken; one more may wait for its turn. */
  readonly taken: () => number;
  readonly ended: Promise<unknown>;
  end(): void;
}

interface Sent {
  readonly name: string;
  readonly address?: string;
  /** Of this call. */
  readonly bytesPerSecond?: number;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-rates-"));
  clock = new ManualClock();
  sending = [];
});
afterEach(async () => {
  for (const each of sending) each.end();
  await Promise.allSettled(sending.map(({ ended }) => ended));
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function open(uploadRates: Rates): Promise<void> {
  const roots = [{ name: "", folder, isWritable: true }];
  service = await openFileService({ roots, authorize: allowAll, fileSystem: nodeFileSystem, clock, uploadRates });
}

/** Counts the pieces that are pulled: who pulls one has taken the one before. */
function piecesFor<T>(make: (index: number) => T) {
  let pulled = 0;
  async function* pieces(): AsyncGenerator<T> {
    for (let i = 0; i < PIECES; i++) {
      pulled = i;
      yield make(i);
    }
    pulled = PIECES;
  }
  return { pieces: pieces(), taken: () => pulled };
}

function encode<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, message));
}

async function sendByGrpc({ name, address = "10.0.0.1:1", bytesPerSecond = 0 }: Sent): Promise<Sending> {
  const { startUpload, uploadFile } = service.handlers;
  if (typeof startUpload !== "function" || typeof uploadFile !== "object") throw new Error("one of them takes bytes");
  const start = create(StartUploadRequestSchema, { filePath: name });
  const { upload } = (await startUpload(start, new FakeCall(FileService.method.startUpload))) as StartUploadResponse;
  const { pieces, taken } = piecesFor((i) =>
    encode(UploadFileRequestSchema, {
      uploadId: upload!.uploadId,
      offset: BigInt(i * PIECE.length),
      data: PIECE,
      maxBytesPerSecond: BigInt(bytesPerSecond),
    }),
  );
  const call = new FakeCall(FileService.method.uploadFile, address);
  const answers = uploadFile.bidi!(pieces, call) as AsyncIterable<unknown>;
  const ended = Array.fromAsync(answers);
  return keep({ taken, ended, end: () => call.end() });
}

async function sendByByteStream({ name, address = "10.0.0.1:1" }: Sent): Promise<Sending> {
  const { write } = service.byteStreamHandlers;
  if (typeof write !== "object") throw new Error("it takes bytes");
  const resourceName = `uploads/00000000-0000-4000-8000-000000000000/files/${name}`;
  const { pieces, taken } = piecesFor((i) =>
    encode(ByteStream.method.write.input, {
      resourceName,
      writeOffset: BigInt(i * PIECE.length),
      data: PIECE,
      finishWrite: i === PIECES - 1,
    }),
  );
  const call = new FakeCall(ByteStream.method.write, address);
  return keep({ taken, ended: write.clientStreaming!(pieces, call), end: () => call.end() });
}

async function sendByTus({ name, address = "10.0.0.1:1" }: Sent): Promise<Sending> {
  const over = new AbortController();
  const { pieces, taken } = piecesFor(() => PIECE as Uint8Array);
  const answer = service.tusHandler({
    method: "POST",
    isHead: false,
    path: "/uploads/",
    query: new URLSearchParams(),
    headers: new Map(
      Object.entries({
        ...BODY_TYPE,
        "tus-resumable": "1.0.0",
        "upload-length": String(PIECES * PIECE.length),
        "upload-metadata": metadata({ path: name }),
      }),
    ),
    peer: { address, isEncrypted: false },
    body: pieces,
    signal: over.signal,
  });
  return keep({ taken, ended: Promise.resolve(answer), end: () => over.abort() });
}

function keep(one: Sending): Sending {
  one.ended.catch(() => {});
  sending.push(one);
  return one;
}

/** Until whoever is sending waits for the clock. */
async function settle(one: Sending): Promise<void> {
  await expect.poll(() => one.taken(), { interval: 1 }).toBeGreaterThan(0);
  for (let i = 0; i < 5; i++) await turn();
}

const SENDERS = { gRPC: sendByGrpc, ByteStream: sendByByteStream, tus: sendByTus };

describe.each(Object.entries(SENDERS))("%s", (_, send) => {
  test("what one address sends is taken at its rate, whatever it opens", async () => {
    await open({ bytesPerSecondPerPeer: 1000 });
    const first = await send({ name: "a" });
    await settle(first);
    // A piece may overdraw the rate; then the next one waits for that.
    expect(first.taken()).toBe(1);
    await clock.advanceInTurns(3000);
    expect(first.taken()).toBe(4);
    const other = await send({ name: "b", address: "10.0.0.2:1" });
    await settle(other);
    expect(other.taken()).toBe(1);
    await clock.advanceInTurns(5000);
    await first.ended;
    expect([first.taken(), other.taken()]).toEqual([PIECES, 6]);
    await clock.advanceInTurns(3000);
    await other.ended;
  });

  test("who goes away while it waits, waits no longer", async () => {
    await open({ bytesPerSecond: 1000 });
    const one = await send({ name: "a" });
    await settle(one);
    one.end();
    await Promise.allSettled([one.ended]);
    expect(clock.timers).toBeLessThanOrEqual(1); // The sweep of old uploads.
    expect(one.taken()).toBe(1);
  });
});

test("addresses share the server's rate alike, however many uploads they send", async () => {
  await open({ bytesPerSecond: 2000 });
  const many = await Promise.all(["a", "b", "c"].map((name) => sendByGrpc({ name })));
  const one = await sendByGrpc({ name: "d", address: "10.0.0.2:1" });
  for (let i = 0; i < 5; i++) await turn();
  await clock.advanceInTurns(4000);
  const taken = many.reduce((sum, each) => sum + each.taken(), 0);
  expect(taken + one.taken()).toBeGreaterThanOrEqual(8);
  expect(Math.abs(taken - one.taken())).toBeLessThanOrEqual(1);
});

test("a call asks for a rate of its own; the file is whole", async () => {
  await open({});
  const one = await sendByGrpc({ name: "a", bytesPerSecond: 500 });
  await settle(one);
  await clock.advanceInTurns(8000);
  expect(one.taken()).toBe(5);
  await clock.advanceInTurns(8000);
  await one.ended;
  const [data] = (await readdir(join(folder, ".sluice-uploads"))).filter((name) => name.endsWith(".data"));
  expect((await readFile(join(folder, ".sluice-uploads", data!))).length).toBe(PIECES * PIECE.length);
});

test("a rate below zero is refused", async () => {
  await open({});
  const one = await sendByGrpc({ name: "a", bytesPerSecond: -1 });
  await expect(one.ended).rejects.toMatchObject({
    kind: "invalid-argument",
    facts: { violations: [{ field: "max_bytes_per_second" }] },
  });
});
