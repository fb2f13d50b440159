// The one schema of the configuration: flags, environment and file are read by it, `--help` and the guides are made of it.
import type { ConnectionLife, Http1Limits } from "@sluice/rpc";
import { z } from "zod";
import type { TlsFiles } from "../http/certificates.ts";
import type { FileRoot } from "../files/file-path.ts";
import type { Rates } from "../files/turns.ts";
import type { ListenPlace } from "../http/open-listeners.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import type { Route } from "../logs/routing.ts";
import {
  type Address,
  address,
  byteSize,
  choice,
  count,
  duration,
  fileMode,
  fileRoots,
  flag,
  listenPlaces,
  origins,
  orOff,
  path,
  routes,
} from "./types.ts";
import { LOG_SETTINGS, type LogSettings } from "./log-settings.ts";
import {
  type GrpcSettings,
  grpcSettings,
  http1Settings,
  type Http2Settings,
  http2Settings,
  type LimitSetting,
} from "./protocol-settings.ts";
import { formatBytes } from "./units.ts";

/** What is said of a setting beside its type. */
export interface About {
  readonly description: string;
  /** Stands for the value in `--help`; absent for a flag that takes none. */
  readonly placeholder?: string;
  /** As somebody would write it. */
  readonly default: string | number | boolean;
  /** Left out of `--help`: who needs it finds it with `config show` and in the guide to limits. */
  readonly isAdvanced?: true;
  /** Takes several: separated by commas, a flag that is repeated, a list in the file. */
  readonly isList?: true;
  /** The file may have a map instead of a list: `a: b` for "a=b". */
  readonly isMap?: true;
}

const abouts = z.registry<About>();

function setting<T extends z.ZodType<unknown, string | number | boolean>>(type: T, about: About) {
  const withDefault = type.prefault(about.default as z.input<T>);
  abouts.add(withDefault, about);
  return withDefault;
}

const limits = z.strictObject({
  entryBytesMax: setting(byteSize("1KiB", "64MiB"), {
    description: "One log entry with the fields that the server adds; larger ones are refused.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.entryBytesMax),
  }),
  entryFieldsMax: setting(count(1, 65_536), {
    description: "Fields of one log entry.",
    placeholder: "number",
    default: DEFAULT_LIMITS.entryFieldsMax,
  }),
  batchEntriesMax: setting(count(1, 10_000_000), {
    description: "Entries of one write.",
    placeholder: "number",
    default: DEFAULT_LIMITS.batchEntriesMax,
  }),
  applicationBytesMax: setting(byteSize("16B", "64KiB"), {
    description: "Length of an application's name in UTF-8.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.applicationBytesMax),
  }),
  producerBytesMax: setting(byteSize("16B", "64KiB"), {
    description: "Length of a producer's id in UTF-8.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.producerBytesMax),
  }),
  queryApplicationsMax: setting(count(1, 1_000_000), {
    description: "Applications that one read may name.",
    placeholder: "number",
    default: DEFAULT_LIMITS.queryApplicationsMax,
  }),
  applicationsMax: setting(count(1, 10_000_000), {
    description: "Different applications in one log. Each costs memory for its statistics.",
    placeholder: "number",
    default: DEFAULT_LIMITS.applicationsMax,
  }),
  producersMax: setting(count(1, 10_000_000), {
    description: "Idempotent producers remembered per log; beyond it the one idle for longest is forgotten.",
    placeholder: "number",
    default: DEFAULT_LIMITS.producersMax,
  }),
  pendingBytesMax: setting(byteSize("1MiB", "16GiB"), {
    description: "Bytes appended to a log but not yet on disk; at the bound streams wait, single writes are refused.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.pendingBytesMax),
  }),
  writesBytesMax: setting(byteSize("1MiB", "16GiB"), {
    description: "Requests to write, of all logs together, in hand and not yet appended; above it they are refused.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.writesBytesMax),
  }),
  filtersMax: setting(count(0, 1024), {
    description: "Filter terms of one request.",
    placeholder: "number",
    default: DEFAULT_LIMITS.filtersMax,
  }),
  filterBytesMax: setting(byteSize("16B", "1MiB"), {
    description: "Length of one filter term.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.filterBytesMax),
  }),
  followersMax: setting(count(1, 10_000_000), {
    description: "Streams that follow a log at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.followersMax,
  }),
  messageBytesMax: setting(byteSize("64KiB", "1GiB"), {
    description: "One received message, before and after decompression: the whole batch of a write.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.messageBytesMax),
  }),
  downloadsMax: setting(count(1, 1_000_000), {
    description: "Downloads at the same time. Each holds an open file and half a MiB, more with larger chunks.",
    placeholder: "number",
    default: DEFAULT_LIMITS.downloadsMax,
  }),
  uploadsMax: setting(count(1, 1_000_000), {
    description: "Uploads that are kept until they are committed, aborted or too old.",
    placeholder: "number",
    default: DEFAULT_LIMITS.uploadsMax,
  }),
  uploadBytesMax: setting(byteSize("1KiB", "1024TiB"), {
    description: "Size of one uploaded file.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.uploadBytesMax),
  }),
  queuesMax: setting(count(0, 100_000), {
    description: "Queues of jobs. Each has a log of its own.",
    placeholder: "number",
    default: DEFAULT_LIMITS.queuesMax,
  }),
  jobBytesMax: setting(byteSize("1KiB", "64MiB"), {
    description: "Body of one job.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.jobBytesMax),
  }),
  jobHeaderBytesMax: setting(byteSize("0B", "1MiB"), {
    description: "Headers of one job, names and values together.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.jobHeaderBytesMax),
  }),
  jobKeyBytesMax: setting(byteSize("16B", "4KiB"), {
    description: "Length of a fairness key, an ordering key or a dedup id in UTF-8.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.jobKeyBytesMax),
  }),
  jobBatchMax: setting(count(1, 1_000_000), {
    description: "Jobs of one batch, and leases of one request of a worker.",
    placeholder: "number",
    default: DEFAULT_LIMITS.jobBatchMax,
  }),
  workSessionsMax: setting(count(1, 10_000_000), {
    description: "Workers at all queues, those included whose connection was lost and who may come back.",
    placeholder: "number",
    default: DEFAULT_LIMITS.workSessionsMax,
  }),
  watchesMax: setting(count(1, 1_000_000), {
    description: "Watches of folders open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchesMax,
  }),
  watchEntriesMax: setting(count(1, 100_000_000), {
    description: "Files and folders in all watched folders together. Each costs half a KiB of memory.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchEntriesMax,
  }),
  watchHintsMax: setting(count(0, 10_000_000), {
    description: "Folders that the system watches for the server (inotify); others are looked at every few seconds.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchHintsMax,
  }),
  watchRemovalsMax: setting(count(1, 100_000_000), {
    description: "Removals remembered of a watched folder, for readers that are slow or away.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchRemovalsMax,
  }),
  seriesMax: setting(count(1, 100_000_000), {
    description: "Series of metrics; points of further ones are refused. Each costs about a KiB of memory.",
    placeholder: "number",
    default: DEFAULT_LIMITS.seriesMax,
  }),
  subscriptionsMax: setting(count(1, 100_000_000), {
    description: "Subscriptions to metrics open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.subscriptionsMax,
  }),
  connectionsMax: setting(count(1, 1_000_000), {
    description: "Connections open at the same time; further ones are closed at once.",
    placeholder: "number",
    default: DEFAULT_LIMITS.connectionsMax,
  }),
  callsPerConnectionMax: setting(count(1, 1_000_000), {
    description: "Calls that one connection may have open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.callsPerConnectionMax,
  }),
});

const connections = z.strictObject({
  keepalive: setting(orOff(duration("1s", "1d")), {
    description: "Silence after which a client is asked whether it is still there.",
    placeholder: "duration|off",
    default: "5m",
    isAdvanced: true,
  }),
  keepaliveTimeout: setting(duration("100ms", "10m"), {
    description: "Time that it has to answer; then its connection is closed.",
    placeholder: "duration",
    default: "20s",
    isAdvanced: true,
  }),
  idle: setting(orOff(duration("1s", "30d")), {
    description: "Time without a call after which a connection is closed, at the latest after twice that.",
    placeholder: "duration|off",
    default: "off",
    isAdvanced: true,
  }),
  age: setting(orOff(duration("1s", "30d")), {
    description:
      "Age at which a connection is replaced, a tenth more or less, so that clients spread over new servers.",
    placeholder: "duration|off",
    default: "off",
    isAdvanced: true,
  }),
  ageGrace: setting(duration("0", "1d"), {
    description: "How long calls may go on after that before they are ended.",
    placeholder: "duration",
    default: "30s",
    isAdvanced: true,
  }),
});

function limitGroup(settings: Readonly<Record<string, LimitSetting>>) {
  const shape = Object.entries(settings).map(([name, { type, ...about }]) => {
    return [name, setting(type, { ...about, isAdvanced: true })] as const;
  });
  return z.strictObject(Object.fromEntries(shape));
}

const { segmentBytes, retainBytes, retainAge, quotaBytes, minFreeBytes, compressAfter } = LOG_SETTINGS;
const perLog = {
  segmentBytes: setting(segmentBytes.type, aboutOf(segmentBytes)),
  retainBytes: setting(retainBytes.type, aboutOf(retainBytes)),
  retainAge: setting(retainAge.type, aboutOf(retainAge)),
  quotaBytes: setting(quotaBytes.type, aboutOf(quotaBytes)),
  minFreeBytes: setting(minFreeBytes.type, aboutOf(minFreeBytes)),
  compressAfter: setting(compressAfter.type, aboutOf(compressAfter)),
};

function aboutOf({ description, placeholder, default: byDefault }: Omit<LimitSetting, "type">): About {
  return { description: `${description} A log in the file may have its own.`, placeholder, default: byDefault };
}

/** Every setting. A key of the file is a path in it; flags and variables are named after that. */
export const configSchema = z.strictObject({
  listen: setting(listenPlaces, {
    description:
      "Addresses to serve on, each for everything: host:port (port 0 picks a free one), unix:/path, " +
      "or systemd for the sockets that it passed.",
    placeholder: "host:port",
    default: "127.0.0.1:8080",
    isList: true,
  }),
  insecureListen: setting(flag, {
    description: "Listen on an address that others can reach although nobody has to say who they are.",
    default: false,
  }),
  socketMode: setting(fileMode, {
    description: "Who may connect to a Unix socket that is listened on, as chmod takes it.",
    placeholder: "mode",
    default: "600",
  }),
  tlsCert: setting(orOff(path), {
    description: "File with the certificate chain (PEM). With it the addresses speak TLS; a renewed file is taken up.",
    placeholder: "file|off",
    default: "off",
  }),
  tlsKey: setting(orOff(path), {
    description: "File with the certificate's private key (PEM).",
    placeholder: "file|off",
    default: "off",
  }),
  tlsClientCa: setting(orOff(path), {
    description: "File with the authorities (PEM) one of which must have signed each client's certificate.",
    placeholder: "file|off",
    default: "off",
  }),
  allowPlaintext: setting(flag, {
    description: "Serve those who come without TLS on the same addresses, too.",
    default: false,
  }),
  healthListen: setting(orOff(address), {
    description: "Address for health checks alone (gRPC, /healthz, /readyz), always without TLS.",
    placeholder: "host:port|off",
    default: "off",
  }),
  webOrigins: setting(orOff(origins), {
    description: "Origins of web pages that may call from a browser, besides the server's own.",
    placeholder: "origin|off",
    default: "off",
    isList: true,
  }),
  data: setting(path, {
    description: "Folder that holds all data; made when missing. One server at a time owns it.",
    placeholder: "folder",
    default: "data",
  }),
  files: setting(orOff(fileRoots), {
    description:
      "Folders whose files can be read, written with :rw behind, hidden ones, too, with :hidden; one may have no name, " +
      "paths into the others begin with theirs.",
    placeholder: "[name=]folder[:rw][:hidden]|off",
    default: "off",
    isList: true,
  }),
  filesRate: setting(orOff(byteSize("1KiB", "1TiB")), {
    description: "Bytes a second that are read from the files that are served, of all who read together.",
    placeholder: "size|off",
    default: "off",
  }),
  filesRatePerPeer: setting(orOff(byteSize("1KiB", "1TiB")), {
    description: "The same of one address, however many files it reads at once.",
    placeholder: "size|off",
    default: "off",
  }),
  logFormat: setting(choice(["text", "json"]), {
    description: "The server's own log on stderr: text for people, json for programs.",
    placeholder: "text|json",
    default: "text",
  }),
  logLevel: setting(choice(["trace", "debug", "info", "warn", "error", "fatal"]), {
    description: "The least important level of the server's own log that is written.",
    placeholder: "level",
    default: "info",
  }),
  ...perLog,
  routes: setting(orOff(routes), {
    description:
      "Which logs take the entries that name none, by application (* and ? as in file names); the first that matches holds. " +
      'Without one that matches it is "default". A log that a route names is made.',
    placeholder: "application=log|off",
    default: "off",
    isList: true,
    isMap: true,
  }),
  heartbeat: setting(duration("0", "1d"), {
    description:
      "How often a stream that has nothing to send says that it lives; 0 switches it off. A request can change it.",
    placeholder: "duration",
    default: "30s",
  }),
  drainGrace: setting(duration("0", "1h"), {
    description: "How long streams may go on after SIGTERM or Ctrl-C before they are ended.",
    placeholder: "duration",
    default: "10s",
  }),
  limits,
  connections,
  grpc: limitGroup(grpcSettings.settings),
  http2: limitGroup(http2Settings.settings),
  http1: limitGroup(http1Settings.settings),
});

/** The configuration as the server takes it. */
export interface Config {
  readonly listen: readonly ListenPlace[];
  readonly insecureListen: boolean;
  /** As `chmod` takes it. */
  readonly socketMode: number;
  /** undefined: no TLS. */
  readonly tls: TlsFiles | undefined;
  readonly allowPlaintext: boolean;
  /** undefined: none. */
  readonly healthListen: Address | undefined;
  readonly webOrigins: readonly string[];
  /** Absolute path. */
  readonly data: string;
  /** With absolute paths. */
  readonly files: readonly FileRoot[];
  readonly filesRates: Rates;
  readonly logFormat: "text" | "json";
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal";
  /** By name; "default" is one of them. */
  readonly logs: ReadonlyMap<string, LogSettings>;
  /** Of logs that say nothing. */
  readonly logDefaults: LogSettings;
  /** For writes that name no log; the first one that matches holds. */
  readonly routes: readonly Route[];
  /** 0: off. */
  readonly heartbeatMs: number;
  readonly drainGraceMs: number;
  readonly limits: Limits;
  /** How long connections live. */
  readonly connections: ConnectionLife;
  readonly grpc: GrpcSettings;
  readonly http2: Http2Settings;
  readonly http1: Http1Limits;
}

/** One setting, under all its names. */
export interface Setting {
  /** In the file: "limits.entryBytesMax". */
  readonly key: string;
  /** "--limits-entry-bytes-max". */
  readonly flag: string;
  /** "SLUICE_LIMITS_ENTRY_BYTES_MAX". */
  readonly variable: string;
  readonly about: About;
}

/** All settings, in the order of the schema. */
export const settings: readonly Setting[] = settingsOf(configSchema, []);

function settingsOf(schema: z.ZodObject, path: readonly string[]): Setting[] {
  return Object.entries(schema.shape).flatMap(([name, type]) => {
    const place = [...path, name];
    if (type instanceof z.ZodObject) return settingsOf(type, place);
    const about = abouts.get(type as z.ZodType);
    if (about === undefined) throw new Error(`The setting ${place.join(".")} says nothing of itself`);
    const words = place.flatMap((part) => part.split(/(?=[A-Z])/u)).map((word) => word.toLowerCase());
    return [
      {
        key: place.join("."),
        flag: `--${words.join("-")}`,
        variable: `SLUICE_${words.join("_").toUpperCase()}`,
        about,
      },
    ];
  });
}
