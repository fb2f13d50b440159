// opentelemetry.proto.collector.metrics.v1.MetricsService/Export: what programs say of themselves becomes series.
//
// T1. Labels of a series are the point's attributes, and service.name, service.namespace and service.instance.id of its
//     resource. Resource, scope, unit, type and temporality tell series apart besides (otlp-origin.ts).
// T2. Every data point is taken or counted in partial_success, with the reason of the first that was not. A repeat of the
//     newest point is taken, so that a request that is sent again is no error.
// T3. Deltas are added up (delta-sums.ts): a series of Sluice always counts from its start.
// T4. A number of a known series is read in place: its series is found by the bytes of its attributes (series-cache.ts).
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  DataPointFlags,
  ExponentialHistogramDataPointSchema,
  type ExportMetricsServiceResponseSchema,
  HistogramDataPointSchema,
  type KeyValue,
  NumberDataPointSchema,
  SummaryDataPointSchema,
} from "@sluice/api";
import { nextTurn } from "../stream/turn.ts";
import { bigintOf, WireReader } from "../stream/wire.ts";
import { DeltaSums, type OtlpPoint, plainPoint } from "./delta-sums.ts";
import { findProblem, keyOf, type LabelPairs, refusalOf, sortedLabels } from "./incoming.ts";
import type { IntakeBatch, MetricIntake, Verdict } from "./intake.ts";
import { textOf } from "./otlp-origin.ts";
import { malformed, OtlpSources, type Part, type Source } from "./otlp-source.ts";
import { SeriesCache } from "./series-cache.ts";
import type { SeriesGuard } from "./series-guard.ts";
import type { Point, Series, SeriesTable } from "./series.ts";

/** Points that are taken in one go: some milliseconds. */
const CHUNK_POINTS = 1000;

type ExportResponse = MessageInitShape<typeof ExportMetricsServiceResponseSchema>;

export interface MetricsIngestOptions {
  readonly table: SeriesTable;
  readonly intake: MetricIntake;
  readonly guard: SeriesGuard;
}

/** One request on its way. */
interface Run {
  readonly bytes: Uint8Array;
  readonly batch: IntakeBatch;
  readonly subject: string;
  total: number;
  refused: number;
  firstRefusal: string;
}

export class MetricsIngest implements Disposable {
  readonly #table: SeriesTable;
  readonly #intake: MetricIntake;
  readonly #guard: SeriesGuard;
  readonly #deltas: DeltaSums;
  readonly #cache = new SeriesCache();
  readonly #sources = new OtlpSources(() => this.#cache.clear());
  readonly #numbers = new NumberReader();

  constructor({ table, intake, guard }: MetricsIngestOptions) {
    this.#table = table;
    this.#intake = intake;
    this.#guard = guard;
    this.#deltas = new DeltaSums(table);
  }

  /**
   * @param bytes an ExportMetricsServiceRequest
   * @param subject whose series new ones are
   * @throws InvalidRequest; what the store says
   */
  async export(bytes: Uint8Array, subject: string): Promise<ExportResponse> {
    const parts = this.#sources.parts(bytes);
    const run: Run = { bytes, batch: this.#intake.begin(), subject, total: 0, refused: 0, firstRefusal: "" };
    try {
      for (const part of parts) await this.#takePart(run, part);
    } finally {
      // Also of a request that turns out to be broken: what came before it is in the batch.
      await run.batch.commit();
    }
    const { total, refused, firstRefusal } = run;
    if (refused === 0) return {};
    const errorMessage = `${refused} of ${total} data points were rejected; the first one: ${firstRefusal}`;
    return { partialSuccess: { rejectedDataPoints: BigInt(refused), errorMessage } };
  }

  [Symbol.dispose](): void {
    this.#deltas[Symbol.dispose]();
  }

  /** The points of one Metric. Not async where nothing has to wait. */
  #takePart(run: Run, part: Part): Promise<void> | undefined {
    const wire = new WireReader();
    wire.open(run.bytes, part.start, part.end);
    return this.#takeSome(run, part, wire);
  }

  #takeSome(run: Run, part: Part, wire: WireReader): Promise<void> | undefined {
    const { source } = part;
    const isNumber = source.kind === "gauge" || source.kind === "sum";
    while (wire.pos < wire.end) {
      const tag = wire.tag();
      if (tag !== DATA_POINTS) {
        wire.skip(tag);
        continue;
      }
      const end = wire.span();
      const start = wire.pos;
      wire.pos = end;
      if (isNumber && !source.isDelta) this.#takeNumber(run, source, start, end);
      else this.#takeDecoded(run, source, start, end);
      if (++run.total % CHUNK_POINTS === 0) return nextTurn().then(() => this.#takeSome(run, part, wire));
    }
    if (wire.hasFailed) throw malformed(`the points of "${source.name}" are cut off`);
    return undefined;
  }

  /** T4. */
  #takeNumber(run: Run, source: Source, start: number, end: number): void {
    const numbers = this.#numbers;
    if (!numbers.read(run.bytes, start, end)) {
      this.#takeDecoded(run, source, start, end);
      return;
    }
    const { attributesStart, attributesEnd } = numbers;
    const known = this.#cache.find(source.id, run.bytes, attributesStart, attributesEnd);
    const verdict = known === undefined ? undefined : run.batch.writeTo(known, numbers.point());
    if (verdict === undefined) this.#takeDecoded(run, source, start, end);
    else if (typeof verdict !== "string") this.#refuse(run, refusalOf(source.name, verdict).text);
  }

  /** Any point of any kind. */
  #takeDecoded(run: Run, source: Source, start: number, end: number): void {
    const point = decode(source, run.bytes.subarray(start, end));
    const { attributes, flags } = point.value;
    const labels = labelsOf(source.serviceLabels, attributes);
    const problem = source.problem ?? findProblem(source.name, labels, point.value.timeUnixNano)?.text;
    if (problem !== undefined) return this.#refuse(run, problem);
    const key = keyOf({ origin: source.origin, name: source.name, labels });
    if ((flags & DataPointFlags.NO_RECORDED_VALUE_MASK) !== 0) {
      run.batch.end(key, point.value.timeUnixNano);
      this.#deltas.forget(key);
      return;
    }
    const written = source.isDelta ? this.#deltas.add(key, point) : plainPoint(point);
    if (written === "same") return;
    const verdict = written === "old" ? OLD : this.#write(run, { source, labels, key, point: written });
    if (typeof verdict !== "string") {
      const { text } = refusalOf(source.name, verdict);
      return this.#refuse(run, verdict.reason === "limit" ? this.#guard.explain(source.name, text) : text);
    }
    if (source.isDelta || written === "old") return;
    if (point.kind !== "number" || !this.#numbers.read(run.bytes, start, end)) return;
    const series = this.#table.find(key);
    if (series !== undefined) this.#remember(run, source, series);
  }

  #write(run: Run, what: { source: Source; labels: LabelPairs; key: string; point: Point }): Verdict {
    const { source, labels, key, point } = what;
    const { name, type, unit, description, origin } = source;
    return (
      this.#guard.findRefusal(run.subject, key, name) ??
      run.batch.write(key, point, () => ({ name, type, unit, description, labels, origin, owner: run.subject }))
    );
  }

  #remember(run: Run, { id }: Source, series: Series): void {
    const { attributesStart, attributesEnd } = this.#numbers;
    this.#cache.keep(id, run.bytes, attributesStart, attributesEnd, series);
  }

  #refuse(run: Run, text: string): void {
    run.refused++;
    run.firstRefusal ||= text;
  }
}

const OLD = { reason: "old", message: "a point of this series is newer already" } as const;

/** Field 1 of Gauge, Sum and the others. */
const DATA_POINTS = (1 << 3) | 2;
const START = (2 << 3) | 1;
const TIME = (3 << 3) | 1;
const AS_DOUBLE = (4 << 3) | 1;
const AS_INT = (6 << 3) | 1;
const ATTRIBUTES = (7 << 3) | 2;

/** A NumberDataPoint with nothing but times, a value and attributes in one piece. */
class NumberReader {
  attributesStart = 0;
  attributesEnd = 0;
  readonly #wire = new WireReader();
  readonly #time = new TimeHalves();
  readonly #start = new TimeHalves();
  readonly #halves = new Uint32Array(2);
  readonly #double = new Float64Array(this.#halves.buffer);
  #isInt = false;

  /** False: it is none; what is wrong with it, if so, will be found out when it is decoded. */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    const wire = this.#wire;
    wire.open(bytes, start, end);
    this.attributesStart = start;
    this.attributesEnd = start;
    let hasAttributes = false;
    let hasTime = false;
    let hasValue = false;
    this.#start.set(0, 0);
    while (wire.pos < wire.end) {
      const at = wire.pos;
      const tag = wire.tag();
      if (tag === ATTRIBUTES) {
        wire.pos = wire.span();
        if (!hasAttributes) this.attributesStart = at;
        else if (this.attributesEnd !== at) return false;
        hasAttributes = true;
        this.attributesEnd = wire.pos;
        continue;
      }
      if (tag !== START && tag !== TIME && tag !== AS_DOUBLE && tag !== AS_INT) return false;
      wire.fixed64();
      if (tag === START) this.#start.set(wire.low, wire.high);
      else if (tag === TIME) {
        this.#time.set(wire.low, wire.high);
        hasTime = (wire.low | wire.high) !== 0;
      } else {
        hasValue = true;
        this.#isInt = tag === AS_INT;
        this.#halves[0] = wire.low;
        this.#halves[1] = wire.high;
      }
    }
    return hasTime && hasValue && !wire.hasFailed;
  }

  /** What was read last. */
  point(): Point {
    const timestampNs = this.#time.value();
    const startNs = this.#start.value();
    if (!this.#isInt) return { value: this.#double[0]!, intValue: undefined, timestampNs, startNs, shape: undefined };
    const intValue = bigintOf(this.#halves[0]!, this.#halves[1]!);
    return { value: Number(intValue), intValue, timestampNs, startNs, shape: undefined };
  }
}

/** A time as it is on the wire; the points of a batch mostly have the same, which is then made once. */
class TimeHalves {
  #low = 0;
  #high = 0;
  #valueLow = 0;
  #valueHigh = 0;
  #value = 0n;

  set(low: number, high: number): void {
    this.#low = low;
    this.#high = high;
  }

  value(): bigint {
    if (this.#low !== this.#valueLow || this.#high !== this.#valueHigh) {
      this.#value = bigintOf(this.#low, this.#high);
      this.#valueLow = this.#low;
      this.#valueHigh = this.#high;
    }
    return this.#value;
  }
}

/** @throws InvalidRequest */
function decode({ kind, name }: Source, bytes: Uint8Array): OtlpPoint {
  try {
    switch (kind) {
      case "gauge":
      case "sum":
        return { kind: "number", value: fromBinary(NumberDataPointSchema, bytes) };
      case "histogram":
        return { kind: "histogram", value: fromBinary(HistogramDataPointSchema, bytes) };
      case "exponentialHistogram":
        return { kind: "exponential", value: fromBinary(ExponentialHistogramDataPointSchema, bytes) };
      case "summary":
        return { kind: "summary", value: fromBinary(SummaryDataPointSchema, bytes) };
      default:
        return kind satisfies never;
    }
  } catch (error) {
    throw malformed(`a point of "${name}" is none: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function labelsOf(serviceLabels: LabelPairs, attributes: readonly KeyValue[]): LabelPairs {
  const own = attributes.map(({ key, value }): readonly [string, string] => [key, textOf(value)]);
  // The point's own attribute wins over the resource's of the same name.
  return sortedLabels(new Map([...serviceLabels, ...own]));
}
