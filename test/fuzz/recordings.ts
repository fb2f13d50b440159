// What real connections carried, byte for byte; `record.ts` made the files.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export const recordingsFolder = join(import.meta.dirname, "recordings");

/** Sent by clients over HTTP/2, the preface first: our own, grpc-js, node:http2, and gRPC-Web of Connect. */
export function clientRecordings(): Promise<Buffer[]> {
  return readRecordings("client-h2-");
}

/** Sent by servers in answer to the calls of `makeCalls` (calls.ts), which our client made. */
export function serverRecordings(): Promise<Buffer[]> {
  return readRecordings("server-h2-");
}

/** Sent by clients over HTTP/1.1. */
export function http1Recordings(): Promise<Buffer[]> {
  return readRecordings("client-h1-");
}

async function readRecordings(prefix: string): Promise<Buffer[]> {
  const names = (await readdir(recordingsFolder)).filter((name) => name.startsWith(prefix)).sort();
  if (names.length === 0) throw new Error(`No recordings ${prefix}* in ${recordingsFolder}: run record.ts`);
  return Promise.all(names.map((name) => readFile(join(recordingsFolder, name))));
}
