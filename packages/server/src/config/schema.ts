// The one schema of the configuration: flags, environment and file are read by it, `--help` and the guides are made of it.
import type { ConnectionLife, Http1Limits } from "@sluice/rpc";
import { z } from "zod";
import type { TlsFiles } from "../http/certificates.ts";
import type { FileRoot } from "../files/file-path.ts";
import type { Rates } from "../files/turns.ts";
import type { ListenPlace } from "../http/open-listeners.ts";
import type { Limits } from "../limits.ts";
import type { Route } from "../logs/routing.ts";
import type { ForwardSettings } from "../metrics/open-forward.ts";
import type { ScrapeSettings } from "../metrics/scrape.ts";
import {
  type Address,
  address,
  byteSize,
  choice,
  duration,
  fileMode,
  fileRoots,
  flag,
  forwardTargets,
  listenPlaces,
  origins,
  orOff,
  path,
  routes,
  scrapeTargets,
} from "./types.ts";
import { limits } from "./limit-settings.ts";
import { LOG_SETTINGS, type LogSettings } from "./log-settings.ts";
import { type NotificationSettings, notificationSettings } from "./notification-settings.ts";
import {
  type GrpcSettings,
  grpcSettings,
  http1Settings,
  type Http2Settings,
  http2Settings,
  type LimitSetting,
} from "./protocol-settings.ts";
import { type About, abouts, setting } from "./setting.ts";

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

const metrics = z.strictObject({
  history: setting(orOff(duration("1m", "1d")), {
    description: "How long points of metrics are kept, for replay and charts.",
    placeholder: "duration|off",
    default: "2h",
  }),
  historyInterval: setting(duration("1s", "1h"), {
    description: "How often what the server measures itself goes into that history.",
    placeholder: "duration",
    default: "15s",
  }),
  scrape: setting(orOff(scrapeTargets), {
    description:
      "Targets that are asked for their metrics as Prometheus asks them. In the file a map: job: URL, or job with url, " +
      "interval, timeout, labels, honorLabels, honorTimestamps, caFile, certFile, keyFile, serverName, bearerTokenFile, " +
      "username and passwordFile below it.",
    placeholder: "[job=]URL|off",
    default: "off",
    isList: true,
    isMap: true,
  }),
  scrapeInterval: setting(duration("100ms", "1d"), {
    description: "How often targets are asked that say nothing else.",
    placeholder: "duration",
    default: "15s",
  }),
  scrapeTimeout: setting(duration("100ms", "1d"), {
    description: "How long a target may take to answer; never longer than its interval.",
    placeholder: "duration",
    default: "10s",
  }),
  forward: setting(orOff(forwardTargets), {
    description:
      "Servers to which all metrics are handed on: by remote write (http, https; a user and password in the URL are sent) or " +
      "by OTLP over gRPC (otlp, otlps).",
    placeholder: "URL|off",
    default: "off",
    isList: true,
  }),
  forwardInterval: setting(duration("1s", "1h"), {
    description: "How often what the server measures itself is handed on.",
    placeholder: "duration",
    default: "15s",
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
  filesUploadRate: setting(orOff(byteSize("1KiB", "1TiB")), {
    description: "Bytes a second that are taken for uploads of files, of all who send together.",
    placeholder: "size|off",
    default: "off",
  }),
  filesUploadRatePerPeer: setting(orOff(byteSize("1KiB", "1TiB")), {
    description: "The same of one address, however many uploads it sends at once.",
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
  metrics,
  notifications: notificationSettings,
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
  readonly filesUploadRates: Rates;
  readonly logFormat: "text" | "json";
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal";
  /** By name; "default" is one of them. */
  readonly logs: ReadonlyMap<string, LogSettings>;
  /** Of logs that say nothing. */
  readonly logDefaults: LogSettings;
  /** For writes that name no log; the first one that matches holds. */
  readonly routes: readonly Route[];
  readonly scrape: ScrapeSettings;
  readonly metricsForward: ForwardSettings;
  readonly notifications: NotificationSettings;
  /** 0: off. */
  readonly heartbeatMs: number;
  readonly drainGraceMs: number;
  /** Of metrics. `keepMs` 0: none. */
  readonly metricsHistory: { readonly keepMs: number; readonly intervalMs: number };
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
