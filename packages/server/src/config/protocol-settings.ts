// The limits of the protocols as settings: what a description and a range are to those of `@sluice/rpc`, whose defaults hold.
//
// Names are those of the limits, except that a duration has its unit in its value: `lingerMs` is `linger: 1s`.
import {
  DEFAULT_GRPC_LIMITS,
  DEFAULT_HTTP1_LIMITS,
  DEFAULT_HTTP2_LIMITS,
  type GrpcLimits,
  type Http1Limits,
  type Http2Limits,
} from "@sluice/rpc";
import { z } from "zod";
import { byteSize, count, duration } from "./types.ts";
import { formatBytes, formatDuration } from "./units.ts";

/** Least, most, and what it is. */
type Description = readonly [least: string, most: string, description: string];

/** What a limit is measured in decides how its value is written. */
export interface LimitSetting {
  readonly type: z.ZodType<number, string | number>;
  readonly description: string;
  readonly placeholder: string;
  readonly default: string | number;
}

/** The limits of one protocol as settings by name, and back. */
export interface LimitGroup<Limits> {
  readonly settings: Readonly<Record<string, LimitSetting>>;
  read(values: Readonly<Record<string, number>>): Limits;
}

/** `concurrentStreamsMax` is `limits.callsPerConnectionMax`. */
export type Http2Settings = Omit<Http2Limits, "concurrentStreamsMax">;
/** Those that servers have. */
export type GrpcSettings = Pick<GrpcLimits, "heldBytesMax" | "statusLingerMs">;

export const http2Settings = limitGroup<Http2Settings>(DEFAULT_HTTP2_LIMITS, {
  headerListBytesMax: ["1KiB", "16MiB", "Headers of one request, decoded."],
  headerBlockBytesMax: ["1KiB", "16MiB", "Headers of one request, as they arrive; more end the connection."],
  continuationFramesMax: ["1", "65536", "Frames after the first that the headers of one request may take."],
  headerTableBytes: ["4KiB", "64KiB", "Table for the compression of received headers, per connection."],
  streamsPerConnectionMax: ["1", "1072693248", "Calls after which a connection is replaced by a new one."],
  frameBytesMax: ["16KiB", "8MiB", "Largest frame that is accepted."],
  streamWindowBytes: ["65535B", "1GiB", "What a client may send of a call before it is read."],
  streamWindowBytesMax: ["65535B", "1GiB", "The same for a call that is read fast."],
  connectionWindowBytes: ["65535B", "1GiB", "What may be on its way on one connection."],
  connectionUnreadBytesMax: ["64KiB", "1GiB", "Unread bytes of one connection, above which its client has to wait."],
  receiveBudgetBytes: ["0B", "1GiB", "What all calls together may have in windows beyond their first."],
  unreadBytesMax: [
    "1MiB",
    "1GiB",
    "Unread bytes of all connections of an address; above it who has most loses a call.",
  ],
  queuedBytesMax: [
    "1MiB",
    "1GiB",
    "Bytes that all connections of an address wait to send; above it who has most loses a call.",
  ],
  controlBytesMax: ["1KiB", "16MiB", "Answers to pings and the like that a client may leave unread."],
  resetBurst: ["10", "1000000", "Calls that a client may open and give up unanswered at once, per connection."],
  resetsPerSecond: ["1", "1000000", "The same per second, after that."],
  writeMarkBytes: ["1KiB", "16MiB", "What may wait at one call before its answers are held back."],
  sliceBytes: ["1KiB", "16MiB", "What one call sends before others of its connection have their turn."],
  flushBytes: ["16KiB", "16MiB", "What is handed to the socket at once."],
  turnBytes: ["64KiB", "256MiB", "What one connection sends before what has arrived is looked at."],
  handshakeTimeoutMs: ["100ms", "10m", "From a connection's start to its first words, TLS included."],
  headersTimeoutMs: ["100ms", "10m", "From the first byte of a request's headers to the last."],
  lingerMs: ["10ms", "1m", "Time that a client has to read the end of its connection."],
});

export const http1Settings = limitGroup<Http1Limits>(DEFAULT_HTTP1_LIMITS, {
  unconsumedBytesMax: [
    "4KiB",
    "64MiB",
    "Unread bytes of one request over HTTP/1.1, above which its client has to wait.",
  ],
  droppedBytesMax: ["0B", "1GiB", "What is read and dropped of a request after its answer."],
  droppedTimeoutMs: ["100ms", "1h", "How long it is."],
  idleTimeoutMs: ["1s", "1d", "How long a connection of HTTP/1.1 may stay open without a request."],
});

export const grpcSettings = limitGroup<GrpcSettings>(DEFAULT_GRPC_LIMITS, {
  heldBytesMax: ["1MiB", "1GiB", "Unfinished messages of all calls; above it the one begun first fails."],
  statusLingerMs: ["10ms", "1m", "Time that a client has to fetch the status of a call that was ended."],
});

function limitGroup<Limits extends object>(
  defaults: Limits,
  descriptions: { readonly [Name in keyof Limits & string]: Description },
): LimitGroup<Limits> {
  const named = Object.entries<Description>(descriptions).map(([name, description]) => {
    const value = (defaults as Readonly<Record<string, number>>)[name] ?? Number.NaN;
    return { name, setting: name.replace(/Ms$/u, ""), about: settingOf(name, value, description) };
  });
  return {
    settings: Object.fromEntries(named.map(({ setting, about }) => [setting, about])),
    read: (values) => Object.fromEntries(named.map(({ name, setting }) => [name, values[setting]])) as Limits,
  };
}

function settingOf(name: string, value: number, [least, most, description]: Description): LimitSetting {
  if (name.endsWith("Ms")) {
    return { type: duration(least, most), description, placeholder: "duration", default: formatDuration(value) };
  }
  if (name.includes("Bytes")) {
    return { type: byteSize(least, most), description, placeholder: "size", default: formatBytes(value) };
  }
  return { type: count(Number(least), Number(most)), description, placeholder: "number", default: value };
}
