// The client: one address, and what can be asked of it. Everything that it opens ends with it.
import {
  type Application,
  type CountLogsResponse,
  type FileInfo,
  FileService,
  type GetLogContextResponse,
  type Log,
  LogBatchSchema,
  LogService,
  type MetricDescription,
  type MetricPoint,
  MetricsService,
  NotificationService,
  QueueService,
} from "@sluice/api";
import { codecOf, createClient, openChannel } from "@sluice/rpc";
import { channelOptionsOf, type ClientOptions } from "./client-options.ts";
import { decodeBatch } from "./decode-batch.ts";
import { EntryDecoder } from "./decode-entry.ts";
import { type DownloadOptions, FileDownload } from "./file-download.ts";
import { type FileListQuery, listFiles } from "./file-list.ts";
import { FileWatch, type FileWatchOptions, type FileWatchQuery } from "./file-watch.ts";
import { sourceOf, uploadFile, type UploadOptions, type UploadSource } from "./file-upload.ts";
import { NotificationClient } from "./inbox-client.ts";
import { groupsOf, type LogContextQuery, type LogCountQuery } from "./log-count.ts";
import { type LogPage, type LogPageQuery, readPage } from "./log-page.ts";
import { type LogQuery, selectionOf } from "./log-position.ts";
import { LogStream, type LogStreamOptions, oneByOne, type StreamLogsCall } from "./log-stream.ts";
import { LogWriter, type LogWriterOptions } from "./log-writer.ts";
import {
  type MetricEvent,
  type MetricQuery,
  type MetricStreamOptions,
  type SeriesSelection,
  seriesRequestOf,
  streamMetrics,
} from "./metric-stream.ts";
import { type MetricRange, type MetricRangeQuery, rangeOf, rangeRequestOf } from "./metric-query.ts";
import { MetricWriter, type MetricWriterOptions } from "./metric-writer.ts";
import { type OtlpBatch, type OtlpBatchOptions, splitBatches, withBatches } from "./otlp-stream.ts";
import { pages } from "./pages.ts";
import { QueueClient } from "./queue-client.ts";
import type { QueueWorker } from "./queue-worker.ts";
import { STREAM_RETRY, UNARY_RETRY, type UnaryOptions, withRetry } from "./retry.ts";
import { type Clock, type Random, systemClock, systemRandom } from "./time.ts";

/** See `connect`. */
export interface SluiceClient extends AsyncDisposable {
  /** "127.0.0.1:8080". */
  readonly address: string;
  /** Reads a log: history, and with `follow` what comes. Opened when it is iterated; it survives lost connections. */
  streamLogs(query?: LogQuery, options?: LogStreamOptions): LogStream;
  /**
   * The same in OpenTelemetry's form, in batches that any collector takes as they are. Opened when it is iterated; it
   * survives lost connections.
   */
  streamOtlpLogs(query?: LogQuery, options?: LogStreamOptions & OtlpBatchOptions): LogStream<OtlpBatch>;
  /** The newest entries first, a page at a time: for consoles. `timeoutMs` bounds the search, see LogPage. @throws RpcError */
  readLogPage(query: LogPageQuery, options?: UnaryOptions): Promise<LogPage>;
  /** How many entries there are over time, by level and application, counted from the index. @throws RpcError */
  countLogs(query?: LogCountQuery, options?: UnaryOptions): Promise<CountLogsResponse>;
  /** The entries around the one of a cursor, in the order of the log. @throws RpcError */
  getLogContext(cursor: string, query?: LogContextQuery, options?: UnaryOptions): Promise<GetLogContextResponse>;
  /** Opens a writer into a log. It survives lost connections, and puts no entry twice into the log. */
  openLogWriter(options?: LogWriterOptions): LogWriter;
  /** One row per application that ever wrote to the log (absent: "default") and still has entries. @throws RpcError */
  listApplications(request?: { readonly log?: string }, options?: UnaryOptions): Promise<Application[]>;
  /** One row per log of the server: what it holds, and why it takes no writes now, if so. @throws RpcError */
  listLogs(options?: UnaryOptions): Promise<Log[]>;
  /** Reads a file, or a part of it. Opened when it is iterated; it goes on after lost connections, with the same version. */
  downloadFile(path: string, options?: DownloadOptions): FileDownload;
  /**
   * What is known of a file. `checksumWaitMs`: how long the server may take for the SHA-256 of a file that it has not
   * read before; absent: as long as it takes, and then `timeoutMs` has no default. @throws RpcError
   */
  getFileInfo(path: string, options?: UnaryOptions & { readonly checksumWaitMs?: number }): Promise<FileInfo>;
  /**
   * Writes a file: sends it, goes on after lost connections, and puts it into its place when all of it is there and right.
   * Resolves with what is in its place. @throws RpcError
   */
  uploadFile(path: string, source: UploadSource | Uint8Array, options?: UploadOptions): Promise<FileInfo>;
  /** Deletes a file, or an empty folder. @throws RpcError */
  deleteFile(path: string, options?: UnaryOptions & { readonly ifMatch?: string }): Promise<void>;
  /** Moves a file or a folder within a shared folder. @throws RpcError */
  moveFile(
    path: string,
    newPath: string,
    options?: UnaryOptions & { readonly ifMatch?: string; readonly overwrite?: boolean },
  ): Promise<FileInfo>;
  /** Makes a folder, with those above it that are missing. @throws RpcError */
  makeDirectory(path: string, options?: UnaryOptions): Promise<void>;
  /** What is in a shared folder, ascending by path; goes on after lost connections. @throws RpcError */
  listFiles(query?: FileListQuery, options?: Pick<UnaryOptions, "signal" | "retry">): AsyncGenerator<FileInfo>;
  /** Jobs: enqueue them, work on them, look after their queues. */
  readonly queues: QueueClient;
  /** Notifications: publish them, watch inboxes, look after users, topics and devices. */
  readonly notifications: NotificationClient;
  /** What becomes of what is in a shared folder. Opened when it is iterated; it goes on after lost connections. */
  watchFiles(query?: FileWatchQuery, options?: FileWatchOptions): FileWatch;
  /** Series as they are, and then what changes. Opened when it is iterated; it goes on after lost connections. */
  streamMetrics(query?: MetricQuery, options?: MetricStreamOptions): AsyncIterableIterator<MetricEvent>;
  /** Opens a writer of points. It survives lost connections; what is sent twice is there once. */
  openMetricWriter(options?: MetricWriterOptions): MetricWriter;
  /** Names of metrics with what belongs to them, by name. @throws RpcError */
  listMetrics(names?: readonly string[], options?: UnaryOptions): Promise<MetricDescription[]>;
  /** Series with their last points, by name and labels. @throws RpcError */
  listSeries(selection?: SeriesSelection, options?: UnaryOptions): Promise<MetricPoint[]>;
  /** Values of series over time, in steps, from the history that the server keeps. @throws RpcError */
  queryMetrics(query?: MetricRangeQuery, options?: UnaryOptions): Promise<MetricRange>;
  /**
   * Closes the writers, which sends and waits for what they have, drains the workers, ends the streams, then the connection.
   * Idempotent.
   */
  close(): Promise<void>;
}

const CLOSE_TIMEOUT_MS = 10_000;
const UNARY_TIMEOUT_MS = 10_000;
const ONCE = { attemptsMax: 1 };

/**
 * A client of a Sluice server. It connects when the first call is made, and again whenever it must.
 * @param address "host:port", "[::1]:port" or "unix:/path". @throws TypeError when it is none of them.
 */
export function connect(address: string, options: ClientOptions = {}): SluiceClient {
  return new ChannelClient(address, options);
}

class ChannelClient implements SluiceClient {
  readonly address: string;
  readonly queues: QueueClient;
  readonly notifications: NotificationClient;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #channel: ReturnType<typeof openChannel>;
  readonly #logs: ReturnType<typeof createClient<typeof LogService>>;
  readonly #files: ReturnType<typeof createClient<typeof FileService>>;
  readonly #metrics: ReturnType<typeof createClient<typeof MetricsService>>;
  readonly #closeTimeoutMs: number;
  readonly #writers = new Set<LogWriter | MetricWriter>();
  readonly #workers = new Set<QueueWorker>();
  readonly #closed = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(address: string, options: ClientOptions) {
    this.address = address;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? CLOSE_TIMEOUT_MS;
    const decoder = new EntryDecoder();
    const how = channelOptionsOf(options);
    const codecs = [codecOf(LogBatchSchema, { decode: (bytes) => decodeBatch(bytes, decoder) })];
    this.#channel = openChannel(address, { ...how, codecs });
    this.#logs = createClient(LogService, this.#channel);
    this.#files = createClient(FileService, this.#channel);
    this.#metrics = createClient(MetricsService, this.#channel);
    this.notifications = new NotificationClient({
      ...this.#context(),
      rpc: createClient(NotificationService, this.#channel),
      ask: (call, unary) => this.#ask(call, unary, UNARY_TIMEOUT_MS),
    });
    this.queues = new QueueClient({
      ...this.#context(),
      rpc: createClient(QueueService, this.#channel),
      address,
      channel: how,
      ask: (call, unary) => this.#ask(call, unary, UNARY_TIMEOUT_MS),
      own: (worker) => this.#own(worker),
    });
  }

  streamLogs(query: LogQuery = {}, options: LogStreamOptions = {}): LogStream {
    return new LogStream({ ...this.#context(), call: this.#logs.streamLogBatches }, query, options);
  }

  streamOtlpLogs(query: LogQuery = {}, options: LogStreamOptions & OtlpBatchOptions = {}): LogStream<OtlpBatch> {
    const call: StreamLogsCall<OtlpBatch> = (request, callOptions) =>
      oneByOne(splitBatches(this.#logs.streamOtlpLogs(withBatches(request, options), { ...callOptions, raw: true })));
    return new LogStream({ ...this.#context(), call }, query, options);
  }

  readLogPage(query: LogPageQuery, options: UnaryOptions = {}): Promise<LogPage> {
    return this.#ask((call) => readPage(query, this.#logs.streamLogBatches, call), options, UNARY_TIMEOUT_MS);
  }

  countLogs(query: LogCountQuery = {}, options: UnaryOptions = {}): Promise<CountLogsResponse> {
    const { filters: _, ...selection } = selectionOf(query);
    const { bucketNs = 0n, groupBy } = query;
    const request = { ...selection, bucketNs, ...(groupBy === undefined ? {} : { groupBy: groupsOf(groupBy) }) };
    return this.#ask((call) => this.#logs.countLogs(request, call), options, UNARY_TIMEOUT_MS);
  }

  getLogContext(
    cursor: string,
    query: LogContextQuery = {},
    options: UnaryOptions = {},
  ): Promise<GetLogContextResponse> {
    return this.#ask((call) => this.#logs.getLogContext({ ...query, cursor }, call), options, UNARY_TIMEOUT_MS);
  }

  openLogWriter(options: LogWriterOptions = {}): LogWriter {
    const writer = new LogWriter({ ...this.#context(), call: this.#logs.writeLogStream }, options);
    this.#writers.add(writer);
    void writer.ended.then(() => this.#writers.delete(writer));
    return writer;
  }

  openMetricWriter(options: MetricWriterOptions = {}): MetricWriter {
    const writer = new MetricWriter({ ...this.#context(), call: this.#metrics.writeMetrics }, options);
    this.#writers.add(writer);
    void writer.ended.then(() => this.#writers.delete(writer));
    return writer;
  }

  async listApplications(request: { readonly log?: string } = {}, options: UnaryOptions = {}): Promise<Application[]> {
    const { applications } = await this.#ask(
      (call) => this.#logs.listApplications({ log: request.log ?? "" }, call),
      options,
      UNARY_TIMEOUT_MS,
    );
    return applications;
  }

  async listLogs(options: UnaryOptions = {}): Promise<Log[]> {
    const { logs } = await this.#ask((call) => this.#logs.listLogs({}, call), options, UNARY_TIMEOUT_MS);
    return logs;
  }

  downloadFile(path: string, options: DownloadOptions = {}): FileDownload {
    return new FileDownload(path, { ...this.#context(), call: this.#files.downloadFile }, options);
  }

  async getFileInfo(
    path: string,
    options: UnaryOptions & { readonly checksumWaitMs?: number } = {},
  ): Promise<FileInfo> {
    const { checksumWaitMs } = options;
    const request = { filePath: path, ...(checksumWaitMs === undefined ? {} : { checksumWaitMs }) };
    const timeoutMs = checksumWaitMs === undefined ? undefined : UNARY_TIMEOUT_MS + checksumWaitMs;
    return await this.#ask((call) => this.#files.getFileInfo(request, call), options, timeoutMs);
  }

  uploadFile(path: string, source: UploadSource | Uint8Array, options: UploadOptions = {}): Promise<FileInfo> {
    const from = source instanceof Uint8Array ? sourceOf(source) : source;
    return uploadFile(path, from, { ...options, context: { ...this.#context(), files: this.#files } });
  }

  // Neither of these two is tried again by itself: after an answer that was lost, a second try would fail or do more.
  async deleteFile(path: string, options: UnaryOptions & { readonly ifMatch?: string } = {}): Promise<void> {
    const request = { filePath: path, ifMatch: options.ifMatch ?? "" };
    await this.#ask((call) => this.#files.deleteFile(request, call), { retry: ONCE, ...options }, UNARY_TIMEOUT_MS);
  }

  async moveFile(
    path: string,
    newPath: string,
    options: UnaryOptions & { readonly ifMatch?: string; readonly overwrite?: boolean } = {},
  ): Promise<FileInfo> {
    const { ifMatch = "", overwrite = false } = options;
    const request = { filePath: path, newPath, ifMatch, overwrite };
    const once = { retry: ONCE, ...options };
    const { file } = await this.#ask((call) => this.#files.moveFile(request, call), once, UNARY_TIMEOUT_MS);
    return file!;
  }

  async makeDirectory(path: string, options: UnaryOptions = {}): Promise<void> {
    await this.#ask((call) => this.#files.makeDirectory({ path }, call), options, UNARY_TIMEOUT_MS);
  }

  listFiles(query: FileListQuery = {}, options: Pick<UnaryOptions, "signal" | "retry"> = {}): AsyncGenerator<FileInfo> {
    const { clock, random } = this.#context();
    const policy = { ...UNARY_RETRY, ...options.retry };
    return listFiles(query, { call: this.#files.listFiles, policy, clock, random, signal: this.#signalOf(options) });
  }

  watchFiles(query: FileWatchQuery = {}, options: FileWatchOptions = {}): FileWatch {
    return new FileWatch({ ...this.#context(), call: this.#files.watchFiles }, query, options);
  }

  streamMetrics(query: MetricQuery = {}, options: MetricStreamOptions = {}): AsyncIterableIterator<MetricEvent> {
    return streamMetrics({ ...this.#context(), call: this.#metrics.streamMetrics }, query, options);
  }

  async listMetrics(names: readonly string[] = [], options: UnaryOptions = {}): Promise<MetricDescription[]> {
    const all = pages(async (pageToken) => {
      const request = { metricNames: [...names], pageToken };
      const { metrics, nextPageToken } = await this.#ask(
        (call) => this.#metrics.listMetrics(request, call),
        options,
        UNARY_TIMEOUT_MS,
      );
      return { rows: metrics, next: nextPageToken };
    });
    return await Array.fromAsync(all);
  }

  async listSeries(selection: SeriesSelection = {}, options: UnaryOptions = {}): Promise<MetricPoint[]> {
    const all = pages(async (pageToken) => {
      const request = { ...seriesRequestOf(selection), pageToken };
      const { series, nextPageToken } = await this.#ask(
        (call) => this.#metrics.listSeries(request, call),
        options,
        UNARY_TIMEOUT_MS,
      );
      return { rows: series, next: nextPageToken };
    });
    return await Array.fromAsync(all);
  }

  async queryMetrics(query: MetricRangeQuery = {}, options: UnaryOptions = {}): Promise<MetricRange> {
    const request = rangeRequestOf(query);
    return rangeOf(await this.#ask((call) => this.#metrics.queryMetrics(request, call), options, UNARY_TIMEOUT_MS));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const patience = new AbortController();
    const timer = this.#clock.setTimer(() => {
      const text = `The client was closed, and ${this.#closeTimeoutMs} ms were not enough to write what was left`;
      patience.abort(new Error(text));
    }, this.#closeTimeoutMs);
    const writers = await Promise.allSettled(
      Array.from(this.#writers, (writer) => writer.close({ signal: patience.signal })),
    );
    await this.#drainWorkers(patience.signal);
    timer.cancel();
    this.#closed.abort(new Error(`The client of ${this.address} was closed`));
    await this.#channel.close();
    for (const result of writers) if (result.status === "rejected") throw result.reason;
  }

  #own(worker: QueueWorker): void {
    this.#workers.add(worker);
    const forget = (): void => void this.#workers.delete(worker);
    void worker.ended.then(forget, forget);
  }

  /** What ended a worker was told to whoever waited for its end. */
  async #drainWorkers(patience: AbortSignal): Promise<void> {
    const drained = Promise.allSettled(Array.from(this.#workers, (worker) => worker.drain()));
    const given = Promise.withResolvers<void>();
    const giveUp = (): void => given.resolve();
    if (patience.aborted) return;
    patience.addEventListener("abort", giveUp, { once: true });
    await Promise.race([drained, given.promise]);
    patience.removeEventListener("abort", giveUp);
  }

  /** A call with one answer, tried again where that may help. */
  #ask<T>(
    call: (options: { signal: AbortSignal; timeoutMs?: number }) => Promise<T>,
    options: UnaryOptions,
    defaultTimeoutMs: number | undefined,
  ): Promise<T> {
    const signal = this.#signalOf(options);
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    return withRetry(() => call({ signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) }), {
      policy: { ...UNARY_RETRY, ...options.retry },
      clock: this.#clock,
      random: this.#random,
      signal,
    });
  }

  #signalOf({ signal }: Pick<UnaryOptions, "signal">): AbortSignal {
    return signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
  }

  #context() {
    return { clock: this.#clock, random: this.#random, retry: STREAM_RETRY, closed: this.#closed.signal };
  }
}
