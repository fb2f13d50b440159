// A canary at work: one writer at a steady rate, one reader that follows, and the books between them.
//
// N1. The reader asks for this run's entries from the beginning of the run, by its stamp: also what was written before its
//     first connection stood comes back.
// N2. What is on the books is bounded: at the bound the writer waits for the reader. It is less than what the SDK's writer
//     keeps before it makes its caller wait, so `write` never waits, and the end is never held up by an outage.
// N3. After an outage the writer does not make up for what it did not write: the rate is never exceeded for more than a second.
import {
  type Clock,
  type LogEvent,
  type LogQuery,
  type LogStreamOptions,
  LogWriterFailed,
  type LogWriterOptions,
  type NewLogEntry,
  pause,
} from "@sluice/client";
import { CanaryLedger } from "./canary-ledger.ts";
import type { CanaryReport } from "./canary-report.ts";

/** What is needed of a client. */
export interface CanaryClient {
  openLogWriter(options: LogWriterOptions): CanaryWriter;
  streamLogs(query: LogQuery, options: LogStreamOptions): { events(): AsyncIterable<LogEvent> };
}

interface CanaryWriter {
  write(entry: NewLogEntry): Promise<void>;
  close(options: { readonly signal: AbortSignal }): Promise<void>;
}

export interface CanaryOptions {
  /** Stamped on each entry. Unique among all canaries. */
  readonly run: string;
  readonly application: string;
  /** Absent: the default log. */
  readonly log: string | undefined;
  /** Entries a second. */
  readonly rate: number;
  /** See K2; also how long the end waits for what is not acknowledged or not seen. */
  readonly graceMs: number;
  readonly clock: Clock;
  /** Ends the writing; what is on the way is waited for. */
  readonly stop: AbortSignal;
}

const PENDING_MAX = 20_000;
const CATCH_UP_MAX_MS = 1000;
/** Between two looks at a bound, or at what is still on the way. */
const LOOK_MS = 50;
/** A reader that hears nothing for two and a half times as long opens a new connection. */
const HEARTBEAT_MS = 2000;
/** An outage of the server is what a canary is there for: it tries again soon. */
const RETRY = { initialMs: 100, maxMs: 2000 };
/** The filter by event time lets the server skip what is older; a clock that was set back by less loses nothing. */
const CLOCK_SLACK_NS = 3_600_000_000_000n;
/** The waiting for others of the same batch is part of what is measured: little. */
const BATCH_DELAY_MS = 1;
const RUN_FIELD = "canary_run";
const NUMBER_FIELD = "canary_number";

export class Canary {
  readonly #options: CanaryOptions;
  readonly #client: CanaryClient;
  readonly #ledger: CanaryLedger;
  #isReaderConnected = false;
  #readerDisconnects = 0;
  #writerDisconnects = 0;

  constructor(client: CanaryClient, options: CanaryOptions) {
    this.#client = client;
    this.#options = options;
    this.#ledger = new CanaryLedger(options);
  }

  /** Works until `stop`, then waits for what is on the way. @throws what ends a writer or a reader for good. */
  async work(): Promise<void> {
    const { stop } = this.#options;
    const failed = new AbortController();
    const leave = new AbortController();
    const reading = this.#read(leave.signal).catch((error: unknown) => {
      failed.abort(error);
    });
    try {
      await this.#write(AbortSignal.any([stop, failed.signal]));
      await this.#untilAllIsSeen(failed.signal);
    } finally {
      leave.abort();
      await reading;
    }
    failed.signal.throwIfAborted();
  }

  /** The state now, with latencies since the start. */
  report(): CanaryReport {
    return {
      run: this.#options.run,
      ...this.#ledger.counts(this.#nowMs()),
      isReaderConnected: this.#isReaderConnected,
      readerDisconnects: this.#readerDisconnects,
      writerDisconnects: this.#writerDisconnects,
      latencies: this.#ledger.latencies(),
    };
  }

  /** The same, with latencies since it was last asked. */
  takeReport(): CanaryReport {
    return { ...this.report(), latencies: this.#ledger.takeRecent() };
  }

  async #write(stop: AbortSignal): Promise<void> {
    const { application, clock, log, run } = this.#options;
    const writer = this.#client.openLogWriter({
      producer: run,
      retry: RETRY,
      delayMs: BATCH_DELAY_MS,
      onAcknowledged: (through) => this.#ledger.acknowledge(through, this.#nowMs()),
      onDisconnected: () => {
        this.#writerDisconnects++;
      },
      ...(log === undefined ? {} : { log }),
    });
    try {
      for await (const _ of this.#beats(stop)) {
        const number = this.#ledger.write(this.#nowMs());
        const message = `canary ${run} ${number}`;
        const fields = { [RUN_FIELD]: run, [NUMBER_FIELD]: String(number) };
        await writer.write({ application, level: "INFO", timestamp: clock.nowNs(), message, fields });
      }
    } finally {
      await this.#close(writer);
    }
  }

  /** What is not acknowledged in time is told by the counts; what ended the writer for good is thrown. */
  async #close(writer: CanaryWriter): Promise<void> {
    const { clock, graceMs } = this.#options;
    const patience = new AbortController();
    const timer = clock.setTimer(() => patience.abort(), graceMs);
    try {
      await writer.close({ signal: patience.signal });
    } catch (error) {
      if (!(error instanceof LogWriterFailed) || !patience.signal.aborted) throw error;
    } finally {
      timer.cancel();
    }
  }

  /** One for each entry that is due. */
  async *#beats(stop: AbortSignal): AsyncGenerator<void> {
    const { clock, rate } = this.#options;
    let dueMs = this.#nowMs();
    while (!stop.aborted) {
      const nowMs = this.#nowMs();
      dueMs = Math.max(dueMs, nowMs - CATCH_UP_MAX_MS); // N3
      if (this.#ledger.pending >= PENDING_MAX) await pause(clock, LOOK_MS, stop); // N2
      else if (dueMs > nowMs) await pause(clock, dueMs - nowMs, stop);
      else {
        dueMs += 1000 / rate;
        yield;
      }
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { application, clock, log, run } = this.#options;
    const query = {
      applications: [application],
      filters: [`${RUN_FIELD}=${run}`],
      startTimestamp: clock.nowNs() - CLOCK_SLACK_NS, // N1
      follow: true,
      ...(log === undefined ? {} : { log }),
    };
    try {
      const stream = this.#client.streamLogs(query, { signal, retry: RETRY, heartbeatMs: HEARTBEAT_MS });
      for await (const event of stream.events()) {
        const nowMs = this.#nowMs();
        this.#isReaderConnected = event.kind !== "disconnected";
        if (event.kind === "disconnected") {
          this.#readerDisconnects++;
          this.#ledger.readerIsDisconnected();
          continue;
        }
        this.#ledger.readerIsConnected(nowMs);
        if (event.kind === "entry") this.#ledger.see(Number(event.entry.fields[NUMBER_FIELD]), nowMs);
        if (event.kind === "gap") this.#ledger.noteGap(event.gap.count);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Until all is seen or known to be missing; twice the grace is enough for a reader that is connected again half-way. */
  async #untilAllIsSeen(failed: AbortSignal): Promise<void> {
    const { clock, graceMs } = this.#options;
    const endMs = this.#nowMs() + 2 * graceMs;
    while (this.#ledger.counts(this.#nowMs()).onTheWay > 0 && this.#nowMs() < endMs && !failed.aborted) {
      await pause(clock, LOOK_MS, failed);
    }
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}
