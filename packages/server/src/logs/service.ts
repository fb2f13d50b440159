// The log service: its handlers, and what they share. Each handler reads as the way of the data: parse, authorize, do.
//
// V1. Every entrance asks `authorize` before it looks for the log, so that nobody learns which logs there are.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type LogService,
  type LogStreamRequest,
  type OtlpLogsService,
  type SeedLogService,
  WriteLogsRequestSchema,
  type WriteLogsResponseSchema,
} from "@sluice/api";
import type { Call, Frames, FrameSource, ServiceHandlers } from "@sluice/rpc";
import { Draining, NotFound, PermissionDenied } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock, LogReader, LogWriter } from "../store/contract.ts";
import type { Dictionary } from "../store/dictionary.ts";
import type { Log } from "../store/log.ts";
import { BatchEncoder } from "../stream/batches.ts";
import { ControlFrames } from "../stream/control.ts";
import { Followers } from "../stream/followers.ts";
import { listApplications } from "./applications.ts";
import { getLogContext } from "./context.ts";
import { countLogs, parseCountQuery } from "./count.ts";
import type { AppendOptions } from "./ingest.ts";
import { listLogs, type LogStatus } from "./list-logs.ts";
import { type LogName, parseLogName } from "./log-name.ts";
import { OtlpBatchEncoder } from "./otlp-batches.ts";
import { exportLogs } from "./otlp.ts";
import { parseLogQuery, type QueryDefaults } from "./query.ts";
import { readLogs, type ReadOptions } from "./read.ts";
import { SharedMatchers } from "./shared-matcher.ts";
import { getResources } from "./resources.ts";
import type { Route } from "./routing.ts";
import { parseWriteRequest } from "./write-request.ts";
import { createWriteTargets } from "./write-targets.ts";
import { writeLogs, writeLogStream } from "./write.ts";

/** An open log. */
export interface ServedLog {
  readonly name: string;
  readonly reader: LogReader;
  readonly writer: LogWriter;
  readonly dictionary: Dictionary;
  /** For ListLogs. */
  status(): LogStatus;
}

export interface LogServiceOptions {
  /** One of them is "default". */
  readonly logs: readonly ServedLog[];
  /** For writes that name no log; the first one that matches holds. Default: all go to "default". */
  readonly routes?: readonly Route[];
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits?: Limits;
  /** Heartbeat interval of follows that ask for none of their own; 0: none. Default 30 s. */
  readonly heartbeatMs?: number;
}

export interface LogServiceHandle {
  readonly handlers: ServiceHandlers<typeof LogService>;
  /** Of the unversioned service. */
  readonly seedHandlers: ServiceHandlers<typeof SeedLogService>;
  /** Of OpenTelemetry's service. */
  readonly otlpHandlers: ServiceHandlers<typeof OtlpLogsService>;
  /** Its Export, for other entrances. */
  exportOtlp(subject: Subject, request: Uint8Array): ReturnType<typeof exportLogs>;
  /** WriteLogs without a network in between. */
  ingest(
    subject: Subject,
    request: MessageInitShape<typeof WriteLogsRequestSchema>,
  ): Promise<MessageInitShape<typeof WriteLogsResponseSchema>>;
  /**
   * Ends all follows with UNAVAILABLE and the cursor to go on after, so that their clients go elsewhere; new ones are
   * refused. Idempotent.
   */
  drain(): void;
  /** How many streams follow now. */
  readonly followers: number;
  /** What has left in streams, oldest first, since the start. */
  readonly delivered: Followers["delivered"];
  /** Bytes of requests to write that came and are not appended yet. */
  readonly writingBytes: number;
}

/** Numbers of LogEntry.control and LogBatch.control. */
const CONTROL_FIELD = 12;
const BATCH_CONTROL_FIELD = 2;
/** Number of OtlpLogBatch.control. */
const OTLP_CONTROL_FIELD = 1002;
const DEFAULT_HEARTBEAT_MS = 30_000;

/** In which form a stream gives batches. */
type BatchForm = Pick<ReadOptions, "batchControls" | "encoder">;

/** A log of the embedded engine, as the service wants it. */
export function serveLog(name: string, log: Log, quotaBytes?: number): ServedLog {
  const { reader, writer, dictionary } = log;
  return {
    name,
    reader,
    writer,
    dictionary,
    status() {
      const { diskBytes: bytes, refusal } = log.state;
      return { bytes, quotaBytes, refusal };
    },
  };
}

/** @throws InvalidRequest when a log's name is none */
export function createLogService(options: LogServiceOptions): LogServiceHandle {
  const { authorize, clock, limits = DEFAULT_LIMITS, heartbeatMs = DEFAULT_HEARTBEAT_MS, routes = [] } = options;
  const access = new LogAccess(options.logs, authorize);
  const followers = new Followers({ clock, max: limits.followersMax });
  const streams = new LogStreams(options.logs, { access, followers, limits });
  const targets = createWriteTargets({ logs: options.logs, routes, authorize, clock, limits });

  async function write(
    subject: Subject,
    bytes: Uint8Array,
    { atBound }: AppendOptions,
  ): Promise<MessageInitShape<typeof WriteLogsResponseSchema>> {
    const request = parseWriteRequest(bytes, limits);
    return await writeLogs(request, { ...targets, target: targets.find(subject, request.log), atBound });
  }

  function exportOtlp(subject: Subject, request: Uint8Array): ReturnType<typeof exportLogs> {
    const dictionaryOf = (name: LogName) => access.find(name)!.dictionary;
    return exportLogs(request, { ...targets, target: targets.find(subject, ""), limits, dictionaryOf });
  }

  const plain = { hasControls: true, heartbeatMs, hasBatches: false };
  const batches = { hasControls: true, heartbeatMs, hasBatches: true };
  return {
    exportOtlp,
    handlers: {
      streamLogs: (request, call) => streams.open(request, call, plain),
      streamLogBatches: (request, call) => streams.open(request, call, batches),
      streamOtlpLogs: (request, call) => streams.open(request, call, { ...batches, isOtlp: true }),
      writeLogs: { raw: true, unary: (bytes, call) => write(subjectOf(call), bytes, { atBound: "refuse" }) },
      writeLogStream: {
        raw: true,
        bidi: (requests, call) =>
          writeLogStream(requests, call, {
            limits,
            budget: targets.budget,
            open: (log) => targets.find(subjectOf(call), log),
          }),
      },
      ...createLookups(access, { clock, limits }),
    },
    seedHandlers: {
      streamLogs: (request, call) => streams.open(request, call, { ...plain, hasControls: false }),
    },
    otlpHandlers: { export: { raw: true, unary: (bytes, call) => exportOtlp(subjectOf(call), bytes) } },
    ingest: (subject, request) =>
      write(subject, toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, request)), { atBound: "wait" }),
    drain: () => {
      streams.drain();
    },
    get followers() {
      return followers.count;
    },
    delivered: followers.delivered,
    get writingBytes() {
      return targets.budget.held;
    },
  };
}

/** V1. The logs, for those who may have them. */
class LogAccess {
  readonly #logs: ReadonlyMap<string, ServedLog>;
  readonly #authorize: Authorize;

  constructor(logs: readonly ServedLog[], authorize: Authorize) {
    this.#logs = new Map(logs.map((log) => [log.name, log]));
    this.#authorize = authorize;
  }

  /** Without a question. */
  find(name: string): ServedLog | undefined {
    return this.#logs.get(name);
  }

  /** @throws PermissionDenied, NotFound */
  open(call: Call, action: Action, name: LogName): ServedLog {
    this.#authorize(subjectOf(call), action, { type: "log", name });
    const log = this.#logs.get(name);
    if (log === undefined) throw new NotFound("log", name, "this server was started without it");
    return log;
  }

  /** Those that the caller may hear of. */
  list(call: Call): ServedLog[] {
    return [...this.#logs.values()].filter(({ name }) => this.#mayDescribe(subjectOf(call), name));
  }

  #mayDescribe(subject: Subject, name: string): boolean {
    try {
      this.#authorize(subject, "describe", { type: "log", name });
      return true;
    } catch (error) {
      if (error instanceof PermissionDenied) return false;
      throw error;
    }
  }
}

/** All streams that read. */
class LogStreams {
  readonly #access: LogAccess;
  readonly #followers: Followers;
  readonly #limits: Limits;
  readonly #matchers = new SharedMatchers();
  readonly #controls = new ControlFrames(CONTROL_FIELD);
  readonly #batches: BatchForm = { batchControls: new ControlFrames(BATCH_CONTROL_FIELD), encoder: new BatchEncoder() };
  /** By log: they give out what its dictionary has. */
  readonly #otlpBatches: ReadonlyMap<string, BatchForm>;
  #isDraining = false;

  constructor(
    logs: readonly ServedLog[],
    { access, followers, limits }: { access: LogAccess; followers: Followers; limits: Limits },
  ) {
    const batchControls = new ControlFrames(OTLP_CONTROL_FIELD);
    this.#access = access;
    this.#followers = followers;
    this.#limits = limits;
    this.#otlpBatches = new Map(
      logs.map(({ name, dictionary }) => [name, { batchControls, encoder: new OtlpBatchEncoder(dictionary) }]),
    );
  }

  /** @throws InvalidRequest, PermissionDenied, NotFound, Draining, CursorExpired, LimitExceeded */
  open(
    request: LogStreamRequest,
    call: Call,
    defaults: QueryDefaults & { readonly isOtlp?: boolean },
  ): FrameSource | AsyncIterable<Frames> {
    const query = parseLogQuery(request, this.#limits, defaults);
    const { reader } = this.#access.open(call, "read", query.log);
    if (this.#isDraining && query.isFollowing) throw new Draining();
    return readLogs(query, call, {
      reader,
      followers: this.#followers,
      matchers: this.#matchers,
      controls: this.#controls,
      ...(defaults.isOtlp === true ? this.#otlpBatches.get(query.log)! : this.#batches),
    });
  }

  drain(): void {
    this.#isDraining = true;
    this.#followers.interruptAll();
  }
}

/** Calls that look something up. */
function createLookups(
  access: LogAccess,
  { clock, limits }: { clock: Clock; limits: Limits },
): Pick<
  LogServiceHandle["handlers"],
  "listApplications" | "countLogs" | "getLogContext" | "getResources" | "listLogs"
> {
  return {
    listApplications: (request, call) =>
      listApplications(access.open(call, "describe", parseLogName(request.log)).reader),
    countLogs: (request, call) => {
      const query = parseCountQuery(request, limits);
      return countLogs(query, access.open(call, "read", query.log).reader, clock);
    },
    getLogContext: (request, call) =>
      getLogContext(request, access.open(call, "read", parseLogName(request.log)).reader, {
        clock,
        isCancelled: () => call.isEnded,
      }),
    getResources: (request, call) =>
      getResources(access.open(call, "read", parseLogName(request.log)).dictionary, request),
    listLogs: (_request, call) => listLogs(access.list(call)),
  };
}
