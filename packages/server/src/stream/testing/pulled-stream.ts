// A stream as the transport is one: pulls a source when it is woken, in a later turn, and reads what comes.
import { fromBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema } from "@sluice/api";
import type { FrameSource, FrameStream } from "@sluice/rpc";

export class PulledStream implements FrameStream {
  /** What came, in short: "1", "2", "gap 3-5 RETENTION", "sync", "heartbeat lag 4". */
  readonly events: string[] = [];
  readonly entries: LogEntry[] = [];
  readonly controls: LogEntry[] = [];
  ending: "open" | "ended" | { readonly error: unknown } = "open";
  /** A reader that does not read. */
  isStalled = false;
  pulls = 0;

  readonly #source: FrameSource;
  #isScheduled = false;

  constructor(source: FrameSource) {
    this.#source = source;
    source.attach(this);
    this.wake();
  }

  wake(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#pull();
    });
  }

  end(): void {
    if (this.ending !== "open") throw new Error("the stream ended twice");
    this.ending = "ended";
  }

  fail(error: unknown): void {
    if (this.ending !== "open") throw new Error("the stream ended twice");
    this.ending = { error };
  }

  resume(): void {
    this.isStalled = false;
    this.wake();
  }

  /** Pulls once, also for a reader that is stalled. Answers whether anything came. */
  take(): boolean {
    this.pulls++;
    const bytes = this.#source.pull(64 * 1024);
    if (bytes === undefined) return false;
    if (bytes.length === 0) throw new Error("a source pulled nothing and said it had something");
    for (const entry of entriesOf(bytes)) this.#receive(entry);
    return true;
  }

  #pull(): void {
    while (!this.isStalled && this.ending === "open") {
      if (!this.take()) return;
    }
  }

  #receive(entry: LogEntry): void {
    const control = entry.control?.kind;
    if (control === undefined) {
      this.entries.push(entry);
      this.events.push(String(entry.sequence));
      return;
    }
    this.controls.push(entry);
    switch (control.case) {
      case "gap":
        this.events.push(`gap of ${control.value.count}`);
        break;
      case "heartbeat":
        this.events.push(`heartbeat lag ${control.value.lagEntries}`);
        break;
      default:
        this.events.push(control.case ?? "empty control");
    }
  }
}

/** The messages in whole frames. */
export function entriesOf(frames: Uint8Array): LogEntry[] {
  const entries: LogEntry[] = [];
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  for (let at = 0; at < frames.length;) {
    const end = at + 5 + view.getUint32(at + 1);
    if (view.getUint8(at) !== 0 || end > frames.length) throw new Error(`no frame at ${at}`);
    entries.push(fromBinary(LogEntrySchema, frames.subarray(at + 5, end)));
    at = end;
  }
  return entries;
}
