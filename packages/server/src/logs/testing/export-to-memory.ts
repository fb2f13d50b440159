// Exports to a log in memory, and reads it back as OTLP does.
import { fromBinary } from "@bufbuild/protobuf";
import { type OtlpLogBatch, OtlpLogBatchSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { DEFAULT_LIMITS, type Limits } from "../../limits.ts";
import { MemoryDictionary } from "../../store/testing/memory-dictionary.ts";
import { MemoryLog } from "../../stream/testing/memory-log.ts";
import { Ingest } from "../ingest.ts";
import { parseLogName } from "../log-name.ts";
import { OtlpBatchEncoder } from "../otlp-batches.ts";
import { exportLogs } from "../otlp.ts";
import { WriteBudget } from "../../stream/write-budget.ts";

export class MemoryTarget {
  readonly log = new MemoryLog();
  readonly dictionary = new MemoryDictionary();
  readonly #limits: Limits;
  readonly #ingest: Ingest;

  constructor(limits: Limits = DEFAULT_LIMITS) {
    this.#limits = limits;
    this.#ingest = new Ingest({
      log: parseLogName("default"),
      reader: this.log,
      writer: this.log,
      clock: new ManualClock(),
      limits,
    });
  }

  export(request: Uint8Array): ReturnType<typeof exportLogs> {
    return exportLogs(request, {
      target: this.#ingest,
      budget: new WriteBudget(this.#limits.writesBytesMax),
      limits: this.#limits,
      dictionaryOf: () => this.dictionary,
    });
  }

  /** The message of an entry. */
  message(sequence: number): Uint8Array {
    return Uint8Array.from(this.log.frame(sequence).subarray(5));
  }

  /** Everything, in batches as StreamOtlpLogs makes them of these pieces of the log. */
  readBack(entriesPerPiece = Number.POSITIVE_INFINITY): OtlpLogBatch[] {
    const encoder = new OtlpBatchEncoder(this.dictionary);
    const frames = Array.from({ length: this.log.head.sequence }, (_, i) => this.log.frame(i + 1));
    const batches: OtlpLogBatch[] = [];
    for (let from = 0; from < frames.length; from += entriesPerPiece) {
      batches.push(...batchesIn(encoder.encode([Buffer.concat(frames.slice(from, from + entriesPerPiece))])));
    }
    return batches;
  }
}

/** The messages in frames. */
function batchesIn(frames: Uint8Array): OtlpLogBatch[] {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  const batches: OtlpLogBatch[] = [];
  for (let at = 0; at < frames.length;) {
    const end = at + 5 + view.getUint32(at + 1);
    batches.push(fromBinary(OtlpLogBatchSchema, frames.subarray(at + 5, end)));
    at = end;
  }
  return batches;
}
