// Reads the history back from its logs, when a server starts (J3 and J4 of history-log.ts).
import { zstdDecompressSync } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import { type MetricsRecord, type PointsRecord, type SeriesDefinition, SeriesListSchema } from "@sluice/api";
import type { LogReader } from "../../store/contract.ts";
import { nextTurn } from "../../stream/turn.ts";
import type { Saved } from "./checkpoints.ts";
import type { History } from "./history.ts";
import { decodeRecord, readPoints, seriesOf } from "./record.ts";

const SLICE_BYTES = 1024 * 1024;

export interface Loaded {
  readonly history: History;
  readonly saved: Saved;
  /** Of records behind the last checkpoint. */
  readonly recordBytes: number;
}

type Kind = MetricsRecord["kind"];

export async function loadHistory(
  logs: {
    readonly points: LogReader;
    readonly chunks: LogReader;
    readonly onFault: ((text: string) => void) | undefined;
  },
  makeHistory: (firstTick: number) => History,
): Promise<Loaded> {
  const { points, chunks, onFault } = logs;
  let history: History | undefined;
  let after = 0;
  let pending: Kind[] = [];
  await eachRecord(chunks, chunks.first - 1, {
    onGap: (first, last) =>
      onFault?.(`records ${first} to ${last} of the history of metrics are damaged: it is incomplete`),
    onRecord(kind) {
      if (kind.case === "begun") pending = [];
      if (kind.case !== "done") {
        pending.push(kind);
        return;
      }
      history = applyCheckpoint(history, pending, makeHistory);
      pending = [];
      after = Number(kind.value.pointsSequence);
    },
  });
  const complete = history ?? makeHistory(0);
  complete.noteBegin();
  const saved = { place: complete.end, tick: complete.ticks.next };
  const recordBytes = await eachRecord(points, Math.max(after, points.first - 1), {
    onGap: (first, last) => onFault?.(`records ${first} to ${last} of metrics are damaged: their points are lost`),
    onRecord(kind, sequence) {
      if (kind.case === "points") applyPoints(complete, kind.value, sequence);
    },
  });
  complete.reuseIds();
  complete.expire();
  return { history: complete, saved, recordBytes };
}

/** Descriptions first, then ticks, then chunks: the order in which they need each other. */
function applyCheckpoint(
  before: History | undefined,
  records: readonly Kind[],
  makeHistory: (firstTick: number) => History,
): History {
  const firstTicks = records.find((each) => each.case === "ticks");
  const first = Number(firstTicks?.value.firstTick ?? 0);
  // Ticks are missing between the two: what was before cannot be told any more.
  const isBroken = before === undefined || (firstTicks !== undefined && before.ticks.next !== first);
  const history = isBroken ? makeHistory(first) : before;
  for (const each of records) {
    if (each.case !== "series") continue;
    for (const definition of fromBinary(SeriesListSchema, zstdDecompressSync(each.value.series)).series) {
      define(history, definition);
    }
  }
  for (const each of records) {
    if (each.case !== "ticks") continue;
    let sequence = 0n;
    each.value.timestamps.forEach((timestampNs, i) => {
      sequence += each.value.sequences[i]!;
      history.ticks.add(timestampNs, Number(sequence));
    });
  }
  for (const each of records) {
    if (each.case !== "chunks") continue;
    const { slab, offset, bytes, sealedAt } = each.value;
    history.restore({ slab, offset, bytes: Buffer.from(bytes), sealedMs: Number(sealedAt / 1_000_000n) });
  }
  return history;
}

function applyPoints(history: History, record: PointsRecord, sequence: number): void {
  const { ticks } = history;
  for (const definition of record.series) define(history, definition);
  const first = Number(record.firstTick);
  // What is between was in records that are damaged.
  while (ticks.next < first) ticks.add(0n, sequence);
  for (const timestampNs of record.timestamps.slice(ticks.next - first)) ticks.add(timestampNs, sequence);
  readPoints(record, (id, tick, point) => {
    const isKnown = history.seriesOf(id) !== undefined;
    if (isKnown && !history.isSealed(id, tick)) history.append(id, tick, point);
  });
}

function define(history: History, definition: SeriesDefinition): void {
  const { id, key } = definition;
  if (history.seriesOf(id)?.key !== key) history.add(seriesOf(definition), id);
}

/** Answers how many bytes there were. */
async function eachRecord(
  reader: LogReader,
  after: number,
  to: {
    readonly onRecord: (kind: Kind, sequence: number) => void;
    readonly onGap: (first: number, last: number) => void;
  },
): Promise<number> {
  const scan = reader.scan(after);
  let read = 0;
  try {
    for (let run = await scan.next(SLICE_BYTES); run !== undefined; run = await scan.next(SLICE_BYTES)) {
      if (run.kind === "gap") {
        to.onGap(run.first, run.last);
        continue;
      }
      // Records are taken apart by reference, and chunks wait for the end of their checkpoint.
      const bytes = Uint8Array.from(run.bytes);
      for (let i = 0; i < run.count; i++) {
        to.onRecord(decodeRecord(bytes, run.starts[i]!, run.starts[i + 1]!), run.first + i);
      }
      read += bytes.length;
      scan.release?.();
      await nextTurn();
    }
  } finally {
    scan.close();
  }
  return read;
}
