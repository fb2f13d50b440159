// Reads WriteLogsRequest and WriteLogStreamRequest (they share their numbers) without decoding the entries in them.
import { isUtf8 } from "node:buffer";
import { Durability } from "@sluice/api";
import { InvalidRequest, LimitExceeded } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { LogName } from "./log-name.ts";
import { numberOf, WireReader } from "../stream/wire.ts";

/** Entries as they came, one after the other somewhere in `bytes`. */
export interface EntrySpans {
  readonly bytes: Uint8Array;
  /** Entry i is the message bytes[starts[i] .. ends[i]). */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** Halves (low, high, …) of the observed time of each, where its source knows it; 0: the time of receipt. */
  readonly observed?: readonly number[];
  /**
   * The encoded fields that say where each comes from, as one log numbers them. Asked for before a slice of them is
   * appended there, and waited for: what they refer to is durable then.
   */
  readonly originsIn?: (log: LogName) => readonly Uint8Array[] | Promise<readonly Uint8Array[]>;
}

export interface WriteRequest {
  readonly log: string;
  /** Empty: not idempotent. */
  readonly producer: string;
  /** The producer's number of the first entry, from 1; 0 when it gave none. */
  readonly firstProducerSequence: number;
  /** Every number of the producer up to here is never sent again. */
  readonly settledProducerSequence: number;
  readonly durability: Durability;
  readonly entries: EntrySpans;
}

const Tag = {
  LOG: (1 << 3) | 2,
  PRODUCER: (2 << 3) | 2,
  FIRST_PRODUCER_SEQUENCE: (3 << 3) | 0,
  ENTRIES: (4 << 3) | 2,
  DURABILITY: (5 << 3) | 0,
  SETTLED_PRODUCER_SEQUENCE: (6 << 3) | 0,
} as const;

/** @throws InvalidRequest; LimitExceeded for too many entries */
export function parseWriteRequest(bytes: Uint8Array, limits: Limits): WriteRequest {
  const wire = new WireReader();
  const starts: number[] = [];
  const ends: number[] = [];
  const found = { log: "", producer: "", first: 0, settled: 0, durability: 0 };
  wire.open(bytes, 0, bytes.length);
  while (wire.pos < wire.end) {
    const tag = wire.tag();
    switch (tag) {
      case Tag.ENTRIES: {
        const end = wire.span();
        starts.push(wire.pos);
        ends.push(end);
        wire.pos = end;
        break;
      }
      case Tag.LOG:
        found.log = readText(wire, "log");
        break;
      case Tag.PRODUCER:
        found.producer = readText(wire, "producer");
        break;
      case Tag.FIRST_PRODUCER_SEQUENCE:
        found.first = readNumber(wire, "first_producer_sequence");
        break;
      case Tag.SETTLED_PRODUCER_SEQUENCE:
        found.settled = readNumber(wire, "settled_producer_sequence");
        break;
      case Tag.DURABILITY:
        found.durability = readNumber(wire, "durability");
        break;
      default:
        wire.skip(tag);
    }
  }
  if (wire.hasFailed) throw refusal("", `the request's ${bytes.length} bytes are no protobuf message`, "MALFORMED");
  if (starts.length > limits.batchEntriesMax) {
    throw new LimitExceeded(
      `Cannot write ${starts.length} entries at once: the limit is ${limits.batchEntriesMax}`,
      "entries of a request",
    );
  }
  checkProducer(found, limits);
  return {
    log: found.log,
    producer: found.producer,
    firstProducerSequence: found.first,
    settledProducerSequence: found.settled,
    durability: parseDurability(found.durability),
    entries: { bytes, starts, ends },
  };
}

/** Checks that the numbers fit to a producer that is there. @throws InvalidRequest */
export function checkNumbering(request: WriteRequest, producer: string): void {
  const { firstProducerSequence: first, settledProducerSequence: settled, entries } = request;
  if (producer === "" && (first !== 0 || settled !== 0)) {
    throw refusal("producer", "is needed beside first_producer_sequence and settled_producer_sequence");
  }
  if (producer !== "" && entries.starts.length > 0 && first === 0) {
    throw refusal("first_producer_sequence", "must be the number of the first entry, from 1, when a producer is named");
  }
  if (!Number.isSafeInteger(first + entries.starts.length)) {
    throw refusal("first_producer_sequence", `${first} is too large: numbers end at 2^53 - 1`);
  }
}

function checkProducer(found: { producer: string }, limits: Limits): void {
  const size = Buffer.byteLength(found.producer);
  if (size > limits.producerBytesMax) {
    throw refusal("producer", `has ${size} bytes: the limit is ${limits.producerBytesMax}`);
  }
}

function parseDurability(value: number): Durability {
  switch (value) {
    case Durability.UNSPECIFIED:
    case Durability.DISK:
      return Durability.DISK;
    case Durability.MEMORY:
      return Durability.MEMORY;
    default:
      throw refusal("durability", `${value} is none of DURABILITY_DISK (1), DURABILITY_MEMORY (2)`);
  }
}

function readText(wire: WireReader, field: string): string {
  const end = wire.span();
  const text = wire.bytes.subarray(wire.pos, end);
  wire.pos = end;
  if (!isUtf8(text)) throw refusal(field, "is not valid UTF-8");
  return Buffer.from(text.buffer, text.byteOffset, text.length).toString("utf8");
}

function readNumber(wire: WireReader, field: string): number {
  wire.varint();
  const value = numberOf(wire.low, wire.high);
  if (value < 0 || !Number.isSafeInteger(value)) throw refusal(field, `${value} is not from 0 to 2^53 - 1`);
  return value;
}

function refusal(field: string, description: string, reason = "INVALID_FIELD"): InvalidRequest {
  return new InvalidRequest(reason, [{ field, description }]);
}
