// The composition root: every object of a server is made here, in order, and taken down in the opposite order.
//
// R1. Whatever fails on the way up, what was opened before it is closed.
// R2. On the way down nothing acknowledged is lost: streams end, then calls, then the log is closed, then the lock goes.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { LogEntrySchema } from "@sluice/api";
import {
  type Call,
  createServer,
  healthHandlers,
  HealthRegistry,
  type HttpHandlers,
  type HttpRequest,
  type Interceptor,
  listen,
  type Listener,
  type RpcError,
  type RpcServer,
  serveHealth,
  type ServedService,
  serveReflection,
  type WebOptions,
} from "@sluice/rpc";
import type { Config } from "./config.ts";
import { SluiceError } from "./errors.ts";
import { FILES_PATH } from "./files/http.ts";
import { UPLOADS_PATH } from "./files/tus.ts";
import { openCertificates } from "./http/certificates.ts";
import { explainListen, openListeners } from "./http/open-listeners.ts";
import { createOtlpLogsHandler, OTLP_LOGS_PATH } from "./logs/otlp-http.ts";
import { METRICS_PATH } from "./metrics/expose-http.ts";
import { type OpenServices, openServices } from "./open-services.ts";
import { type Authorize, allowAll, SERVER_SUBJECT, subjectOf } from "./security/authorize.ts";
import { isUnforeseen, statusOf } from "./status.ts";
import type { Clock } from "./store/contract.ts";
import { openDataFolder } from "./store/data-folder.ts";
import { errorCode } from "./store/file-system.ts";
import type { Surroundings } from "./surroundings.ts";
import { createCallLog } from "./telemetry/call-log.ts";
import { CallMetrics, observeBoth } from "./telemetry/call-metrics.ts";
import type { Logger } from "./telemetry/logger.ts";
import { heldReporter } from "./telemetry/server-metrics.ts";

/** An entry as a producer gives it. */
export type NewEntry = MessageInitShape<typeof LogEntrySchema>;

/** A server that serves. Disposing it drains without grace. */
export interface Server extends AsyncDisposable {
  /** The first of its addresses: "127.0.0.1:8080", "unix:/run/sluice.sock". */
  readonly address: string;
  /** Where only its health can be asked; undefined: nowhere. */
  readonly healthAddress: string | undefined;
  /** Appends entries on the server's own behalf. Resolves when they are durable, with how many were refused. */
  ingest(entries: readonly NewEntry[]): Promise<{ rejected: number }>;
  /** What is held right now, for whoever must be sure that nothing is left behind. */
  counts(): ServerCounts;
  /**
   * Takes no more calls, ends every follow with UNAVAILABLE, lets the other calls go on for `graceMs`, and closes
   * everything. May be called again to shorten the grace.
   */
  drain(options: { graceMs: number }): Promise<void>;
}

export interface ServerCounts {
  readonly connections: number;
  readonly openCalls: number;
  readonly runningHandlers: number;
  readonly armedDeadlines: number;
  readonly followers: number;
  /** Of requests to write that came and are not appended yet. */
  readonly writingBytes: number;
  readonly downloads: number;
  readonly watches: number;
  /** To metrics. */
  readonly subscriptions: number;
  /** Work streams, and workers who are here or may come back. */
  readonly workers: number;
  readonly workSessions: number;
  /** Of requests to enqueue that came and are not taken yet. */
  readonly enqueuingBytes: number;
  /** Subscriptions to notifications, and watches of presence. */
  readonly devices: number;
  /** Of requests to publish that came and are not taken yet. */
  readonly publishingBytes: number;
}

/**
 * Opens the data folder, the log, the services and the port. Resolves when the server serves.
 * @throws SluiceError: the folder is in use, the port is taken, the listen address is open to others, …
 */
export async function openServer(config: Config, surroundings: Surroundings): Promise<Server> {
  const { clock, fileSystem, logger } = surroundings;
  const authorize = allowAll;
  await using opened = new AsyncDisposableStack();

  const folder = opened.use(
    await openDataFolder({ folder: config.data, fileSystem }).catch(explainFolder(config.data)),
  );
  const services = opened.use(await openServices({ config, folder, authorize, surroundings }));
  const { logs, files, metrics } = services;
  const health = new HealthRegistry(services.served.map(({ desc }) => desc.typeName));
  const descriptive = [serveHealth(health)];
  descriptive.push(...serveReflection([...services.served, ...descriptive]));
  const calls = new CallMetrics();
  metrics.addReporter(calls);
  const callLog = createCallLog(logger);
  const rpc = createServer({
    services: [...services.served, ...descriptive],
    interceptors: [authorizeDescription(descriptive, authorize)],
    limits: { ...config.grpc, messageBytesMax: config.limits.messageBytesMax },
    clock,
    observe: callLog === undefined ? calls.observe : observeBoth(calls.observe, callLog),
    ...errorsFor(logger),
  });
  const certificates =
    config.tls === undefined ? undefined : opened.use(await openCertificates(config.tls, { clock, logger }));
  const listeners = await openListeners(rpc, {
    ...config,
    certificates,
    web: { ...plainHttp(config, { logs, files, metrics, health, logger }), origins: config.webOrigins },
    clock,
    environment: surroundings.environment ?? {},
  });
  // Closed last, on the way down: what it says is asked for until then. Until here it would be too early to say anything.
  for (const listener of listeners) opened.use(listener);
  const scraped = { [METRICS_PATH]: metrics.httpHandlers[METRICS_PATH]! };
  const healthListener =
    config.healthListen && opened.use(await openHealthListener(config, { health, scraped, logger, clock }));
  // Scripts wait for these: they are said whatever the level is.
  const always = logger.child({}, { level: "info" });
  for (const { address } of listeners) always.info({ event: "listening", address }, `listening on ${address}`);
  if (healthListener !== undefined) {
    const { address } = healthListener;
    always.info({ event: "listening-health", address }, `listening for health on ${address}`);
  }
  const server = new RunningServer({ listeners, healthListener, rpc, services, health, opened: opened.move() });
  metrics.addReporter(heldReporter(() => server.counts()));
  return server;
}

/** What is served beside gRPC. */
function plainHttp(
  config: Config,
  parts: Pick<OpenServices, "logs" | "files" | "metrics"> & { health: HealthRegistry; logger: Logger },
): WebOptions {
  const { logs, files, metrics, health, logger } = parts;
  const onError = webErrors(logger);
  const statusOfWeb = (error: unknown, request: HttpRequest) => {
    if (isUnforeseen(error)) onError(error, request);
    return statusOf(error);
  };
  const otlp = createOtlpLogsHandler({
    exportLogs: (subject, request) => logs.exportOtlp(subject, request),
    messageBytesMax: config.limits.messageBytesMax,
    statusOf: statusOfWeb,
  });
  return {
    handlers: {
      ...healthHandlers(health),
      ...metrics.httpHandlers,
      ...metrics.entrances.httpHandlers(statusOfWeb),
      [OTLP_LOGS_PATH]: otlp,
      [FILES_PATH]: files.httpHandler,
      [UPLOADS_PATH]: files.tusHandler,
      [UPLOADS_PATH.slice(0, -1)]: files.tusHandler,
    },
    mapError: foreseen,
    onError,
  };
}

/** Another server, which knows of nothing but health and its own metrics: what asks for those cannot show a certificate. */
async function openHealthListener(
  { healthListen, connections, http2, http1 }: Config,
  parts: {
    readonly health: HealthRegistry;
    readonly scraped: HttpHandlers;
    readonly logger: Logger;
    readonly clock: Clock;
  },
): Promise<Listener> {
  const { health, scraped, logger, clock } = parts;
  try {
    const web = { handlers: { ...healthHandlers(health), ...scraped }, mapError: foreseen, onError: webErrors(logger) };
    const server = createServer({ services: [serveHealth(health)], clock });
    return await listen(server, { ...healthListen, web, http2: { ...connections, limits: http2 }, http1, clock });
  } catch (error) {
    throw explainListen(error);
  }
}

interface Parts {
  readonly listeners: readonly Listener[];
  readonly healthListener: Listener | undefined;
  readonly rpc: RpcServer;
  readonly services: OpenServices;
  readonly health: HealthRegistry;
  /** Everything that was opened, in order. */
  readonly opened: AsyncDisposableStack;
}

class RunningServer implements Server {
  readonly address: string;
  readonly healthAddress: string | undefined;
  readonly #parts: Parts;
  #closed: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.address = parts.listeners[0]?.address ?? "";
    this.healthAddress = parts.healthListener?.address;
    this.#parts = parts;
  }

  async ingest(entries: readonly NewEntry[]): Promise<{ rejected: number }> {
    const { rejected = [] } = await this.#parts.services.logs.ingest(SERVER_SUBJECT, { entries: [...entries] });
    return { rejected: rejected.length };
  }

  counts(): ServerCounts {
    const { listeners, rpc, services } = this.#parts;
    const { logs, files, queues, metrics, notifications } = services;
    const { openCalls, runningHandlers, armedDeadlines } = rpc;
    const connections = listeners.reduce((sum, listener) => sum + listener.connections, 0);
    return {
      connections,
      openCalls,
      runningHandlers,
      armedDeadlines,
      followers: logs.followers,
      writingBytes: logs.writingBytes,
      downloads: files.downloads,
      watches: files.watches,
      subscriptions: metrics.subscriptions,
      workers: queues.workers,
      workSessions: queues.sessions,
      enqueuingBytes: queues.enqueuingBytes,
      devices: notifications.devices,
      publishingBytes: notifications.publishingBytes,
    };
  }

  drain(options: { graceMs: number }): Promise<void> {
    const { listeners, services, health, opened } = this.#parts;
    health.shutDown();
    services.drain();
    const drained = Promise.all(listeners.map((listener) => listener.drain(options)));
    this.#closed ??= drained.then(() => opened.disposeAsync());
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain({ graceMs: 0 });
  }
}

const FOLDER_ERRORS: Readonly<Record<string, string>> = {
  EACCES: "this user may not write there",
  EPERM: "this user may not write there",
  EROFS: "it is on a read-only file system",
  ENOTDIR: "a part of its path is no folder",
  EEXIST: "it is no folder",
  ENOSPC: "the disk is full",
};

function explainFolder(folder: string): (error: unknown) => never {
  return (error) => {
    const reason = FOLDER_ERRORS[errorCode(error) ?? ""];
    if (reason === undefined) throw error;
    const message = `Cannot open the data folder ${folder}: ${reason}; choose another with --data`;
    throw new SluiceError("failed-precondition", message, { reason: "FOLDER_UNUSABLE" }, { cause: error });
  };
}

/** Health and reflection touch no data, but are entrances like any other. The services ask for what they touch themselves. */
function authorizeDescription(descriptive: readonly ServedService[], authorize: Authorize): Interceptor {
  const names = new Set(descriptive.map(({ desc }) => desc.typeName));
  return (call) => {
    const name = call.method.parent.typeName;
    if (names.has(name)) authorize(subjectOf(call), "describe", { type: "service", name });
  };
}

/** The status of what was foreseen. */
function foreseen(error: unknown): RpcError | undefined {
  return isUnforeseen(error) ? undefined : statusOf(error);
}

/** A plain handler failed in a way that nobody foresaw. */
function webErrors(logger: Logger) {
  return (error: unknown, { method, path }: HttpRequest): void => {
    logger.error({ event: "request-failed", method, path, error }, "a request failed");
  };
}

/** Clients get a status for every error; what nobody foresaw goes into the server's own log besides. */
function errorsFor(logger: Logger) {
  const nameOf = ({ method }: Call) => `${method.parent.typeName}/${method.name}`;
  return {
    mapError(error: unknown, call: Call) {
      if (isUnforeseen(error)) logger.error({ event: "call-failed", method: nameOf(call), error }, "a call failed");
      return statusOf(error);
    },
    onError(error: unknown, call: Call) {
      logger.error({ event: "late-failure", method: nameOf(call), error }, "something failed after its call had ended");
    },
  };
}
