// A line of Prometheus' formats, read from its beginning to its end.
import { SluiceError } from "../errors.ts";
import type { LabelPairs } from "./incoming.ts";

/** A line that is none. To recover: mend what writes it. */
export class BadExposition extends SluiceError {
  override readonly name = "BadExposition";
  constructor(line: number, why: string, text: string) {
    const shown = JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
    super("invalid-argument", `line ${line}: ${why}: ${shown}`, { reason: "BAD_EXPOSITION" });
  }
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

/** A position in a line. What it does not find there is a BadExposition. */
export class Cursor {
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

export const ESCAPES = /\\([\\n"])/gu;
/** In the text format's HELP quotes stand for themselves. */
export const HELP_ESCAPES = /\\([\\n])/gu;

export function unescape(text: string, escapes: RegExp): string {
  return text.replaceAll(escapes, (_, character: string) => (character === "n" ? "\n" : character));
}
