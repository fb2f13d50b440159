// gRPC-Web with nothing but `fetch`: how a page without any RPC library reads a stream of logs.
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  type LogEntry,
  LogEntrySchema,
  LogStreamRequestSchema,
} from "../../../../packages/api/src/gen/sluice/logs/v1/logs_pb.ts";
import { type Status, StatusSchema } from "../../../../packages/rpc/src/gen/google/rpc/status_pb.ts";

/** A call that ended with a status other than OK. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: number;
  /** With the typed details; undefined when the server had none. */
  readonly status: Status | undefined;

  constructor(code: number, message: string, status: Status | undefined) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Entries until the stream ends. @throws StatusError; what `fetch` throws */
export async function* streamLogs(
  baseUrl: string,
  request: MessageInitShape<typeof LogStreamRequestSchema>,
  signal: AbortSignal,
): AsyncGenerator<LogEntry, void> {
  const response = await fetch(`${baseUrl}/sluice.logs.v1.LogService/StreamLogs`, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+proto" },
    body: frame(toBinary(LogStreamRequestSchema, create(LogStreamRequestSchema, request))),
    signal,
  });
  if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
  for await (const { flag, bytes } of framesOf(response.body)) {
    if (flag === 0x80) return checkStatus(new TextDecoder().decode(bytes));
    yield fromBinary(LogEntrySchema, bytes);
  }
  throw new Error("The answer broke off before its status");
}

/** One flag byte, four bytes of length, the message. */
function frame(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<{ flag: number; bytes: Uint8Array }> {
  let rest = new Uint8Array(0);
  for await (const chunk of body) {
    const all = new Uint8Array(rest.length + chunk.length);
    all.set(rest);
    all.set(chunk, rest.length);
    const view = new DataView(all.buffer);
    let at = 0;
    while (all.length - at >= 5 && all.length - at >= 5 + view.getUint32(at + 1)) {
      const end = at + 5 + view.getUint32(at + 1);
      yield { flag: view.getUint8(at), bytes: all.subarray(at + 5, end) };
      at = end;
    }
    rest = all.slice(at);
  }
}

/** The last frame is what gRPC has in its trailers: lines of `name: value`. @throws StatusError unless it is OK */
function checkStatus(lines: string): void {
  const trailers = new Headers(
    lines
      .trim()
      .split("\r\n")
      .map((line): [string, string] => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon), line.slice(colon + 1).trim()];
      }),
  );
  const code = Number(trailers.get("grpc-status"));
  if (code === 0) return;
  const details = trailers.get("grpc-status-details-bin");
  const status = details === null ? undefined : fromBinary(StatusSchema, base64Decode(details));
  throw new StatusError(code, decodeURIComponent(trailers.get("grpc-message") ?? ""), status);
}
