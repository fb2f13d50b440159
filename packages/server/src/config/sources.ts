// Where values come from: flags, environment and file, each turned into the same list of raw values.
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap } from "yaml";
import { findNearest } from "./nearest.ts";
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

/** Values of a YAML file. @throws ConfigError that names the lines that are wrong. */
export function readFileText(file: string, text: string, settings: readonly Setting[]): RawValues {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, merge: false });
  const [broken] = document.errors;
  if (broken !== undefined) {
    const sentence = broken.message.split("\n")[0]?.replace(/ at line \d+, column \d+:?$/u, "");
    throw new ConfigError([`${file}:${lines.linePos(broken.pos[0]).line}: is no valid YAML: ${sentence}`]);
  }
  const reader: FileReader = { file, lines, settings, values: new Map(), problems: [] };
  if (isMap(document.contents)) readMap(reader, document.contents, []);
  else if (document.contents !== null)
    reader.problems.push(`${file}:1: must be a map of settings, such as "listen: 127.0.0.1:8080"`);
  if (reader.problems.length > 0) throw new ConfigError(reader.problems);
  return reader.values;
}

interface FileReader {
  readonly file: string;
  readonly lines: LineCounter;
  readonly settings: readonly Setting[];
  readonly values: Map<string, RawValue>;
  readonly problems: string[];
}

function readMap(reader: FileReader, map: YAMLMap, path: readonly string[]): void {
  const { file, lines, settings, values, problems } = reader;
  for (const { key: nameNode, value: node } of map.items) {
    const name = isScalar(nameNode) ? String(nameNode.value) : String(nameNode);
    const range = isScalar(nameNode) ? nameNode.range : undefined;
    const place = `${file}:${lines.linePos(range?.[0] ?? 0).line}`;
    const key = [...path, name].join(".");
    const isGroup = settings.some((each) => each.key.startsWith(`${key}.`));
    if (isGroup && isMap(node)) {
      readMap(reader, node, [...path, name]);
    } else if (isGroup) {
      problems.push(`${place}: ${key} is a group: its settings stand indented below it`);
    } else if (!settings.some((each) => each.key === key)) {
      problems.push(`${place}: ${unknownKey(key, settings)}`);
    } else if (isSeq(node) && settings.some((each) => each.key === key && each.about.isList === true)) {
      const value = node.items.map((item) => (isScalar(item) ? String(item.value) : "")).join(",");
      values.set(key, { value, origin: { kind: "file", place } });
    } else if (isScalar(node) && isRaw(node.value)) {
      values.set(key, { value: node.value, origin: { kind: "file", place } });
    } else {
      problems.push(`${place}: ${key} must have one value`);
    }
  }
}

function isRaw(value: unknown): value is RawValue["value"] {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

/** A sentence about a key that no setting has, with the one that was probably meant. */
function unknownKey(key: string, settings: readonly Setting[]): string {
  const nearest = findNearest(
    key,
    settings.map((each) => each.key),
  );
  return nearest === undefined
    ? `${key} is no setting; "sluice config show" lists all of them`
    : `${key} is no setting: did you mean ${nearest}?`;
}
