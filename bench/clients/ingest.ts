// Writers at the highest rate that a server acknowledges: entries over WriteLogStream, or OpenTelemetry's Export by gRPC or
// by HTTP/1.1.

import { readFileSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AnyValueSchema,
  ExportLogsServiceRequestSchema,
  ExportLogsServiceResponseSchema,
  KeyValueSchema,
  LogEntrySchema,
  LogRecordSchema,
  WriteLogStreamRequestSchema,
  WriteLogStreamResponseSchema,
  type LogEntry,
} from "@sluice/api";
import { writtenApplication } from "../entries.ts";
import { Answers } from "./answers.ts";
import { carryOut } from "./client-process.ts";
import { MessageReader } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { dataFrames, flag, frame, frameType, grpcFrame, type WireConnection } from "./http2-wire.ts";
import { type BodyStamp, openHttpExport, placesOf } from "./otlp-http.ts";
import { requestFields } from "./request-headers.ts";
import { type Sender, timeSenders, UnaryExporter } from "./unary-exporter.ts";

export interface IngestTask {
  readonly address: string;
  readonly protocol: "stream" | "otlp" | "otlp-http";
  /** Each has a connection of its own. */
  readonly writers: number;
  readonly messagesPerWriter: number;
  readonly entriesPerMessage: number;
  /** Messages of a writer that are sent and not yet answered, at most. */
  readonly messagesUnderWay: number;
  readonly entriesFile: string;
  /** Unique to the run: begins the writers' producer ids. */
  readonly run: string;
  /** Of OTLP over HTTP; absent: as OpenTelemetry has it. */
  readonly path?: string;
  /** Of OTLP over HTTP: each record gets a time of its own, from this one on (Unix ns, in decimal); absent: as it was stored. */
  readonly startNs?: string;
}

export interface IngestOutcome {
  readonly entries: number;
  readonly seconds: number;
}

/** One WriteLogStream: messages in order on one stream, within the flow that the server grants. */
class StreamWriter implements Sender {
  readonly #task: IngestTask;
  readonly #producer: string;
  readonly #bodies: readonly Buffer[];
  readonly #reader = new MessageReader();
  readonly #answers = new Answers();
  readonly #done = Promise.withResolvers<void>();
  #connection: WireConnection | undefined;
  #sent = 0;
  #acknowledged = 0;
  /** Entries that the server admits in all, by its last flow; without flow there is only our own limit. */
  #admitted = Number.POSITIVE_INFINITY;

  constructor(task: IngestTask, index: number, bodies: readonly Buffer[]) {
    this.#task = task;
    this.#producer = `${task.run}-${index}`;
    this.#bodies = bodies;
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  start(connection: WireConnection): void {
    this.#connection = connection;
    const fields = requestFields("/sluice.logs.v1.LogService/WriteLogStream", this.#task.address, "plain", 0);
    connection.write(frame(frameType.headers, flag.endHeaders, 1, new HeaderEncoder().encode(fields)));
    this.#advance();
  }

  #advance(): void {
    const { messagesPerWriter, entriesPerMessage, messagesUnderWay } = this.#task;
    while (this.#sent < messagesPerWriter) {
      const next = (this.#sent + 1) * entriesPerMessage;
      if (next - this.#acknowledged > messagesUnderWay * entriesPerMessage || next > this.#admitted) return;
      const first = create(WriteLogStreamRequestSchema, {
        producer: this.#sent === 0 ? this.#producer : "",
        firstProducerSequence: BigInt(this.#sent * entriesPerMessage + 1),
      });
      const body = this.#bodies[this.#sent % this.#bodies.length] ?? Buffer.alloc(0);
      this.#sent++;
      // Messages that are concatenated are merged: the numbers of this one, the entries of a prepared one.
      const message = grpcFrame(Buffer.concat([toBinary(WriteLogStreamRequestSchema, first), body]));
      this.#connection?.send(1, dataFrames(1, message, { endStream: this.#sent === messagesPerWriter }));
    }
  }

  onData(_streamId: number, buffer: Buffer, start: number, end: number): void {
    for (const message of this.#reader.take(buffer.subarray(start, end))) {
      const response = fromBinary(WriteLogStreamResponseSchema, message);
      const [rejected] = response.rejected;
      if (rejected !== undefined) throw new Error(`Entry ${rejected.index} was rejected: ${rejected.text}`);
      if (response.duplicates > 0n) throw new Error(`${response.duplicates} entries were taken for duplicates`);
      this.#acknowledged = Number(response.acknowledged);
      if (response.flow !== undefined) this.#admitted = Number(response.flow.seen) + response.flow.window;
    }
  }

  onHeaders(_streamId: number, block: Buffer): void {
    this.#answers.count(block);
  }

  onEnd(): void {
    this.#done.resolve();
  }

  onReadEnd(): void {
    this.#advance();
  }

  verify(): void {
    const entries = this.#task.messagesPerWriter * this.#task.entriesPerMessage;
    if (this.#acknowledged !== entries)
      throw new Error(`${this.#acknowledged} of ${entries} entries were acknowledged`);
    this.#answers.verify(1);
  }
}

function checkAnswer(answer: Uint8Array): void {
  const { partialSuccess } = fromBinary(ExportLogsServiceResponseSchema, answer);
  if (partialSuccess !== undefined && partialSuccess.rejectedLogRecords > 0n) {
    throw new Error(`${partialSuccess.rejectedLogRecords} records were rejected: ${partialSuccess.errorMessage}`);
  }
}

/** A time that no entry has, in whose place another one is written. */
const PLACEHOLDER_NS = 0x0123_4567_89ab_cdefn;

/** Writes a new time over each placeholder of a message, ascending by a microsecond. */
class Stamp implements BodyStamp {
  readonly #places = new Map<Buffer, readonly number[]>();
  #nextNs: bigint;

  constructor(startNs: bigint) {
    this.#nextNs = startNs;
  }

  write(body: Buffer): void {
    let places = this.#places.get(body);
    if (places === undefined) {
      places = placesOf(body, PLACEHOLDER_NS);
      this.#places.set(body, places);
    }
    for (const place of places) {
      body.writeBigUInt64LE(this.#nextNs, place);
      this.#nextNs += 1000n;
    }
  }
}

async function runIngest(task: IngestTask): Promise<IngestOutcome> {
  const bodies = encodeBodies(task);
  if (task.protocol === "otlp-http") return await runHttp(task, bodies);
  const { address, writers, messagesPerWriter: requests, messagesUnderWay: underWay, entriesPerMessage } = task;
  const path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
  const senders = Array.from({ length: writers }, (_, index) =>
    task.protocol === "stream"
      ? new StreamWriter(task, index, bodies)
      : new UnaryExporter({ address, path, requests, underWay, bodies, check: checkAnswer }),
  );
  return { entries: writers * requests * entriesPerMessage, seconds: await timeSenders(address, senders) };
}

/** A connection takes one request at a time: a writer has as many as it has messages under way. */
async function runHttp(task: IngestTask, bodies: readonly Buffer[]): Promise<IngestOutcome> {
  const connections = task.writers * task.messagesUnderWay;
  const requestsPerConnection = Math.ceil(task.messagesPerWriter / task.messagesUnderWay);
  const { address, path = "/v1/logs", startNs } = task;
  const stamp = startNs === undefined ? undefined : new Stamp(BigInt(startNs));
  const run = await openHttpExport({ address, path, connections, requestsPerConnection }, bodies, stamp);
  const start = performance.now();
  await run();
  const seconds = (performance.now() - start) / 1000;
  return { entries: connections * requestsPerConnection * task.entriesPerMessage, seconds };
}

/** As many different messages as the entries make; writers go round in them. */
function encodeBodies(task: IngestTask): Buffer[] {
  const messages = new MessageReader().take(readFileSync(task.entriesFile));
  const entries = messages.map((message) => fromBinary(LogEntrySchema, message));
  const bodies: Buffer[] = [];
  for (let start = 0; start < entries.length; start += task.entriesPerMessage) {
    const batch = Array.from(
      { length: task.entriesPerMessage },
      (_, index) => entries[(start + index) % entries.length],
    );
    const known = batch.filter((entry) => entry !== undefined);
    const stampNs = task.startNs === undefined ? undefined : PLACEHOLDER_NS;
    bodies.push(Buffer.from(task.protocol === "stream" ? encodeStreamBody(known) : encodeExport(known, stampNs)));
  }
  return bodies;
}

function encodeStreamBody(entries: LogEntry[]): Uint8Array {
  return toBinary(WriteLogStreamRequestSchema, create(WriteLogStreamRequestSchema, { entries }));
}

/** @param stampNs in place of the entries' own times */
function encodeExport(entries: readonly LogEntry[], stampNs?: bigint): Uint8Array {
  const text = (value: string) => create(AnyValueSchema, { value: { case: "stringValue", value } });
  const attribute = (key: string, value: string) => create(KeyValueSchema, { key, value: text(value) });
  const logRecords = entries.map((entry) =>
    create(LogRecordSchema, {
      timeUnixNano: stampNs ?? entry.timestamp,
      observedTimeUnixNano: stampNs === undefined ? entry.timestamp : 0n,
      severityNumber: 9,
      severityText: entry.level,
      body: text(entry.message),
      attributes: Object.entries(entry.fields).map(([key, value]) => attribute(key, value)),
      traceId: Buffer.from(entry.fields["trace_id"] ?? "", "hex"),
      spanId: Buffer.from("00f067aa0ba902b7", "hex"),
    }),
  );
  const resource = { attributes: [attribute("service.name", writtenApplication)] };
  const request = create(ExportLogsServiceRequestSchema, {
    resourceLogs: [{ resource, scopeLogs: [{ scope: { name: "bench" }, logRecords }] }],
  });
  return toBinary(ExportLogsServiceRequestSchema, request);
}

await carryOut(runIngest);
