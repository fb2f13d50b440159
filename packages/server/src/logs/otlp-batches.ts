// StreamOtlpLogs: frames of entries as OtlpLogBatch, which is OTLP's LogsData with a cursor.
//
// T1. Records of a batch are grouped by resource and scope; within a group they stand in the order of the log. That is
//     all the order that OTLP has.
// T2. What the dictionary does not know any more (it was damaged) becomes a resource of nothing but the application's name.
// T3. A message has no more than MESSAGE_BYTES_MAX, or one record: what gRPC's clients take (4 MiB) is out of reach, but
//     for a record that large.
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import type { Dictionary } from "../store/dictionary.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { RecordWriter } from "./otlp-record-writer.ts";
import { RequestTag, ResourceLogsTag, ResourceTag, SERVICE_NAME, ScopeLogsTag } from "./otlp-request.ts";
import { AnyValueTag, KeyValueTag } from "./otlp-value.ts";
import { varintSize, writeVarint } from "../stream/wire.ts";

const MESSAGE_BYTES_MAX = 1024 * 1024;
/** Number 1001. */
const CURSOR_TAG = (1001 << 3) | 2;
const NOTHING: Uint8Array = new Uint8Array(0);

/** Records that share a scope, and by that a resource. */
interface ScopeGroup {
  /** The ScopeLogs without its records. */
  readonly head: Uint8Array;
  /** Starts and ends of records in the sink. */
  readonly records: number[];
  /** Of the records with their tags and lengths. */
  bytes: number;
}

interface ResourceGroup {
  /** The ResourceLogs without its ScopeLogs. */
  readonly head: Uint8Array;
  readonly scopes: Map<number | string, ScopeGroup>;
}

/** Makes OtlpLogBatch of one log's entries. */
export class OtlpBatchEncoder {
  readonly #dictionary: Dictionary;
  readonly #sink = new ByteSink(64 * 1024);
  readonly #writer = new RecordWriter(this.#sink);
  #groups = new Map<number | string, ResourceGroup>();
  #bytes = 0;
  #cursor = NOTHING;
  /** Followers at the head all bring the same bytes. */
  #lastFrames: Uint8Array | undefined = undefined;
  #lastAnswer: Uint8Array = NOTHING;

  constructor(dictionary: Dictionary) {
    this.#dictionary = dictionary;
  }

  /** Frames of OtlpLogBatch with the entries of all `pieces`, which hold whole frames. */
  encode(pieces: readonly Uint8Array[]): Uint8Array {
    const [only] = pieces;
    if (pieces.length > 1 || only === undefined) return this.#encode(pieces);
    if (only !== this.#lastFrames) {
      this.#lastAnswer = this.#encode(pieces);
      this.#lastFrames = only;
    }
    return this.#lastAnswer;
  }

  #encode(pieces: readonly Uint8Array[]): Uint8Array {
    const frames: Uint8Array[] = [];
    for (const piece of pieces) {
      const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
      for (let at = 0; at < piece.length;) {
        const start = at + FRAME_HEADER_BYTES;
        at = start + view.getUint32(at + 1);
        this.#add(piece, start, at);
        if (this.#bytes >= MESSAGE_BYTES_MAX) frames.push(this.#finish());
      }
    }
    if (this.#groups.size > 0) frames.push(this.#finish());
    return frames.length === 1 ? frames[0]! : Buffer.concat(frames);
  }

  #add(bytes: Uint8Array, start: number, end: number): void {
    const writer = this.#writer;
    const recordStart = this.#sink.used;
    writer.write(bytes, start, end);
    const group = this.#groupOf(bytes);
    const size = this.#sink.used - recordStart;
    const framed = 1 + varintSize(size) + size;
    group.records.push(recordStart, this.#sink.used);
    group.bytes += framed;
    this.#bytes += framed;
    this.#cursor = bytes.subarray(writer.cursor.start, writer.cursor.end);
  }

  #groupOf(bytes: Uint8Array): ScopeGroup {
    const { isOtlp, resourceId, scopeId, resource, scope, application } = this.#writer;
    const resourceKey =
      resourceId !== 0 ? resourceId : textKey(isOtlp ? "r" : "a", isOtlp ? resource : application, bytes);
    let group = this.#groups.get(resourceKey);
    if (group === undefined) {
      const whole = isOtlp && resourceId === 0 ? bytes.slice(resource.start, resource.end) : undefined;
      const known = whole ?? this.#dictionary.find(resourceId)?.bytes;
      const head = known ?? applicationHead(bytes, application.start, application.end);
      group = { head, scopes: new Map() };
      this.#groups.set(resourceKey, group);
      this.#bytes += head.length;
    }
    const scopeKey = scope.size === 0 ? scopeId : textKey("", scope, bytes);
    let scoped = group.scopes.get(scopeKey);
    if (scoped === undefined) {
      const head = scope.size === 0 ? this.#dictionary.find(scopeId)?.bytes : bytes.slice(scope.start, scope.end);
      scoped = { head: head ?? NOTHING, records: [], bytes: 0 };
      group.scopes.set(scopeKey, scoped);
      this.#bytes += scoped.head.length;
    }
    return scoped;
  }

  /** One frame of all that was added. */
  #finish(): Uint8Array {
    const groups = [...this.#groups.values()].map((group) => ({ ...group, ...sizesOf(group) }));
    const cursorBytes = varintSize(CURSOR_TAG) + 1 + this.#cursor.length;
    const size = groups.reduce((sum, each) => sum + framedSize(each.size), cursorBytes);
    const out = Buffer.allocUnsafe(FRAME_HEADER_BYTES + size);
    out[0] = 0;
    out.writeUInt32BE(size, 1);
    let at = FRAME_HEADER_BYTES;
    const put = (bytes: Uint8Array): void => {
      out.set(bytes, at);
      at += bytes.length;
    };
    const head = (tag: number, length: number): void => {
      at = writeVarint(out, writeVarint(out, at, tag), length);
    };
    for (const { head: resource, scopes, size: resourceSize, scopeSizes } of groups) {
      head(RequestTag.RESOURCE_LOGS, resourceSize);
      put(resource);
      for (const [i, scope] of [...scopes.values()].entries()) {
        head(ResourceLogsTag.SCOPE_LOGS, scopeSizes[i]!);
        put(scope.head);
        at = this.#putRecords(out, at, scope.records);
      }
    }
    head(CURSOR_TAG, this.#cursor.length);
    put(this.#cursor);
    this.#groups = new Map();
    this.#sink.used = 0;
    this.#bytes = 0;
    return out;
  }

  #putRecords(out: Buffer, start: number, records: readonly number[]): number {
    const { bytes } = this.#sink;
    let at = start;
    for (let i = 0; i < records.length; i += 2) {
      const from = records[i]!;
      const to = records[i + 1]!;
      out[at++] = ScopeLogsTag.LOG_RECORDS;
      at = writeVarint(out, at, to - from);
      bytes.copy(out, at, from, to);
      at += to - from;
    }
    return at;
  }
}

function textKey(prefix: string, span: { readonly start: number; readonly end: number }, bytes: Uint8Array): string {
  return prefix + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1", span.start, span.end);
}

function framedSize(size: number): number {
  return 1 + varintSize(size) + size;
}

function sizesOf({ head, scopes }: ResourceGroup): { size: number; scopeSizes: number[] } {
  const scopeSizes = Array.from(scopes.values(), (scope) => scope.head.length + scope.bytes);
  return { size: scopeSizes.reduce((sum, size) => sum + framedSize(size), head.length), scopeSizes };
}

/** A ResourceLogs whose resource has the attribute service.name and nothing else; of the empty name, none. */
function applicationHead(bytes: Uint8Array, start: number, end: number): Uint8Array {
  if (start === end) return NOTHING;
  const value = new ByteSink(64);
  value.spanField(AnyValueTag.STRING, bytes, start, end);
  const pair = new ByteSink(64);
  pair.spanField(KeyValueTag.KEY, SERVICE_NAME, 0, SERVICE_NAME.length);
  pair.spanField(KeyValueTag.VALUE, value.bytes, 0, value.used);
  const resource = new ByteSink(64);
  resource.spanField(ResourceTag.ATTRIBUTES, pair.bytes, 0, pair.used);
  const head = new ByteSink(64);
  head.spanField(ResourceLogsTag.RESOURCE, resource.bytes, 0, resource.used);
  return head.bytes.subarray(0, head.used);
}
