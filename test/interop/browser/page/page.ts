// What runs in the browser: streams of logs, kept so that the test can look at them.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import {
  type LogEntry,
  LogService,
  type LogStreamRequestSchema,
} from "../../../../packages/api/src/gen/sluice/logs/v1/logs_pb.ts";
import { type BadRequest, BadRequestSchema } from "../../../../packages/rpc/src/gen/google/rpc/error_details_pb.ts";
import { StatusError, streamLogs } from "./stream-logs.ts";

/** Connect's client with its gRPC-Web transport, or `fetch` alone. */
export type How = "connect" | "fetch";
type Request = MessageInitShape<typeof LogStreamRequestSchema>;

/** What has come of a stream, and how it ended if it has. */
interface Stream {
  readonly messages: string[];
  /** Whether history was over: what comes is live. */
  isLive: boolean;
  end: { code: string; message: string; fields: string[] } | undefined;
}

const streams: Stream[] = [];
const stops: AbortController[] = [];

/** Starts a stream. Returns its number. */
export function follow(how: How, baseUrl: string, request: Request, show: (entry: LogEntry) => void): number {
  const stop = new AbortController();
  const stream: Stream = { messages: [], isLive: false, end: undefined };
  stops.push(stop);
  void read(open(how, baseUrl, request, stop.signal), stream, show).then(
    () => (stream.end = { code: "OK", message: "", fields: [] }),
    (error: unknown) => (stream.end = endOf(error)),
  );
  return streams.push(stream) - 1;
}

export function look(stream: number): Stream | undefined {
  return streams[stream];
}

/** As somebody who closes a view in the page. */
export function cancel(stream: number): void {
  stops[stream]?.abort();
}

/** Returns how many of these were written: by gRPC-Web, or as JSON by Connect's own protocol. */
export async function write(
  protocol: "gRPC-Web" | "JSON",
  baseUrl: string,
  application: string,
  messages: string[],
): Promise<number> {
  const transport = protocol === "JSON" ? createConnectTransport({ baseUrl }) : createGrpcWebTransport({ baseUrl });
  const client = createClient(LogService, transport);
  const { accepted } = await client.writeLogs({ entries: messages.map((message) => ({ application, message })) });
  return Number(accepted);
}

function open(how: How, baseUrl: string, request: Request, signal: AbortSignal): AsyncIterable<LogEntry> {
  if (how === "fetch") return streamLogs(baseUrl, request, signal);
  return createClient(LogService, createGrpcWebTransport({ baseUrl })).streamLogs(request, { signal });
}

async function read(entries: AsyncIterable<LogEntry>, stream: Stream, show: (entry: LogEntry) => void): Promise<void> {
  for await (const entry of entries) {
    if (entry.control !== undefined) {
      stream.isLive ||= entry.control.kind.case === "sync";
      continue;
    }
    stream.messages.push(entry.message);
    show(entry);
  }
}

function endOf(error: unknown): Stream["end"] {
  if (error instanceof StatusError) {
    const details = error.status?.details.flatMap((any) => anyUnpack(any, BadRequestSchema) ?? []) ?? [];
    return { code: Code[error.code] ?? "?", message: error.message, fields: fieldsOf(details) };
  }
  if (error instanceof ConnectError) {
    const { code, rawMessage } = error;
    return { code: Code[code], message: rawMessage, fields: fieldsOf(error.findDetails(BadRequestSchema)) };
  }
  return { code: error instanceof DOMException ? error.name : "none", message: String(error), fields: [] };
}

function fieldsOf(details: readonly BadRequest[]): string[] {
  return details.flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
}
