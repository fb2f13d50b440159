// Reads and writes files as a program does: by our SDK, or by grpc-js with what proto-loader made.

import { join } from "node:path";
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { connect } from "@sluice/client";
import { carryOut } from "./client-process.ts";

export type FilesBy = "sdk" | "grpc-js";

export type FilesTask = { readonly address: string; readonly by: FilesBy } & (
  | { readonly kind: "download"; readonly path: string }
  /** Downloads FOLDER/0, FOLDER/1, … so many at once. */
  | { readonly kind: "download-many"; readonly folder: string; readonly count: number; readonly atOnce: number }
  /** Random bytes; by grpc-js they go to EchoService/Upload, which counts messages and drops them. */
  | { readonly kind: "upload"; readonly path: string; readonly byteCount: number }
);

export interface FilesOutcome {
  readonly byteCount: number;
  readonly seconds: number;
}

const CHUNK_BYTES = 256 * 1024;

/** What a client can do; each resolves with how many bytes there were. */
interface Files extends AsyncDisposable {
  download(path: string): Promise<number>;
  upload(path: string, byteCount: number): Promise<number>;
}

function openSdk(address: string): Files {
  const client = connect(address);
  return {
    async download(path) {
      let received = 0;
      for await (const bytes of client.downloadFile(path)) received += bytes.length;
      return received;
    },
    async upload(path, byteCount) {
      const source = { size: byteCount, read: (offset: number) => randomChunks(byteCount - offset) };
      const { size } = await client.uploadFile(path, source);
      return Number(size);
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  };
}

async function* randomChunks(byteCount: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < byteCount; at += CHUNK_BYTES) yield chunkAt(at, Math.min(CHUNK_BYTES, byteCount - at));
}

const randomBytes = Buffer.allocUnsafe(2 * CHUNK_BYTES);
for (let i = 0; i < randomBytes.length; i += 4) randomBytes.writeUInt32LE((i * 2_654_435_761) >>> 0, i);

function chunkAt(offset: number, length: number): Buffer {
  const from = (offset / CHUNK_BYTES) % CHUNK_BYTES;
  return randomBytes.subarray(from, from + length);
}

interface GrpcJsCall {
  on(event: "data", listener: (message: { readonly data: Buffer }) => void): void;
  on(event: "end", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
}
interface GrpcJsUpload {
  write(message: { readonly payload: Buffer }): boolean;
  end(): void;
  once(event: "drain", listener: () => void): void;
}

function openGrpcJs(address: string): Files {
  const includeDirs = ["../../proto", "../proto"].map((folder) => join(import.meta.dirname, folder));
  const definitions = loadSync(["sluice/files/v1/files.proto", "seed.proto", "bench/v1/echo.proto"], { includeDirs });
  const loaded = loadPackageDefinition(definitions) as unknown as {
    FileService: ServiceClientConstructor;
    bench: { v1: { EchoService: ServiceClientConstructor } };
  };
  const files = new loaded.FileService(address, credentials.createInsecure());
  const echo = new loaded.bench.v1.EchoService(address, credentials.createInsecure());
  return {
    download(path) {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      let received = 0;
      const downloadFile = files["DownloadFile"] as (request: object) => GrpcJsCall;
      const call = downloadFile.call(files, { filePath: path });
      call.on("data", ({ data }) => (received += data.length));
      call.on("end", () => resolve(received));
      call.on("error", reject);
      return promise;
    },
    async upload(_path, byteCount) {
      const { promise, resolve, reject } = Promise.withResolvers<{ readonly count: number }>();
      const upload = echo["Upload"] as (
        done: (error: Error | null, answer?: { readonly count: number }) => void,
      ) => GrpcJsUpload;
      const call = upload.call(echo, (error, answer) => (answer === undefined ? reject(error) : resolve(answer)));
      let sent = 0;
      for (let at = 0; at < byteCount; at += CHUNK_BYTES) {
        sent++;
        const payload = chunkAt(at, Math.min(CHUNK_BYTES, byteCount - at));
        if (!call.write({ payload })) await new Promise<void>((drained) => call.once("drain", drained));
      }
      call.end();
      const { count } = await promise;
      if (count !== sent) throw new Error(`${count} of ${sent} chunks arrived`);
      return byteCount;
    },
    async [Symbol.asyncDispose]() {
      files.close();
      echo.close();
    },
  };
}

const openers = { sdk: openSdk, "grpc-js": openGrpcJs };

async function downloadMany(files: Files, task: Extract<FilesTask, { kind: "download-many" }>): Promise<number> {
  let next = 0;
  const workers = Array.from({ length: task.atOnce }, async () => {
    let received = 0;
    while (next < task.count) {
      const byteCount = await files.download(`${task.folder}/${next++}`);
      received += byteCount;
    }
    return received;
  });
  return (await Promise.all(workers)).reduce((sum, received) => sum + received, 0);
}

await carryOut(async (task: FilesTask): Promise<FilesOutcome> => {
  await using files = openers[task.by](task.address);
  const startMs = performance.now();
  const byteCount =
    task.kind === "download"
      ? await files.download(task.path)
      : task.kind === "upload"
        ? await files.upload(task.path, task.byteCount)
        : await downloadMany(files, task);
  return { byteCount, seconds: (performance.now() - startMs) / 1000 };
});
