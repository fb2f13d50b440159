// Series as others hold them: those that are live are rows of columns, those that are not say everything themselves.
//
// V1. Whoever still holds a series that has gone finds it as it was: its row is another's by then.
import { encodeHead, encodeIntroduction } from "./point-fields.ts";
import type { MetricType, Point, SeriesDescription } from "./point.ts";
import type { EarlierPoint, Family, SeriesColumns } from "./series-columns.ts";

/** A series, live or not. */
export interface DescribedSeries {
  /** Stands for all of the description. */
  readonly key: string;
  readonly description: SeriesDescription;
  /** Fields of MetricPoint that every point of it has. */
  readonly head: Uint8Array;
  /** Those that the first point on a stream has besides. */
  readonly introduction: Uint8Array;
  label(name: string): string;
}

/** Its fields are encoded when somebody is told of it, once. */
interface Encoded {
  readonly description: SeriesDescription;
  readonly head: Uint8Array;
  readonly introduction: Uint8Array;
}

function encode(description: SeriesDescription): Encoded {
  return { description, head: encodeHead(description), introduction: encodeIntroduction(description) };
}

function labelIn(labels: SeriesDescription["labels"], name: string): string {
  return labels.find(([each]) => each === name)?.[1] ?? "";
}

/** A series that is not live. */
export class PastSeries implements DescribedSeries {
  readonly key: string;
  readonly description: SeriesDescription;
  #encoded: Encoded | undefined;

  constructor(key: string, description: SeriesDescription) {
    this.key = key;
    this.description = description;
  }

  get head(): Uint8Array {
    return (this.#encoded ??= encode(this.description)).head;
  }

  get introduction(): Uint8Array {
    return (this.#encoded ??= encode(this.description)).introduction;
  }

  label(name: string): string {
    return labelIn(this.description.labels, name);
  }
}

/** What there is of a series at one time. */
export interface SeriesNow {
  /** Points so far. */
  readonly updates: number;
  readonly point: Point;
  readonly isStale: boolean;
}

/** What a series was when it left the table. */
interface Departed {
  readonly key: string;
  readonly description: SeriesDescription;
  readonly point: Point;
  readonly previous: EarlierPoint;
  readonly updates: number;
  readonly isStale: boolean;
  readonly historyId: number;
}

/** A series that is live: one object for as long as it is there. What is known of it is a row (series-columns.ts). */
export class Series implements DescribedSeries {
  readonly #columns: SeriesColumns;
  readonly #row: number;
  #departed: Departed | undefined;
  #encoded: Encoded | undefined;
  #now: SeriesNow | undefined;

  constructor(columns: SeriesColumns, row: number) {
    this.#columns = columns;
    this.#row = row;
  }

  get key(): string {
    return this.#departed === undefined ? this.#columns.key(this.#row) : this.#departed.key;
  }

  get description(): SeriesDescription {
    return this.#encoded?.description ?? this.#departed?.description ?? new LiveDescription(this, this.family);
  }

  /** What is shared with other series: the cheap part of the description. */
  get family(): Family {
    return this.#departed === undefined ? this.#columns.family(this.#row) : this.#departed.description;
  }

  get labels(): SeriesDescription["labels"] {
    return this.#departed === undefined ? this.#columns.labels(this.#row) : this.#departed.description.labels;
  }

  get head(): Uint8Array {
    return this.#encode().head;
  }

  get introduction(): Uint8Array {
    return this.#encode().introduction;
  }

  get point(): Point {
    return this.#departed === undefined ? this.#columns.point(this.#row) : this.#departed.point;
  }

  /** Of its point. */
  get timestampNs(): bigint {
    return this.#departed === undefined ? this.#columns.timestampNs(this.#row) : this.#departed.point.timestampNs;
  }

  /** Of its point. */
  get value(): number {
    return this.#departed === undefined ? this.#columns.value(this.#row) : this.#departed.point.value;
  }

  /** The point before: where the first rate that a subscriber gets begins. */
  get previous(): EarlierPoint {
    return this.#departed === undefined ? this.#columns.earlier(this.#row) : this.#departed.previous;
  }

  /** Points so far; the last of them may be that it is stale. */
  get updates(): number {
    return this.#departed === undefined ? this.#columns.updates(this.#row) : this.#departed.updates;
  }

  get isStale(): boolean {
    return this.#departed === undefined ? this.#columns.isStale(this.#row) : this.#departed.isStale;
  }

  /** The newest point, with what stands beside it: one object for all who tell of it, until there is a newer one. */
  get now(): SeriesNow {
    const { updates } = this;
    if (this.#now?.updates !== updates) this.#now = { updates, point: this.point, isStale: this.isStale };
    return this.#now;
  }

  /** It has left the table. */
  get isGone(): boolean {
    return this.#departed !== undefined;
  }

  /** Its number in the history; -1: it has none yet. */
  get historyId(): number {
    return this.#departed === undefined ? this.#columns.historyId(this.#row) : this.#departed.historyId;
  }

  set historyId(id: number) {
    if (this.#departed === undefined) this.#columns.setHistoryId(this.#row, id);
  }

  label(name: string): string {
    return this.#departed === undefined ? this.#columns.label(this.#row, name) : labelIn(this.labels, name);
  }

  /** V1: before its row goes. Answers the row. For the table. */
  depart(): number {
    const { key, point, previous, updates, isStale, historyId } = this;
    const description = { ...this.family, labels: this.labels };
    this.#departed = { key, description, point, previous, updates, isStale, historyId };
    return this.#row;
  }

  /** For the table. */
  get row(): number {
    return this.#row;
  }

  #encode(): Encoded {
    return (this.#encoded ??= encode({ ...this.family, labels: this.labels }));
  }
}

/** The description of a live series: most of those who ask for it do not look at the labels, which are made only then. */
class LiveDescription implements SeriesDescription {
  readonly #series: Series;
  readonly #family: Family;

  constructor(series: Series, family: Family) {
    this.#series = series;
    this.#family = family;
  }

  get name(): string {
    return this.#family.name;
  }
  get type(): MetricType {
    return this.#family.type;
  }
  get unit(): string {
    return this.#family.unit;
  }
  get description(): string {
    return this.#family.description;
  }
  get labels(): SeriesDescription["labels"] {
    return this.#series.labels;
  }
  get origin(): string {
    return this.#family.origin;
  }
  get owner(): string | undefined {
    return this.#family.owner;
  }
  get rateScale(): number | undefined {
    return this.#family.rateScale;
  }
  get rateMax(): number | undefined {
    return this.#family.rateMax;
  }
  get lookedAtMs(): (() => number) | undefined {
    return this.#family.lookedAtMs;
  }
}
