// Where an OpenTelemetry program's entries come from, as fields of the entry: the numbers of resource and scope in the
// log's dictionary; or, where that has no room for them, resource and scope themselves.
import type { Dictionary, DictionaryLease } from "../store/dictionary.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { Tag } from "./entry-scan.ts";
import type { LogName } from "./log-name.ts";
import type { RecordSource } from "./otlp-request.ts";

/** Kinds of entries in the dictionary of a log. */
export const OriginKind = { RESOURCE: 1, SCOPE: 2 } as const;

/** The origins of one request's records, in whichever logs they go to. Until it is disposed, they may be used. */
export class RequestOrigins implements Disposable {
  readonly #dictionaryOf: (log: LogName) => Dictionary;
  readonly #logs = new Map<LogName, { lease: DictionaryLease; encoded: Map<RecordSource, Uint8Array> }>();

  constructor(dictionaryOf: (log: LogName) => Dictionary) {
    this.#dictionaryOf = dictionaryOf;
  }

  [Symbol.dispose](): void {
    for (const { lease } of this.#logs.values()) lease[Symbol.dispose]();
  }

  /** The fields for each record in a log: at once where all is known there, else when it is durable. */
  of(log: LogName, sources: readonly RecordSource[]): readonly Uint8Array[] | Promise<readonly Uint8Array[]> {
    const { lease, encoded } = this.#in(log);
    const pending: Promise<void>[] = [];
    let last: RecordSource | undefined;
    for (const source of sources) {
      if (source === last || encoded.has(source)) continue;
      last = source;
      const { resource, scope } = source;
      const resourceId = lease.intern(OriginKind.RESOURCE, resource);
      const scopeId = scope.length === 0 ? 0 : lease.intern(OriginKind.SCOPE, scope);
      if (resourceId instanceof Promise || scopeId instanceof Promise) {
        const ids = Promise.all([resourceId, scopeId]);
        pending.push(ids.then(([first, second]) => void encoded.set(source, encodeOrigin(source, first, second))));
      } else {
        encoded.set(source, encodeOrigin(source, resourceId, scopeId));
      }
    }
    const all = () => sources.map((source) => encoded.get(source)!);
    return pending.length === 0 ? all() : Promise.all(pending).then(all);
  }

  #in(log: LogName): { lease: DictionaryLease; encoded: Map<RecordSource, Uint8Array> } {
    const known = this.#logs.get(log);
    if (known !== undefined) return known;
    const made = { lease: this.#dictionaryOf(log).lease(), encoded: new Map<RecordSource, Uint8Array>() };
    this.#logs.set(log, made);
    return made;
  }
}

function encodeOrigin(source: RecordSource, resourceId: number | undefined, scopeId: number | undefined): Uint8Array {
  const { resource, scope } = source;
  const sink = new ByteSink(16);
  if (resourceId === undefined) sink.spanField(Tag.OTLP_RESOURCE, resource, 0, resource.length);
  else sink.varintField(Tag.RESOURCE_ID, resourceId);
  if (scopeId === undefined) sink.spanField(Tag.OTLP_SCOPE, scope, 0, scope.length);
  else if (scopeId !== 0) sink.varintField(Tag.SCOPE_ID, scopeId);
  return sink.bytes.subarray(0, sink.used);
}
