// CountLogs: a histogram from the index.
import { type CountLogsRequest, CountGroup } from "@sluice/api";
import { Frames, FRAME_HEADER_BYTES } from "@sluice/rpc";
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Clock, CountRow, LogReader, ScanQuery } from "../store/contract.ts";
import { toWords } from "../store/columns.ts";
import { nextTurn } from "../stream/turn.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { type LogName, parseLogName } from "./log-name.ts";
import { parseSeverity } from "./severity.ts";

/** What an answer may have: 100 buckets of 6 levels of 83 applications. */
const ROWS_MAX = 50_000;
const ANSWER_BYTES_MAX = 3.5 * 1024 * 1024;
/** Of a width that the server chooses. */
const BUCKETS_MAX = 100n;
/** The event loop is held for so long. */
const TURN_MS = 3;
/** Rows between two looks at the clock. */
const ROWS_AT_ONCE = 1000;

const SECOND = 1_000_000_000n;
const MINUTE = 60n * SECOND;
const HOUR = 60n * MINUTE;
const DAY = 24n * HOUR;
/** Widths that people can read, ascending. A day begins at midnight UTC, as all that is aligned to the Unix epoch. */
const WIDTHS: readonly bigint[] = [
  ...[1n, 2n, 5n, 10n, 20n, 50n, 100n, 200n, 500n].flatMap((width) => [width, width * 1000n, width * 1_000_000n]),
  ...[1n, 2n, 5n, 10n, 15n, 30n].flatMap((width) => [width * SECOND, width * MINUTE]),
  ...[1n, 2n, 3n, 6n, 12n].map((width) => width * HOUR),
  ...[1n, 2n, 7n, 30n, 90n, 365n, 3650n].map((width) => width * DAY),
].toSorted((a, b) => Number(a - b));

/** Tags of LogCount and CountLogsResponse. */
const Tag = { START: (1 << 3) | 0, APPLICATION: (2 << 3) | 2, SEVERITY: (3 << 3) | 0, COUNT: (4 << 3) | 0 } as const;
const ResponseTag = { COUNTS: (1 << 3) | 2, BUCKET: (2 << 3) | 0, TOTAL: (3 << 3) | 0 } as const;

export interface CountQuery {
  readonly log: LogName;
  readonly applications: readonly string[];
  readonly minSeverity: number;
  readonly startTimestamp: bigint | undefined;
  readonly endTimestamp: bigint | undefined;
  /** 0: the server chooses. */
  readonly bucketNs: bigint;
  readonly byApplication: boolean;
  readonly byLevel: boolean;
}

/** @throws InvalidRequest */
export function parseCountQuery(request: CountLogsRequest, limits: Limits): CountQuery {
  const { startTimestamp: start, endTimestamp: end, bucketNs, groupBy } = request;
  const applications = [...new Set(request.applications)];
  const violations = [
    ...(start < 0n ? [{ field: "start_timestamp", description: `${start} is negative: it takes Unix ns` }] : []),
    ...(end < 0n ? [{ field: "end_timestamp", description: `${end} is negative: it takes Unix ns` }] : []),
    ...(end > 0n && end < start ? [{ field: "end_timestamp", description: `${end} is before start_timestamp` }] : []),
    ...(bucketNs < 0n
      ? [{ field: "bucket_ns", description: `${bucketNs} is negative: it takes ns, 0 to choose` }]
      : []),
    ...(applications.length > limits.queryApplicationsMax
      ? [
          {
            field: "applications",
            description: `names ${applications.length}: the limit is ${limits.queryApplicationsMax}`,
          },
        ]
      : []),
  ];
  if (violations.length > 0) throw new InvalidRequest("BAD_FIELD", violations);
  const isBoth = groupBy.length === 0;
  return {
    log: parseLogName(request.log),
    applications,
    minSeverity: parseSeverity(request.logLevel, "log_level"),
    startTimestamp: start === 0n ? undefined : start,
    endTimestamp: end === 0n ? undefined : end,
    bucketNs,
    byApplication: isBoth || groupBy.includes(CountGroup.APPLICATION),
    byLevel: isBoth || groupBy.includes(CountGroup.LEVEL),
  };
}

/** Counts, and gives the CountLogsResponse as its frame. @throws LimitExceeded */
export async function countLogs(query: CountQuery, reader: LogReader, clock: Clock): Promise<Frames> {
  const { minSeverity, startTimestamp, endTimestamp, byApplication, byLevel } = query;
  const bucketNs = query.bucketNs === 0n ? chooseWidth(query, reader) : query.bucketNs;
  let lateMs = clock.monotonicMs() + TURN_MS;
  const giveWay = (): Promise<void> | undefined => {
    if (clock.monotonicMs() < lateMs) return undefined;
    return nextTurn().then(() => {
      lateMs = clock.monotonicMs() + TURN_MS;
    });
  };
  const scanQuery: ScanQuery = {
    minSeverity,
    ...(query.applications.length === 0 ? {} : { labels: labelsOf(query, reader) }),
    ...(startTimestamp === undefined ? {} : { startTimestamp }),
    ...(endTimestamp === undefined ? {} : { endTimestamp }),
  };
  const counting = { bucketNs, byLabel: byApplication, bySeverity: byLevel, rowsMax: ROWS_MAX, giveWay };
  const rows = await reader.count(scanQuery, counting);
  return await encode(rows, bucketNs, { reader, byApplication, giveWay });
}

function labelsOf({ applications }: CountQuery, reader: LogReader): Set<number> {
  return new Set(applications.map((name) => reader.findLabel(name)).filter((id) => id !== undefined));
}

/** The least width of WIDTHS with at most BUCKETS_MAX buckets between the first and the last entry that may be asked for. */
function chooseWidth(query: CountQuery, reader: LogReader): bigint {
  const { applications, startTimestamp: start, endTimestamp: end } = query;
  const names = new Set(applications);
  let first: bigint | undefined;
  let last: bigint | undefined;
  for (const row of reader.labels()) {
    if (row.count === 0 || (names.size > 0 && !names.has(row.name))) continue;
    if (first === undefined || row.firstTimestamp < first) first = row.firstTimestamp;
    if (last === undefined || row.lastTimestamp > last) last = row.lastTimestamp;
  }
  if (first === undefined || last === undefined) return SECOND;
  if (start !== undefined && start > first) first = start;
  if (end !== undefined && end - 1n < last) last = end - 1n;
  return WIDTHS.find((width) => floor(last, width) - floor(first, width) < BUCKETS_MAX) ?? WIDTHS.at(-1)!;
}

function floor(value: bigint, width: bigint): bigint {
  return value < 0n && value % width !== 0n ? value / width - 1n : value / width;
}

interface Encoding {
  readonly reader: LogReader;
  readonly byApplication: boolean;
  readonly giveWay: () => Promise<void> | undefined;
}

async function encode(rows: readonly CountRow[], bucketNs: bigint, encoding: Encoding): Promise<Frames> {
  const { reader, byApplication, giveWay } = encoding;
  const sink = new ByteSink(1024);
  const rowSink = new ByteSink(512);
  let total = 0;
  sink.used = FRAME_HEADER_BYTES;
  for (const [i, row] of rows.entries()) {
    encodeRow(rowSink, row, byApplication ? reader.labelName(row.label) : "");
    sink.spanField(ResponseTag.COUNTS, rowSink.bytes, 0, rowSink.used);
    total += row.count;
    if (sink.used > ANSWER_BYTES_MAX) {
      throw new LimitExceeded(
        `Cannot answer: the counts have more than ${ANSWER_BYTES_MAX} bytes; ask for wider buckets or fewer applications`,
        "bytes of a count",
      );
    }
    if (i % ROWS_AT_ONCE === 0) await giveWay();
  }
  const width = toWords(bucketNs);
  sink.varint64Field(ResponseTag.BUCKET, width.low, width.high);
  const sum = toWords(BigInt(total));
  sink.varint64Field(ResponseTag.TOTAL, sum.low, sum.high);
  const frame = sink.bytes.subarray(0, sink.used);
  frame[0] = 0;
  frame.writeUInt32BE(sink.used - FRAME_HEADER_BYTES, 1);
  return new Frames(frame);
}

function encodeRow(sink: ByteSink, row: CountRow, application: string): void {
  sink.used = 0;
  const start = toWords(row.startNs);
  if (row.startNs !== 0n) sink.varint64Field(Tag.START, start.low, start.high);
  if (application !== "") sink.textField(Tag.APPLICATION, application);
  if (row.severityRange > 0) sink.varintField(Tag.SEVERITY, row.severityRange * 4 - 3);
  const count = toWords(BigInt(row.count));
  sink.varint64Field(Tag.COUNT, count.low, count.high);
}
