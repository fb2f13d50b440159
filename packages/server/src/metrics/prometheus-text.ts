// Reads what Prometheus' targets say: the text format (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics
// (prometheus.io/docs/specs/om/open_metrics_spec), line by line, with names in UTF-8 as both have them since Prometheus 3.
//
// P1. Every line is a sample, says something of a family, or is wrong: then it is told with its number and what it says.
// P2. A family is all samples between two others, or, of a whole text, all of its name: `_bucket`, `_sum`, `_count` and what
//     else belongs to it by its type are its own.
import { SluiceError } from "../errors.ts";
import type { LabelPairs } from "./incoming.ts";

export type FamilyType =
  | "counter"
  | "gauge"
  | "histogram"
  | "gaugehistogram"
  | "summary"
  | "info"
  | "stateset"
  | "unknown";

export interface TextExemplar {
  readonly labels: LabelPairs;
  readonly value: number;
  /** Unix ns. */
  readonly timestampNs: bigint | undefined;
}

export interface TextSample {
  /** With its suffix. */
  readonly name: string;
  readonly labels: LabelPairs;
  readonly value: number;
  /** Unix ns. */
  readonly timestampNs: bigint | undefined;
  readonly exemplar: TextExemplar | undefined;
}

export interface TextFamily {
  readonly name: string;
  readonly type: FamilyType;
  readonly help: string;
  readonly unit: string;
  readonly samples: readonly TextSample[];
}

/** "text": times are milliseconds; "openmetrics": they are seconds, and the text ends with `# EOF`. */
export type TextFormat = "text" | "openmetrics";

/** A line that is none. To recover: mend what writes it. */
export class BadExposition extends SluiceError {
  override readonly name = "BadExposition";
  constructor(line: number, why: string, text: string) {
    const shown = JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
    super("invalid-argument", `line ${line}: ${why}: ${shown}`, { reason: "BAD_EXPOSITION" });
  }
}

const SUFFIXES: Readonly<Record<FamilyType, readonly string[]>> = {
  counter: ["_total", "_created"],
  gauge: [],
  histogram: ["_bucket", "_sum", "_count", "_created"],
  gaugehistogram: ["_bucket", "_gsum", "_gcount"],
  summary: ["_sum", "_count", "_created"],
  info: ["_info"],
  stateset: [],
  unknown: [],
};
/** The text format has no counters without `_total` in their own name, and calls what it does not know untyped. */
const TYPES: ReadonlyMap<string, FamilyType> = new Map([
  ...(Object.keys(SUFFIXES) as FamilyType[]).map((type) => [type, type] as const),
  ["untyped", "unknown"],
]);

const DECLARED_MAX = 100_000;

interface OpenFamily {
  readonly name: string;
  type: FamilyType;
  help: string;
  unit: string;
  samples: TextSample[];
}

/** All families of a text. @throws BadExposition */
export function parseExposition(text: string, format: TextFormat): TextFamily[] {
  const reader = new ExpositionReader(format);
  const byName = new Map<string, OpenFamily>();
  const take = (family: TextFamily | undefined): void => {
    if (family === undefined) return;
    const known = byName.get(family.name);
    if (known === undefined) byName.set(family.name, { ...family, samples: [...family.samples] });
    else for (const sample of family.samples) known.samples.push(sample);
  };
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    take(reader.line(text.slice(start, end)));
    start = end + 1;
  }
  take(reader.end());
  return [...byName.values()];
}

export class ExpositionReader {
  readonly #format: TextFormat;
  /** What was said of families before their samples, by name. */
  readonly #declared = new Map<string, Omit<OpenFamily, "samples">>();
  #family: OpenFamily | undefined;
  #lines = 0;
  #hasEnded = false;

  constructor(format: TextFormat) {
    this.#format = format;
  }

  /** Takes a line without its end; answers the family that is complete because of it. @throws BadExposition */
  line(text: string): TextFamily | undefined {
    this.#lines++;
    const cursor = new Cursor(text, this.#lines);
    cursor.space();
    if (cursor.isAtEnd) return undefined;
    if (this.#hasEnded) cursor.fail("something behind # EOF");
    if (cursor.peek() === "#") return this.#comment(cursor);
    const { name, labels } = cursor.series();
    cursor.space();
    const value = cursor.number("value");
    cursor.space();
    let timestampNs: bigint | undefined;
    if (!cursor.isAtEnd && cursor.peek() !== "#") {
      timestampNs = this.#time(cursor);
      cursor.space();
    }
    const exemplar = cursor.isAtEnd ? undefined : this.#exemplar(cursor);
    return this.#add({ name, labels, value, timestampNs, exemplar });
  }

  /** Answers the last family. @throws BadExposition when an OpenMetrics text has no end */
  end(): TextFamily | undefined {
    if (this.#format === "openmetrics" && !this.#hasEnded) {
      throw new BadExposition(this.#lines + 1, "the text ends without # EOF", "");
    }
    const last = this.#family;
    this.#family = undefined;
    return last;
  }

  #comment(cursor: Cursor): TextFamily | undefined {
    cursor.skip(1);
    cursor.space();
    const word = cursor.word();
    if (word === "EOF") {
      cursor.space();
      // A word like any other in a comment of the text format.
      if (this.#format === "openmetrics") {
        if (!cursor.isAtEnd) cursor.fail("something behind # EOF");
        this.#hasEnded = true;
      }
      return undefined;
    }
    if (word !== "HELP" && word !== "TYPE" && word !== "UNIT") return undefined;
    cursor.space();
    const name = cursor.metricName();
    cursor.space();
    const rest = cursor.rest();
    const declared = this.#declare(name);
    if (word === "HELP") declared.help = unescape(rest, this.#format === "text" ? HELP_ESCAPES : ESCAPES);
    else if (word === "UNIT") declared.unit = rest.trim();
    else {
      const type = TYPES.get(rest.trim().toLowerCase());
      if (type === undefined) cursor.fail(`"${rest.trim()}" is no type`);
      else declared.type = type;
    }
    if (this.#family === undefined || this.#family.name === name) {
      if (this.#family !== undefined) Object.assign(this.#family, declared);
      return undefined;
    }
    const complete = this.#family;
    this.#family = undefined;
    return complete;
  }

  #declare(name: string): Omit<OpenFamily, "samples"> {
    let declared = this.#declared.get(name);
    if (declared === undefined) {
      // Of a text without an end: what was said long ago is said again.
      if (this.#declared.size === DECLARED_MAX) this.#declared.clear();
      declared = { name, type: "unknown", help: "", unit: "" };
      this.#declared.set(name, declared);
    }
    return declared;
  }

  #add(sample: TextSample): TextFamily | undefined {
    const family = this.#family;
    if (family !== undefined && isOf(sample.name, family)) {
      family.samples.push(sample);
      return undefined;
    }
    const declared = this.#declared.get(sample.name) ?? this.#declaredBySuffix(sample.name);
    this.#family = { name: sample.name, type: "unknown", help: "", unit: "", ...declared, samples: [sample] };
    return family;
  }

  #declaredBySuffix(name: string): Omit<OpenFamily, "samples"> | undefined {
    const at = name.lastIndexOf("_");
    const declared = at <= 0 ? undefined : this.#declared.get(name.slice(0, at));
    return declared !== undefined && isOf(name, declared) ? declared : undefined;
  }

  #time(cursor: Cursor): bigint {
    if (this.#format === "openmetrics") return nsOfSeconds(cursor.number("timestamp"), cursor);
    const text = cursor.word();
    if (!/^-?\d{1,16}$/u.test(text)) cursor.fail(`"${text}" is no timestamp in milliseconds`);
    return BigInt(text) * 1_000_000n;
  }

  #exemplar(cursor: Cursor): TextExemplar {
    if (this.#format === "text" || cursor.peek() !== "#") cursor.fail("something behind the sample");
    cursor.skip(1);
    cursor.space();
    if (cursor.peek() !== "{") cursor.fail("an exemplar begins with its labels");
    const labels = cursor.labels().labels;
    cursor.space();
    const value = cursor.number("value of the exemplar");
    cursor.space();
    const timestampNs = cursor.isAtEnd ? undefined : nsOfSeconds(cursor.number("timestamp of the exemplar"), cursor);
    cursor.space();
    if (!cursor.isAtEnd) cursor.fail("something behind the exemplar");
    return { labels, value, timestampNs };
  }
}

function isOf(name: string, { name: family, type }: Pick<OpenFamily, "name" | "type">): boolean {
  if (name === family) return true;
  return name.startsWith(family) && SUFFIXES[type].includes(name.slice(family.length));
}

/** To the microsecond, as far as a double tells them. */
function nsOfSeconds(seconds: number, cursor: Cursor): bigint {
  if (!Number.isFinite(seconds) || Math.abs(seconds) > 1e10) cursor.fail(`${seconds} is no timestamp in seconds`);
  return BigInt(Math.round(seconds * 1e6)) * 1000n;
}

const ESCAPES = /\\([\\n"])/gu;
/** In the text format's HELP quotes stand for themselves. */
const HELP_ESCAPES = /\\([\\n])/gu;

function unescape(text: string, escapes: RegExp): string {
  return text.replaceAll(escapes, (_, character: string) => (character === "n" ? "\n" : character));
}

/** Of one line: they are compared with each other. */
const LABELS_MAX = 1024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const TAB = 0x09;
const RETURN = 0x0d;
const NAME = /[^\s{}"=,#]+/uy;
const LABEL_NAME = /[^\s{}"=,]+/uy;
const WORD = /\S*/uy;

/** A position in a line. */
class Cursor {
  readonly #text: string;
  readonly #line: number;
  #at = 0;

  constructor(text: string, line: number) {
    this.#text = text;
    this.#line = line;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  fail(why: string): never {
    throw new BadExposition(this.#line, why, this.#text);
  }

  peek(): string {
    return this.#text.charAt(this.#at);
  }

  skip(characters: number): void {
    this.#at += characters;
  }

  space(): void {
    for (; this.#at < this.#text.length; this.#at++) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== SPACE && code !== TAB && code !== RETURN) return;
    }
  }

  rest(): string {
    const rest = this.#text.slice(this.#at);
    this.#at = this.#text.length;
    return rest.endsWith("\r") ? rest.slice(0, -1) : rest;
  }

  word(): string {
    return this.#match(WORD);
  }

  number(what: string): number {
    const text = this.word();
    const value = numberOf(text);
    if (value === undefined) this.fail(`"${text}" is no ${what}`);
    return value;
  }

  /** A name as it stands behind HELP and TYPE. */
  metricName(): string {
    if (this.peek() === '"') return this.#quoted();
    const name = this.#match(NAME);
    if (name === "") this.fail("there is no name");
    return name;
  }

  /** `name{label="value"}`, or `{"name",label="value"}`. */
  series(): { readonly name: string; readonly labels: LabelPairs } {
    const before = this.peek() === "{" ? undefined : this.#match(NAME);
    if (before === "") this.fail("there is no name");
    this.space();
    if (this.peek() !== "{") return { name: before!, labels: [] };
    const { name = before, labels } = this.labels();
    if (name === undefined || (before !== undefined && name !== before)) this.fail("it must have one name");
    return { name, labels };
  }

  /** In braces; one that is a text alone is the name of the metric. */
  labels(): { readonly name?: string; readonly labels: LabelPairs } {
    this.skip(1);
    const labels: [string, string][] = [];
    let name: string | undefined;
    for (;;) {
      this.space();
      if (this.peek() === "}") break;
      const isQuoted = this.peek() === '"';
      const key = isQuoted ? this.#quoted() : this.#match(LABEL_NAME);
      if (key === "") this.fail("a label has no name");
      if (labels.length === LABELS_MAX) this.fail(`there are more than ${LABELS_MAX} labels`);
      this.space();
      if (this.peek() === "=") {
        this.skip(1);
        this.space();
        if (this.peek() !== '"') this.fail(`the value of the label "${key}" is not in quotes`);
        if (labels.some(([each]) => each === key)) this.fail(`the label "${key}" is there twice`);
        labels.push([key, this.#quoted()]);
      } else if (isQuoted && name === undefined) name = key;
      else this.fail(`the label "${key}" has no value`);
      this.space();
      if (this.peek() === ",") this.skip(1);
      else if (this.peek() !== "}") this.fail("labels are not ended");
    }
    this.skip(1);
    return name === undefined ? { labels } : { name, labels };
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  /** A text in quotes with \\, \" and \n. */
  #quoted(): string {
    const text = this.#text;
    const start = ++this.#at;
    let isPlain = true;
    for (; this.#at < text.length; this.#at++) {
      const code = text.charCodeAt(this.#at);
      if (code === BACKSLASH) {
        isPlain = false;
        this.#at++;
      } else if (code === QUOTE) {
        const found = text.slice(start, this.#at++);
        return isPlain ? found : unescape(found, ESCAPES);
      }
    }
    return this.fail("a text in quotes has no end");
  }
}

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/u;
const SPECIAL = /^(?<sign>[+-]?)(?:(?<infinite>inf|infinity)|nan)$/iu;

/** As Go reads it, without hexadecimal ones. */
function numberOf(text: string): number | undefined {
  if (DECIMAL.test(text)) return Number(text);
  const groups = SPECIAL.exec(text)?.groups;
  if (groups === undefined) return undefined;
  if (groups["infinite"] === undefined) return Number.NaN;
  return groups["sign"] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}
