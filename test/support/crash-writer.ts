// A process that owns a log and writes as fast as it can, until somebody ends it. Told on stdout, line by line and at
// once, so that the one who listens knows no less than a client would:
//
//   open {"cut": …}                                  the log is open, with what its recovery cut
//   try PRODUCER FIRST COUNT                         about to append entries FIRST .. FIRST + COUNT - 1 of a producer
//   ack PRODUCER FIRST COUNT EPOCH LAST              they are durable; LAST is the last one's sequence
//   known PRODUCER FIRST COUNT                       the log had them already: an earlier process wrote them
//
// Arguments: the data folder, and as JSON the last acknowledged number of each producer: it goes on behind it.
import { writeSync } from "node:fs";
import { systemClock } from "../../packages/server/src/store/clock.ts";
import type { LogWriter } from "../../packages/server/src/store/contract.ts";
import { openDataFolder } from "../../packages/server/src/store/data-folder.ts";
import { nodeFileSystem as fileSystem } from "../../packages/server/src/store/file-system-node.ts";
import { openLog } from "../../packages/server/src/store/log.ts";
import { makeBatch, testCodec } from "../../packages/server/src/store/testing/frames.ts";

const SEGMENT_BYTES = 256 * 1024;
const BATCH_ENTRIES_MAX = 40;

/** What stands in entry `number` of a producer. */
export function payloadOf(producer: string, number: number): string {
  return `${producer}-${number}-${"x".repeat((number * 37) % 200)}`;
}

async function run(dataFolder: string, acknowledged: Readonly<Record<string, number>>): Promise<void> {
  const folder = await openDataFolder({ folder: dataFolder, fileSystem });
  const log = await openLog({
    folder: folder.logFolder("default"),
    name: "default",
    fileSystem,
    clock: systemClock,
    codec: testCodec,
    options: { segmentBytes: SEGMENT_BYTES, tickMs: 20 },
  });
  say(`open ${JSON.stringify({ cut: log.report.cut ?? null })}`);
  await Promise.all(Object.entries(acknowledged).map(([producer, last]) => write(log.writer, producer, last)));
}

async function write(writer: LogWriter, producer: string, lastAcknowledged: number): Promise<never> {
  let first = lastAcknowledged + 1;
  for (;;) {
    const count = 1 + ((first * 7) % BATCH_ENTRIES_MAX);
    await send(writer, producer, first, count);
    first += count;
  }
}

/** Appends what the log does not have yet, as a service does with a batch that may be a retry. */
async function send(writer: LogWriter, producer: string, first: number, count: number): Promise<void> {
  const known = writer.producer(producer)?.lastProducerSequence ?? 0;
  const from = Math.max(first, known + 1);
  if (from > first) say(`known ${producer} ${first} ${Math.min(count, from - first)}`);
  const left = first + count - from;
  if (left <= 0) return;
  const numbers = Array.from({ length: left }, (_, i) => from + i);
  const entries = numbers.map((number) => ({
    timestamp: BigInt(number),
    severity: 1 + (number % 24),
    label: producer,
    payload: payloadOf(producer, number),
  }));
  say(`try ${producer} ${from} ${left}`);
  const { epoch } = writer;
  const last = await writer.append(writer.next, makeBatch(writer, entries, { id: producer, first: from }));
  say(`ack ${producer} ${from} ${left} ${epoch} ${last}`);
}

function say(line: string): void {
  writeSync(1, `${line}\n`);
}

if (import.meta.main) {
  const [dataFolder = "", acknowledged = "{}"] = process.argv.slice(2);
  await run(dataFolder, JSON.parse(acknowledged) as Record<string, number>);
}
