// Records of the history's logs, and points in them (docs/formats/metrics.md).
//
// Points are told one after the other, each a varint and what it says: 0 and a varint, twice the place of a tick of the record,
// or 1 more than twice that of a start: the points that follow are of this tick, or have this start (0 at first); else four times the difference of the series' number to the one before (zigzag), plus
//   1  a double (8 bytes)
//   2  a double that is a whole number
//   3  a length (varint) and a whole point (whole-point.ts)
import { crc32 } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type MetricsRecord,
  MetricsRecordSchema,
  type PointsRecord,
  PointsRecordSchema,
  type SeriesDefinition,
} from "@sluice/api";
import type { Batch, FrameCodec } from "../../store/contract.ts";
import { ByteSink } from "../../stream/byte-sink.ts";
import { WireReader } from "../../stream/wire.ts";
import { type DescribedSeries, type MetricType, PastSeries, type SeriesDescription } from "../series.ts";
import { decodeWhole, encodeWhole, isPlain, type PastPoint, STALE_HIGH, STALE_LOW } from "./whole-point.ts";

const HEADER_BYTES = 5;
/** Of `sequence`, `epoch` and `checksum`: each a tag and a fixed width. */
const STAMP_BYTES = 9 + 5 + 5;
const SEQUENCE_TAG = (13 << 3) | 1;
const EPOCH_TAG = (14 << 3) | 5;
const CHECKSUM_TAG = (15 << 3) | 5;

/** How the store proves a record. */
export const metricsFrameCodec: FrameCodec = {
  describe(bytes, start, end) {
    const message = start + HEADER_BYTES;
    const stamp = end - STAMP_BYTES;
    if (stamp < message || bytes[start] !== 0) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (view.getUint32(start + 1) !== end - message) return undefined;
    if (bytes[stamp] !== SEQUENCE_TAG || bytes[stamp + 9] !== EPOCH_TAG || bytes[end - 5] !== CHECKSUM_TAG)
      return undefined;
    if (view.getUint32(end - 4, true) !== crc32(bytes.subarray(message, end - 5))) return undefined;
    const sequence = Number(view.getBigUint64(stamp + 1, true));
    const epoch = view.getUint32(stamp + 10, true);
    return { epoch, sequence, timestamp: 0n, severity: 0, label: "", producer: "", producerSequence: 0 };
  },
};

/** A batch of one record, as the log takes it. */
export function batchOf(message: Uint8Array, { sequence, epoch }: { sequence: number; epoch: number }): Batch {
  const size = HEADER_BYTES + message.length + STAMP_BYTES;
  const bytes = Buffer.allocUnsafeSlow(size);
  bytes[0] = 0;
  bytes.writeUInt32BE(size - HEADER_BYTES, 1);
  bytes.set(message, HEADER_BYTES);
  let at = HEADER_BYTES + message.length;
  bytes[at] = SEQUENCE_TAG;
  at = bytes.writeBigUInt64LE(BigInt(sequence), at + 1);
  bytes[at] = EPOCH_TAG;
  at = bytes.writeUInt32LE(epoch, at + 1);
  bytes.writeUInt32LE(crc32(bytes.subarray(HEADER_BYTES, at)), at + 1);
  bytes[at] = CHECKSUM_TAG;
  return {
    count: 1,
    bytes,
    offsets: Uint32Array.of(0),
    lengths: Uint32Array.of(size),
    timestamps: new BigInt64Array(1),
    severities: new Uint8Array(1),
    labels: new Uint32Array(1),
  };
}

export function encodeRecord(kind: MessageInitShape<typeof MetricsRecordSchema>["kind"]): Uint8Array {
  return toBinary(MetricsRecordSchema, create(MetricsRecordSchema, kind === undefined ? {} : { kind }));
}

/** Of a frame that has proven itself. */
export function decodeRecord(bytes: Uint8Array, start: number, end: number): MetricsRecord["kind"] {
  return fromBinary(MetricsRecordSchema, bytes.subarray(start + HEADER_BYTES, end)).kind;
}

/** Adds a series to a list of SeriesDefinition, field 1 of whoever has it. Written at once: a list of objects would be garbage. */
export function writeDefinition(sink: ByteSink, id: number, { key, description: known }: DescribedSeries): void {
  const { name, type, unit, description, labels, origin, rateScale, rateMax, owner } = known;
  const own = definition;
  own.used = 0;
  own.varintField(DefinitionTag.ID, id);
  own.textField(DefinitionTag.KEY, key);
  own.textField(DefinitionTag.NAME, name);
  own.textField(DefinitionTag.METRIC_TYPE, type);
  if (unit !== "") own.textField(DefinitionTag.UNIT, unit);
  if (description !== "") own.textField(DefinitionTag.DESCRIPTION, description);
  for (const pair of labels) for (const text of pair) own.textField(DefinitionTag.LABELS, text);
  own.textField(DefinitionTag.ORIGIN, origin);
  if (rateScale !== undefined) doubleField(own, DefinitionTag.RATE_SCALE, rateScale);
  if (rateMax !== undefined) doubleField(own, DefinitionTag.RATE_MAX, rateMax);
  if (owner !== undefined) own.textField(DefinitionTag.OWNER, owner);
  sink.spanField(LIST_TAG, own.bytes, 0, own.used);
}

function doubleField(sink: ByteSink, tag: number, value: number): void {
  sink.varint(tag);
  sink.reserve(8);
  sink.used = sink.bytes.writeDoubleLE(value, sink.used);
}

const LIST_TAG = (1 << 3) | 2;
const DefinitionTag = {
  ID: 1 << 3,
  KEY: (2 << 3) | 2,
  NAME: (3 << 3) | 2,
  METRIC_TYPE: (4 << 3) | 2,
  UNIT: (5 << 3) | 2,
  DESCRIPTION: (6 << 3) | 2,
  LABELS: (7 << 3) | 2,
  ORIGIN: (8 << 3) | 2,
  RATE_SCALE: (9 << 3) | 1,
  RATE_MAX: (10 << 3) | 1,
  OWNER: (11 << 3) | 2,
} as const;
/** Used again for each. */
const definition = new ByteSink(1024);

export function seriesOf(told: SeriesDefinition): DescribedSeries {
  const { key, name, metricType, unit, description, labels: flat, origin, owner } = told;
  const labels = Array.from({ length: flat.length / 2 }, (_, i): [string, string] => [flat[2 * i]!, flat[2 * i + 1]!]);
  const about = { name, type: metricType as MetricType, unit, description, labels, origin, owner };
  return new PastSeries(key, { ...about, ...ratesOf(told) });
}

function ratesOf({ rateScale, rateMax }: Pick<SeriesDescription, "rateScale" | "rateMax">) {
  return { ...(rateScale === undefined ? {} : { rateScale }), ...(rateMax === undefined ? {} : { rateMax }) };
}

/** Of MetricsRecord. */
const POINTS_TAG = (1 << 3) | 2;
const Told = { DOUBLE: 1, INT: 2, WHOLE: 3 } as const;

/** What was written since the last commit. */
export class OpenRecord {
  /** That the record will have. */
  readonly sequence: number;
  readonly firstTick: number;
  readonly timestamps: bigint[] = [];
  readonly starts: bigint[] = [];
  /** Series that have no number yet, as they will lie in the record. */
  readonly #series = new ByteSink(0);
  readonly #sink = new ByteSink(1024);
  readonly #ticks = new Map<bigint, number>();
  #tick = -1;
  #startNs = 0n;
  #id = 0;

  constructor(sequence: number, firstTick: number) {
    this.sequence = sequence;
    this.firstTick = firstTick;
  }

  get bytes(): number {
    return this.#sink.used + this.#series.used;
  }

  /** A series has got a number. */
  describe(id: number, series: DescribedSeries): void {
    writeDefinition(this.#series, id, series);
  }

  /** The tick of this time; `make` is asked for one when there is none yet. */
  tick(timestampNs: bigint, make: () => number): number {
    let tick = this.#ticks.get(timestampNs);
    if (tick !== undefined) return tick;
    tick = make();
    this.#ticks.set(timestampNs, tick);
    this.timestamps.push(timestampNs);
    return tick;
  }

  add(id: number, tick: number, point: PastPoint): void {
    const sink = this.#sink;
    if (tick !== this.#tick) {
      sink.varint(0);
      sink.varint(2 * (tick - this.firstTick));
      this.#tick = tick;
    }
    const isTold = point.isStale || isPlain(point);
    if (isTold && point.startNs !== this.#startNs) this.#setStart(point.startNs);
    const difference = id - this.#id;
    this.#id = id;
    const step = 4 * (difference < 0 ? -2 * difference - 1 : 2 * difference);
    if (!isTold) {
      const whole = encodeWhole(point);
      sink.varint(step + Told.WHOLE);
      sink.varint(whole.length);
      sink.raw(whole, 0, whole.length);
      return;
    }
    sink.varint(step + (point.intValue === undefined || point.isStale ? Told.DOUBLE : Told.INT));
    sink.reserve(8);
    if (point.isStale) {
      sink.used = sink.bytes.writeUInt32LE(STALE_LOW, sink.used);
      sink.used = sink.bytes.writeUInt32LE(STALE_HIGH, sink.used);
    } else sink.used = sink.bytes.writeDoubleLE(point.value, sink.used);
  }

  #setStart(startNs: bigint): void {
    let place = this.starts.indexOf(startNs);
    if (place < 0) place = this.starts.push(startNs) - 1;
    this.#sink.varint(0);
    this.#sink.varint(2 * place + 1);
    this.#startNs = startNs;
  }

  toMessage(): Uint8Array {
    const { timestamps, starts, firstTick } = this;
    const points = this.#sink.bytes.subarray(0, this.#sink.used);
    const rest = toBinary(
      PointsRecordSchema,
      create(PointsRecordSchema, { firstTick: BigInt(firstTick), timestamps, starts, points }),
    );
    const series = this.#series;
    const message = new ByteSink(16 + series.used + rest.length);
    message.varint(POINTS_TAG);
    message.varint(series.used + rest.length);
    message.raw(series.bytes, 0, series.used);
    message.raw(rest, 0, rest.length);
    return message.bytes.subarray(0, message.used);
  }
}

const wire = new WireReader();

/** Reads what `add` wrote. */
export function readPoints(
  told: Pick<PointsRecord, "points" | "timestamps" | "starts" | "firstTick">,
  visit: (id: number, tick: number, point: PastPoint) => void,
): void {
  const bytes = Buffer.from(told.points.buffer, told.points.byteOffset, told.points.length);
  const firstTick = Number(told.firstTick);
  let index = 0;
  let startNs = 0n;
  let id = 0;
  wire.open(bytes, 0, bytes.length);
  while (wire.pos < wire.end) {
    const code = wire.varint();
    if (code === 0) {
      const place = wire.varint();
      if (place % 2 === 0) index = place / 2;
      else startNs = told.starts[(place - 1) / 2] ?? 0n;
      continue;
    }
    const zigzag = Math.floor(code / 4);
    id += zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
    const timestampNs = told.timestamps[index]!;
    if (code % 4 === Told.WHOLE) {
      const length = wire.varint();
      const at = wire.pos;
      wire.pos = at + length;
      visit(id, firstTick + index, decodeWhole(bytes.subarray(at, at + length), timestampNs));
      continue;
    }
    const at = wire.pos;
    wire.pos = at + 8;
    const value = bytes.readDoubleLE(at);
    const isStale = bytes.readUInt32LE(at) === STALE_LOW && bytes.readUInt32LE(at + 4) === STALE_HIGH;
    const intValue = code % 4 === Told.INT ? BigInt(value) : undefined;
    visit(id, firstTick + index, { value, intValue, timestampNs, startNs, isStale });
  }
}
