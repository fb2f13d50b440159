// One file, from a server to this machine's disk: in parallel spans, resumable, verified before it gets its name.
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { setInterval } from "node:timers";
import { Code, type FileInfo, RpcError, type SluiceClient } from "@sluice/client";
import { EXIT } from "../exit-codes.ts";
import { CommandFailure } from "../output.ts";
import { PartialFile, type Span } from "./partial-file.ts";

export interface SaveOptions {
  readonly signal: AbortSignal;
  /** Go on with what an earlier run left. */
  readonly isResuming: boolean;
  /** Streams at the same time. */
  readonly parallel: number;
  /** Of all streams together; undefined: no bound. */
  readonly bytesPerSecond: number | undefined;
  /** Called with the number of bytes that arrived since the last call. */
  readonly onBytes: (byteCount: number) => void;
  readonly onInterruption: (interruption: { readonly error: unknown; readonly retryInMs: number }) => void;
}

/** What became of it. */
export interface Saved {
  readonly outcome: "saved" | "unchanged";
  /** Bytes that were received. */
  readonly received: number;
  /** SHA-256, in hex; empty when nothing was done. */
  readonly sha256: string;
}

/** Attempts in a row before a download is given up: about a minute. */
const RETRY = { attemptsMax: 8 };
/** How often what arrived is written down for a later run. */
const NOTE_MS = 1000;
const NS_PER_MS = 1_000_000n;

/** True when the file is there already, by size and time: as `rsync` decides it. */
export async function isUnchanged(info: FileInfo, target: string): Promise<boolean> {
  try {
    const { size, mtimeMs } = await stat(target);
    return BigInt(size) === info.size && Math.floor(mtimeMs) === Number(info.modifiedTime / NS_PER_MS);
  } catch {
    return false;
  }
}

/** @param info of the file; having asked for it, the server is at work on its checksum @throws CommandFailure, RpcError */
export async function saveFile(
  client: SluiceClient,
  info: FileInfo,
  target: string,
  options: SaveOptions,
): Promise<Saved> {
  const { etag } = info;
  const size = Number(info.size);
  await using file = await PartialFile.open(target, { etag, size }, options);
  const received = file.missing;
  const isInOrder = received === size && file.spans.length <= 1;
  const hash = createHash("sha256");
  try {
    await receive(client, info, file, {
      ...options,
      ...(isInOrder ? { onData: (bytes) => void hash.update(bytes) } : {}),
    });
  } catch (error) {
    throw explain(error, target, options.signal);
  }
  if (!isInOrder) for await (const bytes of file.read()) hash.update(bytes);
  const sha256 = hash.digest("hex");
  const { checksum, etag: etagNow } = await client.getFileInfo(info.filePath, { signal: options.signal, retry: RETRY });
  if (etagNow !== etag) throw changed(info.filePath);
  if (checksum !== sha256) {
    await file.discard();
    throw new CommandFailure(`What arrived of "${info.filePath}" does not match its checksum and was thrown away`, {
      exitCode: EXIT.damaged,
      hint: "Get it again. Should it happen twice, verify the disks of both machines.",
    });
  }
  await file.complete(Number(info.modifiedTime / NS_PER_MS));
  return { outcome: "saved", received, sha256 };
}

/** Reads what is missing; notes what is there, now and then and at the end, however that comes. */
async function receive(
  client: SluiceClient,
  info: FileInfo,
  file: PartialFile,
  options: SaveOptions & { readonly onData?: (bytes: Uint8Array) => void },
): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const missing = file.spans.filter(({ next, end }) => next < end);
  let noting = Promise.resolve();
  const timer = setInterval(() => {
    noting = noting.then(() => file.note()).catch((error: unknown) => failed.abort(error));
  }, NOTE_MS);
  try {
    const spans = missing.map((span) =>
      receiveSpan(client, info, file, span, { ...options, signal, spans: missing.length }),
    );
    // The first failure ends the others.
    for (const each of spans) each.catch((error: unknown) => failed.abort(error));
    const [first] = (await Promise.allSettled(spans)).filter((each) => each.status === "rejected");
    if (failed.signal.aborted) throw failed.signal.reason;
    if (first !== undefined) throw first.reason;
  } finally {
    clearInterval(timer);
    await noting;
    await file.note();
  }
}

async function receiveSpan(
  client: SluiceClient,
  { filePath, etag }: FileInfo,
  file: PartialFile,
  span: Span,
  options: SaveOptions & { readonly spans: number; readonly onData?: (bytes: Uint8Array) => void },
): Promise<void> {
  const { signal, bytesPerSecond, spans, onBytes, onData, onInterruption } = options;
  const download = client.downloadFile(filePath, {
    offset: span.next,
    limit: span.end - span.next,
    ifMatch: etag,
    signal,
    retry: RETRY,
    onInterruption,
    ...(bytesPerSecond === undefined ? {} : { maxBytesPerSecond: Math.max(1, Math.floor(bytesPerSecond / spans)) }),
  });
  for await (const bytes of download) {
    await file.write(span, bytes);
    onData?.(bytes);
    onBytes(bytes.length);
  }
}

function explain(error: unknown, target: string, signal: AbortSignal): unknown {
  if (signal.aborted) {
    return new CommandFailure(`Stopped before all of ${target} was there`, {
      hint: "What arrived is kept: the same command with --resume goes on.",
      cause: error,
    });
  }
  if (error instanceof RpcError && error.code === Code.ABORTED) {
    return new CommandFailure(error.message, { hint: "Run the command again to get the new version.", cause: error });
  }
  return error;
}

function changed(path: string): CommandFailure {
  const hint = "Run the command again to get the new version.";
  return new CommandFailure(`"${path}" was changed on the server while it was read`, { hint });
}
