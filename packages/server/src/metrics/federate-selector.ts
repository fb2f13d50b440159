// Prometheus' series selectors: `name{label="value",other=~"x.*"}`, `{__name__=~"http.*"}`, `{"a name in UTF-8", "a label"="x"}`
// (prometheus.io/docs/prometheus/latest/querying/basics). They are asked of series as Prometheus sees them (expose.ts).
//
// S1. Regular expressions are RE2's, anchored at both ends: the time they take grows with the text and with nothing else.
// S2. A selector must need something: one that every series fits is refused, as Prometheus does.
import { RE2JS, RE2JSException } from "re2js";
import { InvalidRequest } from "../errors.ts";
import { exposedOf } from "./expose.ts";
import type { PrometheusNames } from "./expose-names.ts";
import type { OtlpOrigins } from "./otlp-origin.ts";
import type { DescribedSeries, MetricType } from "./series.ts";

type Test = (value: string) => boolean;

export interface Selector {
  /** Of the name alone, as some sample of the series has it. */
  readonly name: readonly Test[];
  readonly labels: readonly { readonly label: string; readonly test: Test }[];
}

/** What series are called there, and where they come from. */
export interface SelectedNames {
  readonly translated: PrometheusNames;
  readonly origins: OtlpOrigins;
}

/** Whether a series, or a sample of it (a histogram's `_bucket`), is selected. */
export function selects(
  { name, labels }: Selector,
  series: Pick<DescribedSeries, "description">,
  { translated, origins }: SelectedNames,
): boolean {
  const { description } = series;
  const known = translated.metric(description);
  const names = [known, ...SUFFIXES[description.type].map((suffix) => known + suffix)];
  if (known === "" || !names.some((each) => name.every((test) => test(each)))) return false;
  if (labels.length === 0) return true;
  const values = new Map(exposedOf(series, translated)?.labels);
  return labels.every(({ label, test }) => test(values.get(label) ?? origins.resourceLabel(series, label)));
}

/** Names that samples of a series have besides. */
const SUFFIXES: Readonly<Record<MetricType, readonly string[]>> = {
  counter: [],
  gauge: [],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["_sum", "_count"],
};

/** @throws InvalidRequest that says where it stops being a selector */
export function parseSelector(text: string, bytesMax: number): Selector {
  if (Buffer.byteLength(text) > bytesMax) throw wrong(text.slice(0, 100), `has more than ${bytesMax} bytes`);
  const scanner = new Scanner(text);
  const name: Test[] = [];
  const labels: { label: string; test: Test }[] = [];
  let needsSomething = false;
  const add = (label: string, test: Test): void => {
    if (!test("")) needsSomething = true;
    if (label === "__name__") name.push(test);
    else labels.push({ label, test });
  };
  const bare = scanner.find(/[a-zA-Z_:][a-zA-Z0-9_:]*/uy);
  if (bare !== undefined) add("__name__", (value) => value === bare);
  if (scanner.find(/\{/uy) !== undefined) {
    while (scanner.find(/\}/uy) === undefined) {
      parseCondition(scanner, add);
      if (scanner.find(/,/uy) === undefined && !scanner.isNext("}")) throw scanner.wrong('"," or "}"');
    }
  } else if (bare === undefined) throw scanner.wrong('a name or "{"');
  if (!scanner.isAtEnd) throw scanner.wrong("nothing more");
  if (!needsSomething) throw wrong(text, "needs nothing: give at least one condition that an empty label does not fit");
  return { name, labels };
}

function parseCondition(scanner: Scanner, add: (label: string, test: Test) => void): void {
  const quoted = scanner.isNext('"') || scanner.isNext("'") || scanner.isNext("`");
  const label = quoted ? scanner.string() : scanner.find(/[a-zA-Z_][a-zA-Z0-9_]*/uy);
  if (label === undefined) throw scanner.wrong("a label");
  const operator = scanner.find(/=~|!~|!=|=/uy);
  if (operator === undefined) {
    if (!quoted) throw scanner.wrong("one of =, !=, =~, !~");
    // A name in quotes stands alone.
    add("__name__", (value) => value === label);
    return;
  }
  const wanted = scanner.string();
  if (operator === "=" || operator === "!=") {
    add(label, (value) => (value === wanted) === (operator === "="));
    return;
  }
  const expression = compile(wanted, scanner);
  add(label, (value) => expression.matches(value) === (operator === "=~"));
}

/** S1. */
function compile(source: string, scanner: Scanner): RE2JS {
  try {
    // In Prometheus a dot stands for a line's end, too.
    return RE2JS.compile(source, RE2JS.DOTALL);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw wrong(scanner.text, error.message);
  }
}

function wrong(text: string, why: string): InvalidRequest {
  return new InvalidRequest("BAD_SELECTOR", [{ field: "match[]", description: `"${text}" ${why}` }]);
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  "'": "'",
  '"': '"',
};

/** A text that is read from its beginning to its end; white space between words does not count. */
class Scanner {
  readonly text: string;
  #at = 0;

  constructor(text: string) {
    this.text = text;
    this.#skipSpace();
  }

  get isAtEnd(): boolean {
    return this.#at >= this.text.length;
  }

  isNext(text: string): boolean {
    return this.text.startsWith(text, this.#at);
  }

  /** What a sticky expression finds here; it is behind then. */
  find(expression: RegExp): string | undefined {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.text)?.[0];
    if (found === undefined) return undefined;
    this.#at += found.length;
    this.#skipSpace();
    return found;
  }

  /** A string as Go writes it. @throws InvalidRequest */
  string(): string {
    const raw = this.find(/`[^`]*`/uy);
    if (raw !== undefined) return raw.slice(1, -1);
    const quoted = this.find(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/uy);
    if (quoted === undefined) throw this.wrong("a value in quotes");
    return quoted.slice(1, -1).replaceAll(ESCAPE, (all, octal?: string, hex?: string, letter?: string) => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      const code = hex === undefined ? undefined : Number.parseInt(hex.slice(1), 16);
      if (code !== undefined && code <= 0x10_ff_ff) return String.fromCodePoint(code);
      const character = ESCAPES[letter ?? ""];
      if (character === undefined) throw wrong(this.text, `has an escape that is none: ${all}`);
      return character;
    });
  }

  wrong(wanted: string): InvalidRequest {
    const rest = this.text.slice(this.#at, this.#at + 20);
    return wrong(this.text, `has ${rest === "" ? "its end" : `"${rest}"`} at ${this.#at} where ${wanted} is expected`);
  }

  #skipSpace(): void {
    while (/\s/u.test(this.text[this.#at] ?? "")) this.#at++;
  }
}
const ESCAPE = /\\(?:([0-7]{3})|(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|(.))/gu;
