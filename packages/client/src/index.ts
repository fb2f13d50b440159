// The SDK of Sluice: log streams that resume exactly where they were cut, and writers that never lose or repeat.
export { DEFAULT_BACKOFF, type BackoffPolicy } from "./backoff.ts";
export { type ClientOptions, connect, type SluiceClient, type UnaryOptions } from "./client.ts";
export type { NewLogEntry } from "./encode-entry.ts";
export { type DownloadOptions, type DownloadProgress, FileDownload } from "./file-download.ts";
export type { FileListQuery } from "./file-list.ts";
export { logEntryToJson } from "./log-entry-json.ts";
export type { LogControl, LogQuery } from "./log-position.ts";
export { type LogEvent, LogGapError, LogStream, type LogStreamOptions } from "./log-stream.ts";
export {
  LogWriter,
  LogWriterFailed,
  LogWriterLimit,
  type LogWriterOptions,
  type RejectedLogEntry,
} from "./log-writer.ts";
export type { RetryPolicy } from "./retry.ts";
export { type Clock, pause, type Random, systemClock, systemRandom, type Timer } from "./time.ts";

// What the calls are made of, so that a program needs no other package.
export {
  type Application,
  type FileInfo,
  type Gap,
  GapReason,
  type Log,
  type LogEntry,
  LogEntrySchema,
  type Notice,
} from "@sluice/api";
export {
  BadRequestSchema,
  Code,
  codeName,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  retryDelayMs,
  RpcError,
} from "@sluice/rpc";
