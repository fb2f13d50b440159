// The SDK of Sluice: log streams that resume exactly where they were cut, and writers that never lose or repeat.
export { DEFAULT_BACKOFF, type BackoffPolicy } from "./backoff.ts";
export { connect, type SluiceClient } from "./client.ts";
export type { ClientOptions } from "./client-options.ts";
export type { NewLogEntry } from "./encode-entry.ts";
export { type DownloadOptions, type DownloadProgress, FileDownload } from "./file-download.ts";
export type { FileListQuery } from "./file-list.ts";
export type { UploadOptions, UploadProgress, UploadSource } from "./file-upload.ts";
export { FileWatch, type FileWatchEvent, type FileWatchOptions, type FileWatchQuery } from "./file-watch.ts";
export { Inbox, type InboxCounts, type InboxEvent, type InboxOptions } from "./inbox.ts";
export { type InboxSelection, type InboxState, type NewNotification, NotificationClient } from "./inbox-client.ts";
export type { MetricRange, MetricRangeQuery } from "./metric-query.ts";
export type { MetricEvent, MetricMatcher, MetricQuery, MetricStreamOptions, SeriesSelection } from "./metric-stream.ts";
export {
  MetricWriter,
  MetricWriterFailed,
  type MetricWriterOptions,
  type NewMetricPoint,
  type RejectedMetricPoint,
} from "./metric-writer.ts";
export { logEntryToJson } from "./log-entry-json.ts";
export type { LogContextQuery, LogCountQuery } from "./log-count.ts";
export type { LogPage, LogPageQuery } from "./log-page.ts";
export type { LogControl, LogQuery, LogSelection, SlowReaderChoice } from "./log-position.ts";
export { type LogEvent, LogGapError, LogStream, type LogStreamOptions } from "./log-stream.ts";
export {
  LogWriter,
  LogWriterFailed,
  LogWriterLimit,
  type LogWriterOptions,
  type RejectedLogEntry,
} from "./log-writer.ts";
export {
  connectOtlp,
  type OtlpExported,
  type OtlpExporter,
  type OtlpExporterOptions,
  type OtlpExportOptions,
} from "./otlp-exporter.ts";
export type { OtlpBatch, OtlpBatchOptions } from "./otlp-stream.ts";
export { type NewQueueSettings, type NewSchedule, QueueClient } from "./queue-client.ts";
export type { EnqueueOptions } from "./queue-enqueue.ts";
export {
  type JobContext,
  type JobHandler,
  LeaseLostError,
  type NewQueueJob,
  type QueueJob,
  RejectJob,
  RetryJob,
  ReturnJob,
  WorkerDrained,
} from "./queue-job.ts";
export { QueueWorker } from "./queue-worker.ts";
export type { QueueWorkerOptions } from "./queue-worker-options.ts";
export type { RetryPolicy, UnaryOptions } from "./retry.ts";
export { parsePushUrl, type PushOptions } from "./sidecar/push.ts";
export {
  openSidecar,
  type Sidecar,
  type SidecarDrained,
  type SidecarEvent,
  type SidecarOptions,
} from "./sidecar/sidecar.ts";
export type { SidecarCounts } from "./sidecar/sidecar-counts.ts";
export { type Clock, pause, type Random, systemClock, systemRandom, type Timer } from "./time.ts";

// What the calls are made of, so that a program needs no other package.
export {
  type Application,
  type CountLogsResponse,
  type Device,
  type EnqueuedJob,
  type ExplainJobResponse,
  type FileInfo,
  type Gap,
  GapReason,
  type GetLogContextResponse,
  JobState,
  type JobView,
  type Log,
  type LogCount,
  type LogEntry,
  LogEntrySchema,
  type MetricDescription,
  type QueriedSeries,
  type MetricPoint,
  type Notice,
  type Notification,
  type NotificationState,
  Overflow,
  type Policy,
  type PublishOutcome,
  type Queue,
  ReasonCode,
  RemovalReason,
  type Schedule,
  type Topic,
  type WatchPresenceResponse,
} from "@sluice/api";
export {
  BadRequestSchema,
  Code,
  codeName,
  ErrorInfoSchema,
  type ListenAddress,
  ListenError,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  retryDelayMs,
  RpcError,
} from "@sluice/rpc";
