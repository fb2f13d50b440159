// Reads what Prometheus' targets say: the text format (prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics
// (prometheus.io/docs/specs/om/open_metrics_spec), line by line, with names in UTF-8 as both have them since Prometheus 3.
//
// P1. Every line is a sample, says something of a family, or is wrong: then it is told with its number and what it says.
// P2. A family is all samples between two others, or, of a whole text, all of its name: `_bucket`, `_sum`, `_count` and what
//     else belongs to it by its type are its own.
import { nextTurn } from "../stream/turn.ts";
import type { LabelPairs } from "./incoming.ts";
import { BadExposition, Cursor, ESCAPES, HELP_ESCAPES, unescape } from "./prometheus-line.ts";

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
  const gathering = new Families(new ExpositionReader(format));
  gathering.read(text, 0, Number.POSITIVE_INFINITY);
  return gathering.end();
}

/** The same, without holding the event loop for more than some milliseconds. @throws BadExposition */
export async function parseExpositionInTurns(text: string, format: TextFormat): Promise<TextFamily[]> {
  const gathering = new Families(new ExpositionReader(format));
  for (let at = 0; at < text.length;) {
    at = gathering.read(text, at, CHUNK_LINES);
    await nextTurn();
  }
  return gathering.end();
}

const CHUNK_LINES = 1000;

/** The families of a whole text, each with all of its samples (P2). */
class Families {
  readonly #reader: ExpositionReader;
  readonly #byName = new Map<string, OpenFamily>();

  constructor(reader: ExpositionReader) {
    this.#reader = reader;
  }

  /** Reads so many lines from a place on; answers where the next one begins. */
  read(text: string, from: number, lines: number): number {
    let start = from;
    for (let line = 0; line < lines && start < text.length; line++) {
      const newline = text.indexOf("\n", start);
      const end = newline < 0 ? text.length : newline;
      this.#take(this.#reader.line(text.slice(start, end)));
      start = end + 1;
    }
    return start;
  }

  end(): TextFamily[] {
    this.#take(this.#reader.end());
    return [...this.#byName.values()];
  }

  #take(family: TextFamily | undefined): void {
    if (family === undefined) return;
    const known = this.#byName.get(family.name);
    if (known === undefined) this.#byName.set(family.name, { ...family, samples: [...family.samples] });
    else for (const sample of family.samples) known.samples.push(sample);
  }
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
