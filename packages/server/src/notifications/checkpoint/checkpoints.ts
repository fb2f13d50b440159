// When checkpoints are written: so that a start has few records to read, and the disk little to write.
//
// C1. After so many records, and more the more there is: a start reads a few seconds' worth of records at most.
// C2. One at the end, unless the last one is nearly as good.
// C3. One that fails is told, and tried again after as many records: the journal says all that it would say.
import type { FileSystem } from "../../store/file-system.ts";
import type { Clock } from "../../store/contract.ts";
import type { InboxState } from "../engine/state.ts";
import { saveCheckpoint } from "./save.ts";

const DEFAULT_RECORDS = 100_000;
/** C1. One record for so many items and users. */
const ROWS_PER_RECORD = 16;
/** C2. Of those of C1. */
const END_SHARE = 8;

export interface CheckpointsParts {
  readonly folder: string;
  readonly fileSystem: FileSystem;
  readonly clock: Pick<Clock, "nowNs">;
  readonly state: InboxState;
  /** The least number of records between two. */
  readonly records: number | undefined;
  readonly sumOf: (place: number) => Promise<number | undefined>;
  readonly staleThrough: () => number;
  /** Resolves when what has been carried until now is durable. */
  readonly carried: () => Promise<void>;
  readonly onFault: ((text: string) => void) | undefined;
}

export class Checkpoints {
  readonly #parts: CheckpointsParts;
  /** The last record that the last one knows, or would have known. */
  #last: number;
  /** When it was written, Unix ms. */
  #lastMs = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  /** @param last the record behind which the journal was read; 0: all of it was */
  constructor(parts: CheckpointsParts, last: number) {
    this.#parts = parts;
    this.#last = last;
  }

  /** Something is in effect: looks whether it is time. */
  look(): void {
    const { head } = this.#parts.state;
    if (this.#isClosed || this.#running !== undefined || head - this.#last < this.#records) return;
    void this.#run();
  }

  /**
   * What was removed before this time must leave the disk: so must a checkpoint that still has it.
   * @param beforeMs Unix ms
   */
  renew(beforeMs: number): void {
    const isThere = this.#last > 0;
    if (this.#isClosed || this.#running !== undefined || !isThere || this.#lastMs > beforeMs) return;
    void this.#run();
  }

  /** Resolves when none is being written. Never rejects. */
  async rest(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** C2. @param isWell whether what is in effect is all on disk */
  async close(isWell: boolean): Promise<void> {
    this.#isClosed = true;
    await this.rest();
    if (isWell && this.#parts.state.head - this.#last >= this.#records / END_SHARE) await this.#run();
  }

  /** C1. */
  get #records(): number {
    const { state, records } = this.#parts;
    return Math.max(records ?? DEFAULT_RECORDS, (state.items.size + state.users.size) / ROWS_PER_RECORD);
  }

  #run(): Promise<void> {
    this.#running = this.#save()
      .catch((error: unknown) => {
        // C3.
        const why = error instanceof Error ? error.message : String(error);
        this.#parts.onFault?.(`cannot write a checkpoint of the notifications: ${why}`);
      })
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #save(): Promise<void> {
    const { folder, fileSystem, clock, state, sumOf, staleThrough, carried } = this.#parts;
    const place = state.head;
    this.#last = place;
    this.#lastMs = Number(clock.nowNs() / 1_000_000n);
    const sum = await sumOf(place);
    // Carried on and dropped meanwhile: the journal is as small as what there was to clean.
    if (sum === undefined) return;
    await saveCheckpoint({ folder, fileSystem, state, staleThrough: staleThrough(), mark: { place, sum }, carried });
  }
}
