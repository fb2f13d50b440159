// What is known of live series, in columns outside the heap: a series is a row. A hundred thousand of them are no work for the
// garbage collector, and a new point makes nothing that it would have to collect.
//
// C1. What series of a metric share (the family) is there once; a row has its number. Labels lie as text behind one another,
//     as in the series' key, which can so be made again.
// C2. What a number and two times do not say (a histogram, a whole number that no double holds, labels that are not those of the
//     key) stands beside the columns, for the few that have it.
// C3. A row that is let go is given again. Whoever has to do with its series longer copies before what it needs.
// `npm run bench -- metrics-memory` shows what it is for.
import { grown } from "./columns.ts";
import { keyPrefix, labelInText, labelsOfText, labelsText } from "./series-key.ts";
import type { Point, SeriesDescription } from "./point.ts";

/** What series of a metric share. */
export type Family = Omit<SeriesDescription, "labels">;

interface KeptFamily {
  readonly family: Family;
  readonly prefix: string;
  readonly id: string;
  /** Rows of it; none: it may go. */
  rows: number;
}

/** Labels or a key that do not follow from each other. */
interface Odd {
  readonly key: string;
  readonly labels: SeriesDescription["labels"];
}

/** What a rate, or a quantile of an interval, begins at. */
export type EarlierPoint = Pick<Point, "value" | "timestampNs" | "shape">;

const ROWS_MIN = 64;
const TEXT_BYTES_MIN = 4096;
/** Fewer bytes of series that are gone are left where they are. */
const DEAD_BYTES_MIN = 1024 * 1024;

const IS_STALE = 1;
const IS_INT = 2;
/** The whole number is beside the columns. */
const IS_WIDE = 4;
const HAS_SHAPE = 8;
const IS_ODD = 16;
const HAS_EARLIER_SHAPE = 32;
/** Of the newest point. */
const OF_POINT = IS_INT | IS_WIDE | HAS_SHAPE;

export class SeriesColumns {
  readonly #families: KeptFamily[] = [];
  readonly #familyIds = new Map<string, number>();
  readonly #freeFamilies: number[] = [];
  readonly #freeRows: number[] = [];
  #rows = 0;

  #family = new Uint32Array(ROWS_MIN);
  #textStart = new Uint32Array(ROWS_MIN);
  #textBytes = new Uint32Array(ROWS_MIN);
  #flags = new Uint8Array(ROWS_MIN);
  #value = new Float64Array(ROWS_MIN);
  #timestamp = new BigInt64Array(ROWS_MIN);
  #start = new BigInt64Array(ROWS_MIN);
  #earlierValue = new Float64Array(ROWS_MIN);
  #earlierTimestamp = new BigInt64Array(ROWS_MIN);
  #updates = new Float64Array(ROWS_MIN);
  #seenMs = new Float64Array(ROWS_MIN);
  #historyId = new Int32Array(ROWS_MIN);

  #text = Buffer.allocUnsafeSlow(TEXT_BYTES_MIN);
  #textUsed = 0;
  #deadBytes = 0;

  /** C2, by row. */
  readonly #wide = new Map<number, bigint>();
  readonly #shapes = new Map<number, Uint8Array>();
  readonly #earlierShapes = new Map<number, Uint8Array>();
  readonly #odd = new Map<number, Odd>();

  /** Takes a series and its first point; answers its row. */
  add(key: string, description: SeriesDescription, point: Point): number {
    const row = this.#freeRows.pop() ?? this.#rows++;
    if (row === this.#flags.length) this.#grow();
    const family = this.#familyOf(description);
    const kept = this.#families[family]!;
    kept.rows++;
    this.#family[row] = family;
    const text = labelsText(description.labels);
    const isOdd = kept.prefix + text !== key || !text.isWellFormed();
    if (isOdd) this.#odd.set(row, { key, labels: description.labels });
    this.#addText(row, isOdd ? "" : text);
    this.#flags[row] = isOdd ? IS_ODD : 0;
    this.#updates[row] = 1;
    this.#historyId[row] = -1;
    this.#put(row, point);
    this.setEarlier(row, point);
    return row;
  }

  /** C3. */
  remove(row: number): void {
    const family = this.#family[row]!;
    const kept = this.#families[family]!;
    if (--kept.rows === 0) {
      if (this.#familyIds.get(kept.id) === family) this.#familyIds.delete(kept.id);
      this.#freeFamilies.push(family);
    }
    for (const beside of [this.#wide, this.#shapes, this.#earlierShapes, this.#odd]) beside.delete(row);
    this.#deadBytes += this.#textBytes[row]!;
    this.#textBytes[row] = 0;
    this.#freeRows.push(row);
    if (this.#deadBytes >= DEAD_BYTES_MIN && 2 * this.#deadBytes > this.#textUsed) this.#compactText();
  }

  family(row: number): Family {
    return this.#families[this.#family[row]!]!.family;
  }

  key(row: number): string {
    if (this.#has(row, IS_ODD)) return this.#odd.get(row)!.key;
    return this.#families[this.#family[row]!]!.prefix + this.#labelsText(row);
  }

  labels(row: number): SeriesDescription["labels"] {
    return this.#has(row, IS_ODD) ? this.#odd.get(row)!.labels : labelsOfText(this.#labelsText(row));
  }

  /** The value of one of them; "": it is not there. */
  label(row: number, name: string): string {
    if (!this.#has(row, IS_ODD)) return labelInText(this.#labelsText(row), name);
    return this.#odd.get(row)!.labels.find(([label]) => label === name)?.[1] ?? "";
  }

  point(row: number): Point {
    const flags = this.#flags[row]!;
    const value = this.#value[row]!;
    const wide = (flags & IS_WIDE) === 0 ? undefined : this.#wide.get(row);
    return {
      value,
      intValue: (flags & IS_INT) === 0 ? wide : BigInt(value),
      timestampNs: this.#timestamp[row]!,
      startNs: this.#start[row]!,
      shape: (flags & HAS_SHAPE) === 0 ? undefined : this.#shapes.get(row),
    };
  }

  value(row: number): number {
    return this.#value[row]!;
  }

  timestampNs(row: number): bigint {
    return this.#timestamp[row]!;
  }

  earlier(row: number): EarlierPoint {
    const shape = this.#has(row, HAS_EARLIER_SHAPE) ? this.#earlierShapes.get(row) : undefined;
    return { value: this.#earlierValue[row]!, timestampNs: this.#earlierTimestamp[row]!, shape };
  }

  updates(row: number): number {
    return this.#updates[row]!;
  }

  seenMs(row: number): number {
    return this.#seenMs[row]!;
  }

  isStale(row: number): boolean {
    return this.#has(row, IS_STALE);
  }

  historyId(row: number): number {
    return this.#historyId[row]!;
  }

  setHistoryId(row: number, id: number): void {
    this.#historyId[row] = id;
  }

  setSeen(row: number, nowMs: number): void {
    this.#seenMs[row] = nowMs;
  }

  /** A newer point; the one before becomes the earlier one. */
  update(row: number, point: Point): void {
    this.#earlierValue[row] = this.#value[row]!;
    this.#earlierTimestamp[row] = this.#timestamp[row]!;
    const hadShape = this.#has(row, HAS_SHAPE);
    if (hadShape) this.#earlierShapes.set(row, this.#shapes.get(row)!);
    this.#put(row, point);
    this.#flags[row] = (this.#flags[row]! & ~(IS_STALE | HAS_EARLIER_SHAPE)) | (hadShape ? HAS_EARLIER_SHAPE : 0);
    this.#updates[row]!++;
  }

  /** It has ended; its point is the last one, at this time. */
  end(row: number, timestampNs: bigint): void {
    this.#timestamp[row] = timestampNs;
    this.#flags[row]! |= IS_STALE;
    this.#updates[row]!++;
  }

  setEarlier(row: number, { value, timestampNs, shape }: EarlierPoint): void {
    this.#earlierValue[row] = value;
    this.#earlierTimestamp[row] = timestampNs;
    this.#flags[row]! &= ~HAS_EARLIER_SHAPE;
    if (shape === undefined) return;
    this.#flags[row]! |= HAS_EARLIER_SHAPE;
    this.#earlierShapes.set(row, shape);
  }

  #has(row: number, flag: number): boolean {
    return (this.#flags[row]! & flag) !== 0;
  }

  #put(row: number, { value, intValue, timestampNs, startNs, shape }: Point): void {
    this.#value[row] = value;
    this.#timestamp[row] = timestampNs;
    this.#start[row] = startNs;
    let flags = 0;
    if (intValue !== undefined) {
      flags = Number.isSafeInteger(value) && !Object.is(value, -0) && BigInt(value) === intValue ? IS_INT : IS_WIDE;
      if (flags === IS_WIDE) this.#wide.set(row, intValue);
    }
    if (shape !== undefined) {
      flags |= HAS_SHAPE;
      this.#shapes.set(row, shape);
    }
    this.#flags[row] = (this.#flags[row]! & ~OF_POINT) | flags;
  }

  #familyOf({ labels: _labels, ...family }: SeriesDescription): number {
    const { type, unit, description, owner, rateScale, rateMax, lookedAtMs } = family;
    const prefix = keyPrefix(family);
    const id = JSON.stringify([prefix, type, unit, description, owner, rateScale, rateMax]);
    const known = this.#familyIds.get(id);
    if (known !== undefined && this.#families[known]!.family.lookedAtMs === lookedAtMs) return known;
    const number = this.#freeFamilies.pop() ?? this.#families.length;
    this.#families[number] = { family, prefix, id, rows: 0 };
    this.#familyIds.set(id, number);
    return number;
  }

  #labelsText(row: number): string {
    const start = this.#textStart[row]!;
    return this.#text.toString("utf8", start, start + this.#textBytes[row]!);
  }

  #addText(row: number, text: string): void {
    const bytes = Buffer.byteLength(text);
    if (this.#textUsed + bytes > this.#text.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#text.length, this.#textUsed + bytes));
      larger.set(this.#text.subarray(0, this.#textUsed));
      this.#text = larger;
    }
    this.#textStart[row] = this.#textUsed;
    this.#textBytes[row] = this.#text.write(text, this.#textUsed);
    this.#textUsed += bytes;
  }

  /** Without the texts of those who are gone. */
  #compactText(): void {
    const before = this.#text;
    this.#text = Buffer.allocUnsafeSlow(Math.max(TEXT_BYTES_MIN, 2 * (this.#textUsed - this.#deadBytes)));
    this.#textUsed = 0;
    this.#deadBytes = 0;
    for (let row = 0; row < this.#rows; row++) {
      const start = this.#textStart[row]!;
      const bytes = this.#textBytes[row]!;
      this.#text.set(before.subarray(start, start + bytes), this.#textUsed);
      this.#textStart[row] = this.#textUsed;
      this.#textUsed += bytes;
    }
  }

  #grow(): void {
    const size = 2 * this.#flags.length;
    this.#family = grown(this.#family, new Uint32Array(size));
    this.#textStart = grown(this.#textStart, new Uint32Array(size));
    this.#textBytes = grown(this.#textBytes, new Uint32Array(size));
    this.#flags = grown(this.#flags, new Uint8Array(size));
    this.#value = grown(this.#value, new Float64Array(size));
    this.#timestamp = grown(this.#timestamp, new BigInt64Array(size));
    this.#start = grown(this.#start, new BigInt64Array(size));
    this.#earlierValue = grown(this.#earlierValue, new Float64Array(size));
    this.#earlierTimestamp = grown(this.#earlierTimestamp, new BigInt64Array(size));
    this.#updates = grown(this.#updates, new Float64Array(size));
    this.#seenMs = grown(this.#seenMs, new Float64Array(size));
    this.#historyId = grown(this.#historyId, new Int32Array(size));
  }
}
