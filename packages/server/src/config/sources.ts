// Where values come from: flags, environment and file, each turned into the same list of raw values.
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap } from "yaml";
import { findNearest } from "./nearest.ts";
import { isLogName, LOG_NAME_ALLOWED } from "../logs/log-name.ts";
import { LOG_SETTING_NAMES } from "./log-settings.ts";
import type { Setting } from "./schema.ts";

/** What stands somewhere, not yet checked. */
export interface RawValue {
  readonly value: string | number | boolean;
  readonly origin: Origin;
}

/** Where a value stands; `place` is what a message shows: "--data", "SLUICE_DATA", "/etc/sluice.yaml:7". */
export interface Origin {
  readonly kind: "flag" | "environment" | "file" | "default";
  readonly place: string;
}

/** Raw values by key. */
export type RawValues = ReadonlyMap<string, RawValue>;

/** Everything that is wrong with a configuration, each with its place. To recover: mend what the lines name. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join("\n"), options);
    this.problems = problems;
  }
}

/** Values given on the command line, by key. */
export function readFlags(flags: ReadonlyMap<string, string | boolean>, settings: readonly Setting[]): RawValues {
  const values = new Map<string, RawValue>();
  for (const { key, flag } of settings) {
    const value = flags.get(key);
    if (value !== undefined) values.set(key, { value, origin: { kind: "flag", place: flag } });
  }
  return values;
}

/** Values of SLUICE_… variables. An empty one counts as absent. */
export function readEnvironment(environment: NodeJS.ProcessEnv, settings: readonly Setting[]): RawValues {
  const values = new Map<string, RawValue>();
  for (const { key, variable } of settings) {
    const value = environment[variable];
    if (value !== undefined && value !== "") {
      values.set(key, { value, origin: { kind: "environment", place: variable } });
    }
  }
  return values;
}

/** Variables that are no setting of ours: those of the command line, and of the launcher. */
const OTHER_VARIABLES = ["SLUICE_CONFIG", "SLUICE_SERVER"];

/**
 * SLUICE_… variables that look like a misspelt setting. Others are left in peace: container platforms set variables
 * like SLUICE_PORT for a service of this name.
 */
export function findMisspeltVariables(environment: NodeJS.ProcessEnv, settings: readonly Setting[]): string[] {
  const known = [...settings.map((each) => each.variable), ...OTHER_VARIABLES];
  return Object.keys(environment)
    .filter((name) => name.startsWith("SLUICE_") && !known.includes(name))
    .flatMap((name) => {
      const nearest = findNearest(
        name.slice("SLUICE_".length),
        known.map((each) => each.slice("SLUICE_".length)),
      );
      return nearest === undefined ? [] : [`${name} is not read: did you mean SLUICE_${nearest}?`];
    });
}

/** What a file says. */
export interface FileValues {
  readonly values: RawValues;
  /** Of each log that it names, in its order, what it says of it: by setting. */
  readonly logs: ReadonlyMap<string, RawValues>;
}

export const NO_FILE: FileValues = { values: new Map(), logs: new Map() };

/** Values of a YAML file. @throws ConfigError that names the lines that are wrong. */
export function readFileText(file: string, text: string, settings: readonly Setting[]): FileValues {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, merge: false });
  const [broken] = document.errors;
  if (broken !== undefined) {
    const sentence = broken.message.split("\n")[0]?.replace(/ at line \d+, column \d+:?$/u, "");
    throw new ConfigError([`${file}:${lines.linePos(broken.pos[0]).line}: is no valid YAML: ${sentence}`]);
  }
  const reader: FileReader = { file, lines, settings, values: new Map(), logs: new Map(), problems: [] };
  if (isMap(document.contents)) readMap(reader, document.contents, []);
  else if (document.contents !== null)
    reader.problems.push(`${file}:1: must be a map of settings, such as "listen: 127.0.0.1:8080"`);
  if (reader.problems.length > 0) throw new ConfigError(reader.problems);
  return { values: reader.values, logs: reader.logs };
}

interface FileReader {
  readonly file: string;
  readonly lines: LineCounter;
  readonly settings: readonly Setting[];
  readonly values: Map<string, RawValue>;
  readonly logs: Map<string, RawValues>;
  readonly problems: string[];
}

/** The items of a map, each with the name and the line it stands at. */
function itemsOf({ file, lines }: FileReader, map: YAMLMap): { name: string; place: string; node: unknown }[] {
  return map.items.map(({ key, value: node }) => {
    const range = isScalar(key) ? key.range : undefined;
    const name = isScalar(key) ? String(key.value) : String(key);
    return { name, place: `${file}:${lines.linePos(range?.[0] ?? 0).line}`, node };
  });
}

/** The group of logs: name → settings. */
function readLogs(reader: FileReader, node: unknown, place: string): void {
  const { logs, problems } = reader;
  if (!isMap(node)) {
    problems.push(`${place}: logs is a group: names of logs stand indented below it, their settings below them`);
    return;
  }
  for (const log of itemsOf(reader, node)) {
    const values = new Map<string, RawValue>();
    if (!isLogName(log.name)) problems.push(`${log.place}: "${log.name}" is no name of a log: ${LOG_NAME_ALLOWED}`);
    logs.set(log.name, values);
    if (isScalar(log.node) && log.node.value === null) continue;
    if (!isMap(log.node)) {
      problems.push(`${log.place}: logs.${log.name} is a group: its settings stand indented below it`);
      continue;
    }
    for (const each of itemsOf(reader, log.node)) {
      const isKnown = LOG_SETTING_NAMES.some((name) => name === each.name);
      if (!isKnown) problems.push(`${each.place}: ${unknownKey(each.name, LOG_SETTING_NAMES, `logs.${log.name}.`)}`);
      else if (isScalar(each.node) && isRaw(each.node.value)) {
        values.set(each.name, { value: each.node.value, origin: { kind: "file", place: each.place } });
      } else problems.push(`${each.place}: logs.${log.name}.${each.name} must have one value`);
    }
  }
}

function readMap(reader: FileReader, map: YAMLMap, path: readonly string[]): void {
  const { settings, values, problems } = reader;
  for (const { name, place, node } of itemsOf(reader, map)) {
    const key = [...path, name].join(".");
    if (key === "logs") {
      readLogs(reader, node, place);
      continue;
    }
    const about = settings.find((each) => each.key === key)?.about;
    const isGroup = settings.some((each) => each.key.startsWith(`${key}.`));
    if (isGroup && isMap(node)) {
      readMap(reader, node, [...path, name]);
    } else if (isGroup) {
      problems.push(`${place}: ${key} is a group: its settings stand indented below it`);
    } else if (about === undefined) {
      const known = [...settings.map((each) => each.key), "logs"];
      problems.push(`${place}: ${unknownKey(key, known)}`);
    } else if (isMap(node) && about.isMap === true) {
      const pairs = itemsOf(reader, node).map((each) => `${each.name}=${textOf(reader, each.node)}`);
      values.set(key, { value: pairs.join(","), origin: { kind: "file", place } });
    } else if (isSeq(node) && about.isList === true) {
      const value = node.items.map((item) => (isScalar(item) ? String(item.value) : "")).join(",");
      values.set(key, { value, origin: { kind: "file", place } });
    } else if (isScalar(node) && isRaw(node.value)) {
      values.set(key, { value: node.value, origin: { kind: "file", place } });
    } else {
      problems.push(`${place}: ${key} must have one value`);
    }
  }
}

/** What stands behind a name of a map: a value, or several with names, the first of which may be a URL: `u;a=1;b.c=2`. */
function textOf(reader: FileReader, node: unknown, path = ""): string {
  if (isScalar(node)) return String(node.value);
  if (!isMap(node)) return "";
  const items = itemsOf(reader, node);
  const url = path === "" ? items.find(({ name }) => name === "url") : undefined;
  const texts = items
    .filter((item) => item !== url)
    .map(({ name, node: inner }) =>
      isMap(inner) ? textOf(reader, inner, `${path}${name}.`) : `${path}${name}=${textOf(reader, inner)}`,
    );
  return [...(url === undefined ? [] : [textOf(reader, url.node)]), ...texts].join(";");
}

function isRaw(value: unknown): value is RawValue["value"] {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

/** A sentence about a key that no setting has, with the one that was probably meant. */
function unknownKey(key: string, known: readonly string[], group = ""): string {
  const nearest = findNearest(key, known);
  if (nearest !== undefined) return `${group}${key} is no setting: did you mean ${group}${nearest}?`;
  const all = group === "" ? '"sluice config show" lists all of them' : `a log has ${known.join(", ")}`;
  return `${group}${key} is no setting; ${all}`;
}
