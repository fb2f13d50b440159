// Measures one stream that a server answers with, from the request to the status, by h2load where it is there. What a
// right answer is our own client has found out first, from the same server.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runClient } from "./client-run.ts";
import type { HistoryOutcome, HistoryTask } from "./clients/history.ts";
import type { Server } from "./contest.ts";
import { runH2load, verifyLoad } from "./h2load.ts";

const timeoutMs = 120_000;

export interface StreamLoad {
  readonly path: string;
  /** The request as a gRPC frame. */
  readonly request: Buffer;
  /** What must come. */
  readonly messages: number;
  /** Of each message as a gRPC frame. */
  readonly frameBytes: number;
  /** Where the request's file is put. */
  readonly folder: string;
  /** Then the client is h2load: our own speaks no TLS. */
  readonly isSecure?: boolean;
}

/** Reads the stream by our own client. @throws Error unless count, length and status are right. Returns seconds. */
export async function readStream({ process: { address } }: Server, load: StreamLoad): Promise<number> {
  const task = { address, path: load.path, request: load.request.toString("base64") };
  const outcome = await runClient<HistoryTask, HistoryOutcome>("history", task, { timeoutMs });
  const { entries, dataBytes } = outcome;
  if (entries !== load.messages || dataBytes !== load.messages * load.frameBytes) {
    throw new Error(
      `${entries} messages of ${dataBytes} bytes came, not ${load.messages} of ${load.frameBytes} bytes each`,
    );
  }
  return outcome.seconds;
}

/** Reads the stream by h2load. @throws Error unless length and status are right. Returns seconds. */
export async function loadStream({ who, process: { address } }: Server, load: StreamLoad): Promise<number> {
  const bodyFile = join(load.folder, `request-${who.replaceAll(/[^a-z0-9]+/g, "-")}.bin`);
  await writeFile(bodyFile, load.request);
  const outcome = await runH2load({
    address,
    path: load.path,
    requests: 1,
    connections: 1,
    inFlightPerConnection: 1,
    bodyFile,
    timeoutMs,
    isSecure: load.isSecure ?? false,
  });
  verifyLoad(outcome, { requests: 1, dataBytes: load.messages * load.frameBytes });
  return outcome.seconds;
}
