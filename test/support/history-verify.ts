// Holds a log against a plain look at every one of its entries (H2 to H5 of history-run.ts). Each function returns what is
// wrong, in sentences.
import type { LabelStatistics, ScanQuery } from "../../packages/server/src/store/contract.ts";
import type { Log } from "../../packages/server/src/store/log.ts";
import { decodeRun, type StoredEntry } from "../../packages/server/src/store/testing/frames.ts";
import { nameOf, payloadOf, type Step, type StepQuery } from "./history-steps.ts";

/** Every entry that a scan gives, gaps left out. */
export async function readEntries(
  { reader }: Log,
  query: ScanQuery | undefined,
  maxBytes: number,
): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  const scan = reader.scan(reader.first - 1, query);
  for (let run = await scan.next(maxBytes); run !== undefined; run = await scan.next(maxBytes)) {
    if (run.kind === "entries") entries.push(...decodeRun(run));
  }
  scan.close();
  return entries;
}

/** A scan and a tail, of a log that goes on meanwhile: what came later is left out, and so is what retention took. */
export async function compareAnswers(log: Log, question: Extract<Step, { kind: "ask" }>): Promise<string[]> {
  const { query, maxBytes, tail } = question;
  const all = await readEntries(log, undefined, maxBytes);
  const head = all.at(-1)?.sequence ?? 0;
  const scanQuery = queryOf(log, query);
  const found = await readEntries(log, scanQuery, maxBytes);
  const tailAfter = await log.reader.findTail(tail, head + 1, scanQuery);
  const { first } = log.reader;
  const wanted = all.filter((entry) => isAsked(entry, query) && entry.sequence >= first);
  const given = found.filter(({ sequence }) => sequence >= first && sequence <= head);
  return [
    ...compare(`a scan for ${JSON.stringify(query)}`, given.map(placeOf), wanted.map(placeOf)),
    ...compare(
      `a tail of ${tail} for ${JSON.stringify(query)}`,
      wanted.filter(({ sequence }) => sequence > tailAfter).map(placeOf),
      wanted.slice(-tail).map(placeOf),
    ),
  ];
}

export function compareStatistics(given: readonly LabelStatistics[], all: readonly StoredEntry[]): string[] {
  const rows = new Map<string, { count: number; first: bigint; last: bigint }>();
  for (const { label, timestamp } of all) {
    const row = rows.get(label) ?? { count: 0, first: timestamp, last: timestamp };
    const first = timestamp < row.first ? timestamp : row.first;
    rows.set(label, { count: row.count + 1, first, last: timestamp > row.last ? timestamp : row.last });
  }
  const wanted = [...rows].map(([name, { count, first, last }]) => `${name}:${count}:${first}:${last}`);
  const had = given
    .filter(({ count }) => count > 0)
    .map(({ name, count, firstTimestamp, lastTimestamp }) => `${name}:${count}:${firstTimestamp}:${lastTimestamp}`);
  return compare("the statistics", had.sort(), wanted.sort());
}

/** H3, H4. */
export function verifyProducers(
  log: Log,
  producers: readonly { readonly id: string; readonly acknowledged: number }[],
  all: readonly StoredEntry[],
): string[] {
  return producers.flatMap(({ id, acknowledged }, index) => {
    const wrong: string[] = [];
    const known = log.writer.producer(id)?.lastProducerSequence ?? 0;
    const own = all.filter(({ producer }) => producer === id);
    const stored = own.at(-1)?.producerSequence ?? 0;
    if (known < Math.max(acknowledged, stored))
      wrong.push(`${id} is known up to ${known}; acknowledged are ${acknowledged}, stored ${stored}`);
    const first = own[0]?.producerSequence ?? 0;
    const stray = own.find(
      ({ producerSequence, payload }, i) =>
        producerSequence !== first + i || payload.replace(/x+$/u, "") !== payloadOf(index, first + i),
    );
    if (stray !== undefined) wrong.push(`${id}: "${stray.payload}" (${stray.producerSequence}) is out of its order`);
    return wrong;
  });
}

/** @param references what an entry refers to in the dictionary, by its payload */
export function verifyReferences(
  log: Log,
  references: ReadonlyMap<string, { readonly id: number; readonly text: string }>,
  all: readonly StoredEntry[],
): string[] {
  return all.flatMap(({ payload }) => {
    const reference = references.get(payload);
    if (reference === undefined) return [];
    const known = log.dictionary.find(reference.id);
    if (known !== undefined && Buffer.from(known.bytes).toString() === reference.text) return [];
    return [`entry "${payload}" refers to ${reference.id}, which the dictionary does not know`];
  });
}

function compare(what: string, given: readonly string[], wanted: readonly string[]): string[] {
  return given.join() === wanted.join() ? [] : [`${what}: ${given.join(" ")} instead of ${wanted.join(" ")}`];
}

function queryOf({ reader }: Log, { minSeverity, labels, start, end }: StepQuery): ScanQuery {
  const ids = labels?.map((label) => reader.findLabel(nameOf(label))).filter((id) => id !== undefined);
  return {
    ...(minSeverity === undefined ? {} : { minSeverity }),
    ...(ids === undefined ? {} : { labels: new Set(ids) }),
    ...(start === undefined ? {} : { startTimestamp: BigInt(start) }),
    ...(end === undefined ? {} : { endTimestamp: BigInt(end) }),
  };
}

function isAsked({ severity, label, timestamp }: StoredEntry, { minSeverity, labels, start, end }: StepQuery): boolean {
  return (
    severity >= (minSeverity ?? 0) &&
    (labels === undefined || labels.some((each) => nameOf(each) === label)) &&
    (start === undefined || timestamp >= BigInt(start)) &&
    (end === undefined || timestamp < BigInt(end))
  );
}

function placeOf({ sequence, payload }: StoredEntry): string {
  return `${sequence}:${payload.slice(0, 12)}`;
}
