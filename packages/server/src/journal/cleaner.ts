// Gives the space of what is gone back: what is still alive in the oldest segment is appended again, then the segment goes.
//
// C1. Wanted while the journal takes more than twice what is alive in it, and two segments: what is left when nothing is.
//     Only the oldest segment goes, so whatever is said of a thing lies behind the thing's own record, and records that
//     end things need not be carried.
// C2. A segment goes when all that was carried out of it is durable, never before. After a crash between the two, both are
//     there; the later one counts.
// C3. In slices: the event loop is free between two of them. So fast, and no faster, unless the journal is much too large.
// C4. A round through all segments that gave nothing back is the last one until a segment's worth was appended, or has died:
//     what is alive and not counted (the queue itself, dedup ids) may take more than C1 allows.
// C5. What is stale goes whatever it gives back, the open segment sealed for it if need be.
import type { Clock, EntryRun, Timer } from "../store/contract.ts";
import type { Log } from "../store/log.ts";
import type { JournalOwner, Place, RecordFormat, RecordReader } from "./contract.ts";
import type { DiskSpace } from "./disk-space.ts";
import { FRAME_HEADER_BYTES } from "./layout.ts";
import { nextTurn } from "../stream/turn.ts";

/** About a millisecond. */
const SLICE_BYTES = 128 * 1024;
/** Beyond this share of what it may take, a journal is cleaned as fast as slices allow. */
const HURRY_SHARE = 1.5;
/** Segments whose moved places are remembered. */
const MOVES_KEPT = 4;
const RETRY_MS = 5_000;

export interface CleanerParts<Stored, New> {
  readonly log: Log;
  readonly clock: Clock;
  readonly owner: JournalOwner<Stored, New>;
  readonly format: RecordFormat<Stored, New>;
  readonly space: DiskSpace;
  readonly options: { readonly segmentBytes: number; readonly cleanBytesPerSecond: number };
  readonly onFault: ((text: string) => void) | undefined;
  /** What the cleaner asks of the journal. */
  readonly journal: {
    carry(record: New, body: Uint8Array | undefined): Place;
    readonly appendedBytes: number;
    readonly diskBytes: number;
    room(bytes: number): Promise<void> | undefined;
    durable(place: Place): Promise<void> | undefined;
  };
}

export class Cleaner<Stored, New> {
  readonly #parts: CleanerParts<Stored, New>;
  readonly #records: RecordReader<Stored>;
  /** Where bodies went that were carried, a map for each of the last segments, oldest first. */
  readonly #moves: Map<Place, Place>[] = [];
  #running: Promise<void> | undefined;
  #isClosed = false;
  /** Ends a pause. */
  #endPause: () => void = () => undefined;
  #retry: Timer | undefined;
  #debtMs = 0;
  /** C4. A round ends with the segment that was the newest when it began. */
  #roundEnd: Place = 0;
  /** What the journal took when it began, less what the owner had appended until then. */
  #roundBytes = Number.POSITIVE_INFINITY;
  /** Of the owner, when it began. */
  #roundLiveBytes = 0;
  /** Appended by the owner since the journal was opened, and how much of it must be there before the next round. */
  #freshBytes = 0;
  #restUntil = 0;

  constructor(parts: CleanerParts<Stored, New>) {
    this.#parts = parts;
    this.#records = parts.format.createReader();
  }

  /** So many bytes have become durable: looks whether there is something to do. */
  wake(committedBytes = 0): void {
    this.#freshBytes += committedBytes;
    if (this.#running !== undefined || !this.#isWanted()) return;
    this.#running = this.#run()
      .catch((error: unknown) => this.#tryLater(error))
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Where the body is now that was at this place. */
  placeOf(place: Place): Place {
    if (place >= this.#parts.log.reader.first) return place;
    let now = place;
    for (const moves of this.#moves) now = moves.get(now) ?? now;
    return now;
  }

  /** Resolves when nothing is being cleaned. Never rejects. */
  async rest(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Ends after the slice that is under way: what was carried stays, the segment stays. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#endPause();
    await this.rest();
  }

  /** C1. What the journal may take, bytes. */
  get #allowedBytes(): number {
    const { owner, options } = this.#parts;
    return 2 * owner.liveBytes + 2 * options.segmentBytes;
  }

  #isWanted(): boolean {
    const { log, journal } = this.#parts;
    if (this.#isClosed || this.#retry !== undefined) return false;
    if (this.#isStale()) return true;
    if (this.#freshBytes < this.#restUntil && !this.#hasDied()) return false;
    return log.oldestSealed !== undefined && journal.diskBytes > this.#allowedBytes;
  }

  async #run(): Promise<void> {
    const { log, space, journal } = this.#parts;
    while (this.#isWanted()) {
      const isStale = this.#isStale();
      if (isStale && log.oldestSealed === undefined) await log.seal();
      const oldest = log.oldestSealed;
      if (oldest === undefined) throw new Error("the open segment cannot be sealed");
      if (!isStale && oldest.first >= this.#roundEnd && !this.#beginRound()) return;
      if (space.free < oldest.bytes) {
        space.watch();
        throw new Error(
          `the disk has ${Math.max(0, space.free)} bytes left, too few to clean a segment of ${oldest.bytes}`,
        );
      }
      const last = await this.#carryAll(oldest);
      // C2.
      await journal.durable(last);
      if (this.#isClosed) return;
      const dropped = await log.dropOldest();
      if (dropped === 0) throw new Error("the oldest segment cannot be dropped");
    }
  }

  /** C4. Since the last round began. */
  #hasDied(): boolean {
    const { owner, options } = this.#parts;
    return owner.liveBytes < this.#roundLiveBytes - options.segmentBytes;
  }

  /** C5. */
  #isStale(): boolean {
    const { log, owner } = this.#parts;
    return log.reader.first <= Math.min(owner.staleThrough ?? 0, log.reader.head.sequence);
  }

  /** C4. False: the last round was in vain. */
  #beginRound(): boolean {
    const { log, options, journal } = this.#parts;
    const bytes = journal.diskBytes - this.#freshBytes;
    const isInVain = this.#roundBytes - bytes < options.segmentBytes && !this.#hasDied();
    this.#roundEnd = log.writer.next;
    this.#roundBytes = bytes;
    this.#roundLiveBytes = this.#parts.owner.liveBytes;
    if (isInVain) this.#restUntil = this.#freshBytes + options.segmentBytes;
    return !isInVain;
  }

  /** Appends again what of a segment must stay. Answers the last place of it; 0: nothing. */
  async #carryAll(segment: { first: Place; last: Place }): Promise<Place> {
    const { log, journal } = this.#parts;
    const moves = new Map<Place, Place>();
    this.#moves.push(moves);
    if (this.#moves.length > MOVES_KEPT) this.#moves.shift();
    let last = 0;
    const scan = log.reader.scan(segment.first - 1);
    try {
      while (scan.position < segment.last && !this.#isClosed) {
        await journal.room(SLICE_BYTES);
        const run = await scan.next(SLICE_BYTES);
        if (run === undefined) break;
        if (run.kind === "gap") {
          throw new Error(`records ${run.first} to ${run.last} do not prove themselves: nothing is removed`);
        }
        const progress = { index: 0, moved: last };
        for (;;) {
          const busy = this.#carryRun(run, { last: segment.last, moves, progress });
          if (busy === undefined || this.#isClosed) break;
          await busy;
        }
        last = progress.moved;
        scan.release?.();
        await this.#giveWay(run.bytes.length);
      }
    } finally {
      scan.close();
    }
    return last;
  }

  /**
   * C3. One slice, in one turn: what the owner answers is true when it is appended. A promise: the owner cannot say yet what
   * becomes of the next record; `progress` says where to go on, and the last new place.
   */
  #carryRun(
    run: EntryRun,
    to: { last: Place; moves: Map<Place, Place>; progress: { index: number; moved: Place } },
  ): Promise<void> | undefined {
    const { last, moves, progress } = to;
    const { owner, journal, format } = this.#parts;
    const count = Math.min(run.count, last - run.first + 1);
    for (; progress.index < count; progress.index++) {
      const i = progress.index;
      const message = run.starts[i]! + FRAME_HEADER_BYTES;
      if (!format.isCarried(run.bytes[message]! >> 3)) continue;
      const place = run.first + i;
      const record = this.#records.read(run.bytes, message, run.starts[i + 1]!);
      const body = run.bytes.subarray(this.#records.bodyStart, this.#records.bodyEnd);
      const answers = owner.carry(record, place);
      if (answers instanceof Promise) return answers;
      for (const answer of answers) {
        const hasBody = format.hasBody(answer);
        const moved = journal.carry(answer, hasBody ? body : undefined);
        progress.moved = moved;
        this.#freshBytes -= journal.appendedBytes;
        if (hasBody) moves.set(place, moved);
        owner.carried(answer, moved, journal.appendedBytes);
      }
    }
    return undefined;
  }

  /** C3. */
  async #giveWay(bytes: number): Promise<void> {
    const { clock, options, journal } = this.#parts;
    const isHurried = journal.diskBytes > HURRY_SHARE * this.#allowedBytes;
    if (!isHurried) this.#debtMs += (bytes * 1000) / options.cleanBytesPerSecond;
    if (this.#debtMs < 1 || this.#isClosed) {
      await nextTurn();
      return;
    }
    const ms = Math.floor(this.#debtMs);
    this.#debtMs -= ms;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(resolve, ms);
      this.#endPause = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  #tryLater(error: unknown): void {
    if (this.#isClosed) return;
    const { clock, onFault } = this.#parts;
    onFault?.(`cannot give space back: ${error instanceof Error ? error.message : String(error)}`);
    this.#retry = clock.setTimer(() => {
      this.#retry = undefined;
      this.wake();
    }, RETRY_MS);
  }
}
