// The configuration: flags > environment (SLUICE_…) > file (sluice.yaml) > defaults, read by one schema.
//
// K1. Every value has an origin, and every complaint names it, the value, and what is allowed.
// K2. All that is wrong is said at once, not one complaint per attempt.
// K3. A relative path in the file is relative to the file; elsewhere to the working directory.
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { grpcSettings, http1Settings, http2Settings } from "./config/protocol-settings.ts";
import { DEFAULT_LOG } from "./logs/log-name.ts";
import type { Route } from "./logs/routing.ts";
import { resolveTarget } from "./metrics/scrape-target.ts";
import { LOG_SETTING_NAMES, logSchema, type LogSettings, toLogSettings } from "./config/log-settings.ts";
import { toNotificationSettings } from "./config/notification-settings.ts";
import { type Config, configSchema, settings } from "./config/schema.ts";
import {
  ConfigError,
  findMisspeltVariables,
  NO_FILE,
  type Origin,
  type RawValue,
  type RawValues,
  readEnvironment,
  readFileText,
  readFlags,
} from "./config/sources.ts";

/** Where to look for the configuration. */
export interface ConfigSources {
  /** Values of the command line by key ("limits.entryBytesMax"), as they were typed; true for a bare flag. */
  readonly flags: ReadonlyMap<string, string | boolean>;
  readonly environment: NodeJS.ProcessEnv;
  /** The working directory. */
  readonly folder: string;
  /** `--config`. Absent: SLUICE_CONFIG, else `sluice.yaml` in the working directory, if it is there. */
  readonly file?: string | undefined;
}

/** A configuration, and where each part of it was found. */
export interface LoadedConfig {
  readonly config: Config;
  /** One per setting, in the order of the schema. */
  readonly values: readonly ConfigValue[];
  /** The file that was read. */
  readonly file: string | undefined;
  /** What is not wrong, but probably not meant. */
  readonly warnings: readonly string[];
}

export interface ConfigValue {
  readonly key: string;
  /** As it was written where it was found. */
  readonly value: RawValue["value"];
  readonly origin: Origin;
}

const DEFAULT_FILE = "sluice.yaml";
const FILE_BYTES_MAX = 1024 * 1024;
/** Each has files open, a tail in memory, and work in the background. */
const LOGS_MAX = 1000;

/** Gathers and checks the configuration. @throws ConfigError */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const file = await readConfigFile(sources);
  const fromFile = file === undefined ? NO_FILE : readFileText(file.path, file.text, settings);
  const layers = [readFlags(sources.flags, settings), readEnvironment(sources.environment, settings), fromFile.values];
  const values = settings.map(({ key, about }): ConfigValue => {
    const found = findFirst(layers, key);
    return found === undefined
      ? { key, value: about.default, origin: { kind: "default", place: "default" } }
      : { key, ...found };
  });
  const parsed = configSchema.safeParse(nest(values));
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map((issue) => explain(issue, values)));
  // K3
  const resolvePath = (key: string, path: string): string => {
    const isFromFile = values.find((each) => each.key === key)?.origin.kind === "file";
    return resolve(sources.folder, isFromFile && file !== undefined ? dirname(file.path) : ".", path);
  };
  checkTls(parsed.data);
  const logs = readLogSettings(fromFile.logs, parsed.data.routes ?? [], values);
  const config = toConfig(parsed.data, logs.settings, resolvePath);
  const allValues = [...values, ...logs.values];
  checkTogether(config, allValues);
  const warnings = findMisspeltVariables(sources.environment, settings);
  return { config, values: allValues, file: file?.path, warnings };
}

async function readConfigFile(sources: ConfigSources): Promise<{ path: string; text: string } | undefined> {
  const variable = sources.environment["SLUICE_CONFIG"];
  const asked = sources.file ?? (variable === "" ? undefined : variable);
  const path = resolve(sources.folder, asked ?? DEFAULT_FILE);
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) {
      throw new ConfigError([
        `Cannot read the configuration ${path}: it has ${size} bytes, the limit is ${FILE_BYTES_MAX}`,
      ]);
    }
    return { path, text: await readFile(path, "utf8") };
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (code === "ENOENT" && asked === undefined) return undefined;
    const by = sources.file === undefined && asked !== undefined ? " (named by SLUICE_CONFIG)" : "";
    throw new ConfigError([`Cannot read the configuration ${path}${by}: ${READ_ERRORS[code] ?? String(error)}`], {
      cause: error,
    });
  }
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
  EPERM: "this user may not read it",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is no folder",
};

function findFirst(layers: readonly RawValues[], key: string): RawValue | undefined {
  for (const layer of layers) {
    const found = layer.get(key);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** { "limits.x": 1 } as the schema has it: { limits: { x: 1 } }. */
function nest(values: readonly ConfigValue[]): object {
  const root: Record<string, unknown> = {};
  for (const { key, value } of values) {
    const path = key.split(".");
    const name = path.pop() ?? "";
    let group = root;
    for (const part of path) group = (group[part] ??= {}) as Record<string, unknown>;
    group[name] = value;
  }
  return root;
}

function explain(issue: z.core.$ZodIssue, values: readonly ConfigValue[], group: readonly string[] = []): string {
  const key = [...group, ...issue.path].join(".");
  const place = values.find((each) => each.key === key)?.origin.place;
  return place === undefined || place === "default" ? `${key}: ${issue.message}` : `${place}: ${key}: ${issue.message}`;
}

type ResolvePath = (key: string, path: string) => string;

/**
 * The settings of all logs: those that the file names, those that routes lead to, and "default". What is not said of a log
 * is as it stands at the top level, and has its origin there.
 */
function readLogSettings(
  named: ReadonlyMap<string, RawValues>,
  routes: readonly Route[],
  values: readonly ConfigValue[],
): { readonly settings: Map<string, LogSettings>; readonly values: ConfigValue[] } {
  const names = new Set([...named.keys(), ...routes.map(({ log }) => log)]);
  if (names.size > LOGS_MAX) throw new ConfigError([`Cannot serve ${names.size} logs: the limit is ${LOGS_MAX}`]);
  const found = new Map<string, LogSettings>();
  const shown: ConfigValue[] = [];
  const problems: string[] = [];
  for (const name of new Set([DEFAULT_LOG, ...names])) {
    const own = LOG_SETTING_NAMES.map((setting): ConfigValue => {
      const value = named.get(name)?.get(setting) ?? values.find(({ key }) => key === setting);
      return { value: "off", origin: { kind: "default", place: "default" }, ...value, key: `logs.${name}.${setting}` };
    });
    if (names.has(name)) shown.push(...own);
    const parsed = logSchema.safeParse(Object.fromEntries(own.map(({ value }, i) => [LOG_SETTING_NAMES[i], value])));
    if (parsed.success) found.set(name, toLogSettings(parsed.data));
    else problems.push(...parsed.error.issues.map((issue) => explain(issue, own, ["logs", name])));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { settings: found, values: shown };
}

function toConfig(raw: z.output<typeof configSchema>, logs: Config["logs"], resolvePath: ResolvePath): Config {
  const {
    data,
    heartbeat,
    drainGrace,
    tlsCert,
    tlsKey,
    tlsClientCa,
    webOrigins = [],
    files = [],
    filesRate,
    filesRatePerPeer,
    filesUploadRate,
    filesUploadRatePerPeer,
    routes = [],
    segmentBytes,
    retainBytes,
    retainAge,
    quotaBytes,
    minFreeBytes,
    compressAfter,
    metrics,
    notifications,
    ...rest
  } = raw;
  const hasTls = tlsCert !== undefined && tlsKey !== undefined;
  return {
    ...rest,
    webOrigins,
    logs,
    logDefaults: toLogSettings({ segmentBytes, retainBytes, retainAge, quotaBytes, minFreeBytes, compressAfter }),
    routes,
    scrape: {
      targets: (metrics.scrape ?? []).map((target) => resolveTarget(target, resolvePath)),
      intervalMs: metrics.scrapeInterval,
      timeoutMs: metrics.scrapeTimeout,
    },
    tls: hasTls
      ? {
          cert: resolvePath("tlsCert", tlsCert),
          key: resolvePath("tlsKey", tlsKey),
          clientCa: tlsClientCa === undefined ? undefined : resolvePath("tlsClientCa", tlsClientCa),
        }
      : undefined,
    data: resolvePath("data", data),
    notifications: toNotificationSettings(notifications, resolvePath),
    files: files.map((root) => ({ ...root, folder: resolvePath("files", root.folder) })),
    filesRates: { bytesPerSecond: filesRate, bytesPerSecondPerPeer: filesRatePerPeer },
    filesUploadRates: { bytesPerSecond: filesUploadRate, bytesPerSecondPerPeer: filesUploadRatePerPeer },
    heartbeatMs: heartbeat,
    drainGraceMs: drainGrace,
    metricsForward: { targets: metrics.forward ?? [], intervalMs: metrics.forwardInterval },
    metricsHistory: { keepMs: metrics.history ?? 0, intervalMs: metrics.historyInterval },
    connections: connectionLifeOf(raw.connections),
    grpc: grpcSettings.read(raw.grpc),
    http2: http2Settings.read(raw.http2),
    http1: http1Settings.read(raw.http1),
  };
}

function connectionLifeOf(raw: z.output<typeof configSchema>["connections"]): Config["connections"] {
  const { keepalive, keepaliveTimeout, idle, age, ageGrace } = raw;
  return {
    keepalive: keepalive === undefined ? undefined : { intervalMs: keepalive, timeoutMs: keepaliveTimeout },
    idleMs: idle,
    age: age === undefined ? undefined : { maxMs: age, graceMs: ageGrace },
  };
}

/** TLS is all of it or nothing. */
function checkTls({ tlsCert, tlsKey, tlsClientCa, allowPlaintext }: z.output<typeof configSchema>): void {
  const needs = (key: string, needed: string): string => `${key} needs ${needed} beside it`;
  const problems: string[] = [];
  if (tlsCert !== undefined && tlsKey === undefined) problems.push(needs("tlsCert", "tlsKey"));
  if (tlsKey !== undefined && tlsCert === undefined) problems.push(needs("tlsKey", "tlsCert"));
  if (tlsCert === undefined && tlsClientCa !== undefined) problems.push(needs("tlsClientCa", "tlsCert"));
  if (tlsCert === undefined && allowPlaintext) problems.push(needs("allowPlaintext", "tlsCert"));
  if (problems.length > 0) throw new ConfigError(problems);
}

/** What no setting can know alone. */
function checkTogether(config: Config, values: readonly ConfigValue[]): void {
  const { limits, logs } = config;
  const placeOf = (key: string) => values.find((each) => each.key === key)?.origin.place ?? key;
  const problems: string[] = [];
  const atMost = (key: string, amount: number, bound: { key: string; amount: number; why: string }) => {
    if (amount <= bound.amount) return;
    problems.push(
      `${placeOf(key)}: ${key} is ${amount} bytes, ${bound.why}; ` +
        `allowed is at most ${bound.key}, ${bound.amount} (${placeOf(bound.key)})`,
    );
  };
  const entry = ["limits.entryBytesMax", limits.entryBytesMax] as const;
  atMost(...entry, { key: "limits.pendingBytesMax", amount: limits.pendingBytesMax, why: "more than may be pending" });
  atMost(...entry, {
    key: "limits.messageBytesMax",
    amount: limits.messageBytesMax,
    why: "more than a message brings",
  });
  for (const [name, { segmentBytes, retainBytes }] of logs) {
    const keyOf = (setting: string) =>
      values.some(({ key }) => key === `logs.${name}.${setting}`) ? `logs.${name}.${setting}` : setting;
    const segment = keyOf("segmentBytes");
    atMost(...entry, { key: segment, amount: segmentBytes, why: "more than a segment takes" });
    if (retainBytes === undefined) continue;
    const why = "more than is retained, and whole segments are removed";
    atMost(segment, segmentBytes, { key: keyOf("retainBytes"), amount: retainBytes, why });
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

export type { LogSettings } from "./config/log-settings.ts";
export { type Config, type Setting, settings } from "./config/schema.ts";
export { ConfigError, type Origin } from "./config/sources.ts";
