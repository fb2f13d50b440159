// How much one worker may be sent: windows that the worker sets, and what is under way.
//
//   credit = seen + window - sent
//
// CR1. Never more is under way (handed to the stream, not seen, not taken back) than the window that was in force when it was
//      handed over; and by bytes neither, except that one job goes where nothing else is under way: else a large one would wait for ever.
// CR2. A flow is set: saying it again changes nothing beside what was sent in between. A smaller window is no error; credit is
//      0 until enough was seen.
// CR3. It cannot wedge: a flow that says that all was seen gives its whole window, whatever came before it.
// CR4. A lane keeps its part of the window for jobs of its priority and above: less urgent ones do not use it, also when
//      nothing urgent is there.
// CR5. `seen` does not go back: what was seen is not under way again.
// CR6. A job is handed to the stream first (`reserve`) and leaves later (`send`); what is taken back before it left gives its
//      place back at once (`release`).
// CR7. What is taken back after it left (`takeBack`) frees its place at once, too: the worker hears of it before it gets
//      anything that is sent later, so it never holds more than its window. Its next flow, which may not know of it yet, says
//      anew how it is.

/** 0 to 7; 7 is the most urgent. */
export const PRIORITIES = 8;

/** What a worker is ready to take, as its last Flow says it. */
export interface FlowWindow {
  /** Deliveries that it has seen. */
  readonly seen: number;
  /** Deliveries that may be under way beyond those. */
  readonly window: number;
  /** Bytes that may be under way beyond those; 0: no bound of its own. */
  readonly windowBytes: number;
}

/** A part of the window that only jobs of `minPriority` and above may use. */
export interface LaneWindow {
  readonly minPriority: number;
  readonly window: number;
}

const FIRST_RING = 16;

export class Credit {
  #sent = 0;
  #seen = 0;
  /** seen + window of the last flow. */
  #limit = 0;
  #windowBytes = 0;
  /** Handed to the stream, not left yet. */
  #reserved = 0;
  /** Handed to the stream and not seen: how many of each priority, and the bytes of all. */
  readonly #underWay = new Float64Array(PRIORITIES);
  #bytesUnderWay = 0;
  /** What left and was not seen: bytes × 8 + priority; delivery number n lies at (n - 1) % length. */
  #ring = new Float64Array(FIRST_RING);
  /** Of lanes: window that jobs below this priority leave free. */
  readonly #keptBelow = new Float64Array(PRIORITIES);
  #hasLanes = false;

  /** Deliveries that have left: the number of the last one. */
  get sent(): number {
    return this.#sent;
  }

  /** Handed to the stream and not seen. */
  get underWay(): number {
    return this.#sent + this.#reserved - this.#seen;
  }

  /** What is left of the window, lanes and bytes aside. */
  get total(): number {
    return Math.max(0, this.#limit - this.#sent - this.#reserved);
  }

  /** @throws RangeError when more was seen than was sent; nothing changes then */
  setFlow({ seen, window, windowBytes }: FlowWindow): void {
    if (seen > this.#sent) throw new RangeError(`${seen} deliveries cannot be seen: ${this.#sent} were sent`);
    for (; this.#seen < seen; this.#seen++) {
      const first = this.#ring[this.#seen % this.#ring.length]!;
      this.#forget(first % PRIORITIES, Math.floor(first / PRIORITIES));
    }
    this.#limit = seen + window;
    this.#windowBytes = windowBytes;
  }

  /** Sets all lanes. */
  setLanes(lanes: readonly LaneWindow[]): void {
    this.#hasLanes = lanes.length > 0;
    this.#keptBelow.fill(0);
    for (const { minPriority, window } of lanes) {
      for (let below = 0; below <= minPriority; below++) this.#keptBelow[below]! += window;
    }
  }

  /** How many more jobs of this priority may be handed over, the next of them so large. */
  of(priority: number, bytes: number): number {
    const total = this.#limit - this.#sent - this.#reserved;
    if (total <= 0) return 0;
    const isAlone = this.underWay === 0;
    if (this.#windowBytes > 0 && !isAlone && this.#bytesUnderWay + bytes > this.#windowBytes) return 0;
    return this.#hasLanes ? Math.max(0, Math.min(total, this.#besideLanes(priority))) : total;
  }

  /** CR4. For each priority above: those below it may have the window but for what is kept from them. */
  #besideLanes(priority: number): number {
    const window = this.#limit - this.#seen;
    let least = window;
    let below = 0;
    for (let above = 0; above < PRIORITIES; above++) {
      if (above > priority) least = Math.min(least, window - this.#keptBelow[above]! - below);
      below += this.#underWay[above]!;
    }
    return least;
  }

  /** A job is handed to the stream. Also beyond the credit, where another one was taken back in its favour. */
  reserve(priority: number, bytes: number): void {
    this.#reserved++;
    this.#underWay[priority]!++;
    this.#bytesUnderWay += bytes;
  }

  /** It did not leave, and will not. */
  release(priority: number, bytes: number): void {
    this.#reserved--;
    this.#forget(priority, bytes);
  }

  /** So many that left were taken back from the worker. */
  takeBack(count: number): void {
    this.#limit += count;
  }

  /** It leaves. Answers its number. */
  send(priority: number, bytes: number): number {
    this.#reserved--;
    if (this.#sent - this.#seen === this.#ring.length) this.#grow();
    this.#ring[this.#sent % this.#ring.length] = bytes * PRIORITIES + priority;
    return ++this.#sent;
  }

  #forget(priority: number, bytes: number): void {
    this.#underWay[priority]!--;
    this.#bytesUnderWay -= bytes;
  }

  #grow(): void {
    const old = this.#ring;
    const ring = new Float64Array(old.length * 2);
    for (let i = this.#seen; i < this.#sent; i++) ring[i % ring.length] = old[i % old.length]!;
    this.#ring = ring;
  }
}
