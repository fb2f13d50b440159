// The log service: its handlers, and what they share. Each handler reads as the way of the data: parse, authorize, do.
//
// V1. Every entrance asks `authorize` before it looks for the log, so that nobody learns which logs there are.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type LogService,
  type OtlpLogsService,
  type SeedLogService,
  WriteLogsRequestSchema,
  type WriteLogsResponseSchema,
} from "@sluice/api";
import type { ServiceHandlers } from "@sluice/rpc";
import { Draining, NotFound } from "../errors.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { type Action, type Authorize, type Subject, subjectOf } from "../security/authorize.ts";
import type { Clock, LogReader, LogWriter } from "../store/contract.ts";
import { ControlFrames } from "../stream/control.ts";
import { Followers } from "../stream/followers.ts";
import { listApplications } from "./applications.ts";
import { Ingest } from "./ingest.ts";
import { DEFAULT_LOG, type LogName, parseLogName } from "./log-name.ts";
import { exportLogs } from "./otlp.ts";
import { parseLogQuery, type QueryDefaults } from "./query.ts";
import { readLogs } from "./read.ts";
import { parseWriteRequest } from "./write-request.ts";
import { writeLogs, writeLogStream } from "./write.ts";

/** An open log. */
export interface ServedLog {
  readonly name: string;
  readonly reader: LogReader;
  readonly writer: LogWriter;
}

export interface LogServiceOptions {
  readonly logs: readonly ServedLog[];
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
}

/** Number of LogEntry.control. */
const CONTROL_FIELD = 12;
const DEFAULT_HEARTBEAT_MS = 30_000;

/** @throws InvalidRequest when a log's name is none */
export function createLogService(options: LogServiceOptions): LogServiceHandle {
  const { authorize, clock, limits = DEFAULT_LIMITS, heartbeatMs = DEFAULT_HEARTBEAT_MS } = options;
  const controls = new ControlFrames(CONTROL_FIELD);
  const followers = new Followers({ clock, max: limits.followersMax });
  const logs = new Map<string, { reader: LogReader; ingest: Ingest }>();
  for (const { name, reader, writer } of options.logs) {
    const log = parseLogName(name);
    logs.set(log, { reader, ingest: new Ingest({ log, writer, clock, limits }) });
  }
  let isDraining = false;

  function openLog(subject: Subject, action: Action, name: LogName): { reader: LogReader; ingest: Ingest } {
    authorize(subject, action, { type: "log", name });
    const log = logs.get(name);
    if (log === undefined) throw new NotFound("log", name, "this server was started without it");
    return log;
  }

  function streamLogs(defaults: QueryDefaults): NonNullable<ServiceHandlers<typeof LogService>["streamLogs"]> {
    return (request, call) => {
      const query = parseLogQuery(request, limits, defaults);
      const { reader } = openLog(subjectOf(call), "read", query.log);
      if (isDraining && query.isFollowing) throw new Draining();
      return readLogs(query, call, { reader, followers, controls });
    };
  }

  async function write(subject: Subject, bytes: Uint8Array): Promise<MessageInitShape<typeof WriteLogsResponseSchema>> {
    const request = parseWriteRequest(bytes, limits);
    return await writeLogs(openLog(subject, "write", parseLogName(request.log)), request);
  }

  return {
    handlers: {
      streamLogs: streamLogs({ hasControls: true, heartbeatMs }),
      writeLogs: { raw: true, unary: (bytes, call) => write(subjectOf(call), bytes) },
      writeLogStream: {
        raw: true,
        bidi: (requests, call) =>
          writeLogStream(requests, call, {
            limits,
            open: (log) => openLog(subjectOf(call), "write", parseLogName(log)),
          }),
      },
      listApplications: (request, call) =>
        listApplications(openLog(subjectOf(call), "describe", parseLogName(request.log)).reader),
    },
    seedHandlers: { streamLogs: streamLogs({ hasControls: false, heartbeatMs }) },
    otlpHandlers: {
      export: {
        raw: true,
        unary: (bytes, call) =>
          exportLogs(openLog(subjectOf(call), "write", parseLogName(DEFAULT_LOG)).ingest, bytes, limits),
      },
    },
    ingest: (subject, request) =>
      write(subject, toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, request))),
    drain() {
      isDraining = true;
      followers.interruptAll();
    },
    get followers() {
      return followers.count;
    },
  };
}
