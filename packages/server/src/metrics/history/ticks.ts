// When points came: a tick is a timestamp that all points share which came with it in one record of the log.
//
// K1. Ticks are numbered as they come, without holes. A series has at most one point of a tick.
// K2. Exact: any int64 of nanoseconds.
// K3. Oldest first they go again, when no point refers to them.

const PAGE_BITS = 12;
const PAGE = 1 << PAGE_BITS;
const NS_PER_SECOND = 1_000_000_000n;

interface Page {
  readonly seconds: Float64Array;
  readonly nanos: Uint32Array;
  /** Of the record of the log that the points came in. */
  readonly sequences: Float64Array;
}

export class Ticks {
  #pages: Page[] = [];
  /** Number of the first tick of the first page. */
  #base: number;
  #begin: number;
  #next: number;

  constructor(first = 0) {
    this.#begin = first;
    this.#base = first - (first % PAGE);
    this.#next = first;
  }

  get next(): number {
    return this.#next;
  }

  /** The oldest that is there. */
  get begin(): number {
    return this.#begin;
  }

  get bytes(): number {
    return this.#pages.length * PAGE * 20;
  }

  add(timestampNs: bigint, sequence: number): number {
    const tick = this.#next++;
    const place = tick - this.#base;
    const page = (this.#pages[Math.floor(place / PAGE)] ??= {
      seconds: new Float64Array(PAGE),
      nanos: new Uint32Array(PAGE),
      sequences: new Float64Array(PAGE),
    });
    let seconds = timestampNs / NS_PER_SECOND;
    let nanos = timestampNs % NS_PER_SECOND;
    if (nanos < 0n) {
      seconds -= 1n;
      nanos += NS_PER_SECOND;
    }
    page.seconds[place % PAGE] = Number(seconds);
    page.nanos[place % PAGE] = Number(nanos);
    page.sequences[place % PAGE] = sequence;
    return tick;
  }

  timestampNs(tick: number): bigint {
    const page = this.#pageOf(tick);
    const place = (tick - this.#base) % PAGE;
    return BigInt(page.seconds[place]!) * NS_PER_SECOND + BigInt(page.nanos[place]!);
  }

  /** Ns since `seconds` (Unix): exact within 104 days of it. */
  since(tick: number, seconds: number): number {
    const offset = tick - this.#base;
    const page = this.#pages[offset >>> PAGE_BITS]!;
    const place = offset & (PAGE - 1);
    return (page.seconds[place]! - seconds) * 1e9 + page.nanos[place]!;
  }

  /** Whether the time of one is after that of another. */
  isAfter(tick: number, other: number): boolean {
    const page = this.#pageOf(tick);
    const otherPage = this.#pageOf(other);
    const place = (tick - this.#base) % PAGE;
    const otherPlace = (other - this.#base) % PAGE;
    const seconds = page.seconds[place]! - otherPage.seconds[otherPlace]!;
    return seconds > 0 || (seconds === 0 && page.nanos[place]! > otherPage.nanos[otherPlace]!);
  }

  sequence(tick: number): number {
    return this.#pageOf(tick).sequences[(tick - this.#base) % PAGE]!;
  }

  /** The first tick of records after this one. */
  firstAfter(sequence: number): number {
    let low = this.#begin;
    let high = this.#next;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.sequence(middle) > sequence) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** K3. Forgets whole pages of those before `first`. */
  dropBefore(first: number): void {
    const count = Math.min(Math.floor((first - this.#base) / PAGE), Math.floor((this.#next - this.#base) / PAGE));
    if (count <= 0) return;
    this.#pages = this.#pages.slice(count);
    this.#base += count * PAGE;
    this.#begin = Math.max(this.#begin, this.#base);
  }

  #pageOf(tick: number): Page {
    return this.#pages[Math.floor((tick - this.#base) / PAGE)]!;
  }
}
