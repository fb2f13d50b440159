// Readers at a pace of their own, each of which holds what it gets against what a log promises:
//
// R1. Sequences go up; of a stream without a filter by one, unless a gap told of the hole, with its exact count.
// R2. Nothing comes twice, also over lost connections.
import { type Clock, GapReason, type LogEvent, type LogQuery, pause, type SluiceClient } from "@sluice/client";
import { between } from "../support/crash-random.ts";

export interface ReaderOptions {
  readonly name: string;
  readonly query: LogQuery;
  /** After so many entries it rests for up to `restMaxMs`. Absent: it takes what comes. */
  readonly slow?: { readonly everyEntries: number; readonly restMaxMs: number };
}

export interface ReaderContext {
  readonly client: SluiceClient;
  readonly clock: Clock;
  readonly random: () => number;
}

const RETRY = { initialMs: 50, maxMs: 1000 };
const HEARTBEAT_MS = 2000;

export class Reader {
  /** What is wrong, in sentences. */
  readonly wrong: string[] = [];
  entries = 0;
  gaps = 0;
  gapEntries = 0n;
  readonly #options: ReaderOptions;
  readonly #context: ReaderContext;
  readonly #isWhole: boolean;
  #last: bigint | undefined;

  constructor(options: ReaderOptions, context: ReaderContext) {
    const { applications = [], filters = [], logLevel } = options.query;
    this.#options = options;
    this.#context = context;
    this.#isWhole = applications.length === 0 && filters.length === 0 && logLevel === undefined;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Reads until `signal`: a follower one stream, another one stream after the other. @throws what ends one for good */
  async run(signal: AbortSignal): Promise<void> {
    do {
      this.#last = undefined;
      await this.#read(signal);
    } while (!signal.aborted && this.#options.query.follow !== true);
    if (!signal.aborted) this.wrong.push(`${this.name}: the stream ended by itself`);
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { query, slow } = this.#options;
    const { client, clock, random } = this.#context;
    try {
      for await (const event of client
        .streamLogs(query, { signal, retry: RETRY, heartbeatMs: HEARTBEAT_MS })
        .events()) {
        this.#take(event);
        const isTired = slow !== undefined && event.kind === "entry" && this.entries % slow.everyEntries === 0;
        if (isTired) await pause(clock, between(random, 0, slow.restMaxMs), signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #take(event: LogEvent): void {
    if (event.kind === "entry") {
      const { sequence } = event.entry;
      if (this.#last !== undefined && !this.#follows(sequence, this.#last))
        this.wrong.push(`${this.name}: entry ${sequence} follows ${this.#last}`);
      this.entries++;
      this.#last = sequence;
    } else if (event.kind === "gap") {
      const { count, reason } = event.gap;
      if (reason === GapReason.EPOCH || reason === GapReason.CORRUPTION)
        this.wrong.push(`${this.name}: a gap of ${count} entries, reason ${reason}`);
      this.gaps++;
      this.gapEntries += count;
      if (this.#last !== undefined) this.#last += count;
    }
  }

  #follows(sequence: bigint, last: bigint): boolean {
    return this.#isWhole ? sequence === last + 1n : sequence > last;
  }
}
