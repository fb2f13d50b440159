// The configuration: flags > environment (SLUICE_…) > file (sluice.yaml) > defaults, read by one schema.
//
// K1. Every value has an origin, and every complaint names it, the value, and what is allowed.
// K2. All that is wrong is said at once, not one complaint per attempt.
// K3. A relative path in the file is relative to the file; elsewhere to the working directory.
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { grpcSettings, http1Settings, http2Settings } from "./config/protocol-settings.ts";
import { type Config, configSchema, settings } from "./config/schema.ts";
import {
  ConfigError,
  findMisspeltVariables,
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

/** Gathers and checks the configuration. @throws ConfigError */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const file = await readConfigFile(sources);
  const layers = [
    readFlags(sources.flags, settings),
    readEnvironment(sources.environment, settings),
    file === undefined ? new Map<string, RawValue>() : readFileText(file.path, file.text, settings),
  ];
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
  const config = toConfig(parsed.data, resolvePath);
  checkTogether(config, values);
  return { config, values, file: file?.path, warnings: findMisspeltVariables(sources.environment, settings) };
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

function explain(issue: z.core.$ZodIssue, values: readonly ConfigValue[]): string {
  const key = issue.path.join(".");
  const place = values.find((each) => each.key === key)?.origin.place;
  return place === undefined || place === "default" ? `${key}: ${issue.message}` : `${place}: ${key}: ${issue.message}`;
}

type ResolvePath = (key: string, path: string) => string;

function toConfig(raw: z.output<typeof configSchema>, resolvePath: ResolvePath): Config {
  const { data, retentionAge, heartbeat, drainGrace, tlsCert, tlsKey, tlsClientCa, webOrigins = [], ...rest } = raw;
  const hasTls = tlsCert !== undefined && tlsKey !== undefined;
  return {
    ...rest,
    webOrigins,
    tls: hasTls
      ? {
          cert: resolvePath("tlsCert", tlsCert),
          key: resolvePath("tlsKey", tlsKey),
          clientCa: tlsClientCa === undefined ? undefined : resolvePath("tlsClientCa", tlsClientCa),
        }
      : undefined,
    data: resolvePath("data", data),
    retentionAgeMs: retentionAge,
    heartbeatMs: heartbeat,
    drainGraceMs: drainGrace,
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
  const { limits, segmentBytes, retentionBytes } = config;
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
  atMost(...entry, { key: "segmentBytes", amount: segmentBytes, why: "more than a segment takes" });
  atMost(...entry, { key: "limits.pendingBytesMax", amount: limits.pendingBytesMax, why: "more than may be pending" });
  atMost(...entry, {
    key: "limits.messageBytesMax",
    amount: limits.messageBytesMax,
    why: "more than a message brings",
  });
  if (retentionBytes !== undefined) {
    const bound = {
      key: "retentionBytes",
      amount: retentionBytes,
      why: "more than is retained, and whole segments are removed",
    };
    atMost("segmentBytes", segmentBytes, bound);
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

export { type Config, type Setting, settings } from "./config/schema.ts";
export { ConfigError, type Origin } from "./config/sources.ts";
