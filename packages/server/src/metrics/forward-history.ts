// What targets have missed, read from the history; and how far each of them has got, on disk.
//
// FH1. A place is the number of a tick (history/ticks.ts): everything that came with earlier ticks has been handed on, or never
//      will be. On disk it is a cursor of the history's log, never ahead of what is durable.
// FH2. Points come in the order in which they came. What is held is one window, of some ten thousand points; read in slices.
import type { FileSystem } from "../store/file-system.ts";
import { readWhole, writeAtomically } from "../store/atomic-file.ts";
import { cursorOf, parseCursor, resumeAfter } from "../stream/cursor.ts";
import { nextTurn } from "../stream/turn.ts";
import { valueOf } from "./expose.ts";
import type { ForwardedPoint, ForwardHistory, MissedPoints } from "./forward.ts";
import { HISTORY_LOG_NAME, type HistoryLog } from "./history/history-log.ts";
import type { TickPoint } from "./history/chunk-reader.ts";

const WINDOW_POINTS = 20_000;
const SLICE_MS = 3;
const EVERYTHING = { fromNs: -(2n ** 63n), toNs: 2n ** 63n };

/** The history as forwarders read it. */
export function forwardHistory({ history }: Pick<HistoryLog, "history">): ForwardHistory {
  const { ticks } = history;
  return {
    get next() {
      return ticks.next;
    },
    isWhole: (from) => from >= ticks.begin && (from >= ticks.next || ticks.sequence(from) > history.lostSequence),
    async *read(from, to): AsyncGenerator<MissedPoints, void, void> {
      const begin = Math.max(from, ticks.begin);
      const slices = new Slices();
      const ids: number[] = [];
      let count = 0;
      for (const [id] of history.all()) {
        await slices.pause();
        const extent = history.extent(id, { ...EVERYTHING, fromTick: begin, toTick: to });
        if (extent === undefined) continue;
        ids.push(id);
        count += extent.count;
      }
      const width = Math.max(1, Math.ceil((to - begin) / Math.max(1, Math.ceil(count / WINDOW_POINTS))));
      const before = new Map<number, TickPoint>();
      for (let first = begin; first < to; first += width) {
        const next = Math.min(first + width, to);
        const rows: (TickPoint & { readonly forwarded: ForwardedPoint })[] = [];
        for (const id of ids) {
          await slices.pause();
          const series = history.seriesOf(id);
          // It may have left the history since.
          if (series === undefined) continue;
          const { rateScale } = series.description;
          for (const point of history.points(id, { ...EVERYTHING, fromTick: first, toTick: next })) {
            const value = valueOf({ description: series.description, point, previous: before.get(id) ?? point });
            if (rateScale !== undefined) before.set(id, point);
            if (value === undefined && !point.isStale) continue;
            const forwarded = { series, point, value: value ?? point.value, isStale: point.isStale };
            rows.push({ ...point, forwarded });
          }
        }
        rows.sort((a, b) => a.tick - b.tick);
        yield { points: rows.map(({ forwarded }) => forwarded), next };
      }
    },
  };
}

/** FH2. */
class Slices {
  #sinceMs = performance.now();

  async pause(): Promise<void> {
    if (performance.now() - this.#sinceMs < SLICE_MS) return;
    await nextTurn();
    this.#sinceMs = performance.now();
  }
}

const FILE = "forward.json";

export interface ForwardPlacesOptions {
  readonly log: HistoryLog;
  readonly folder: string;
  readonly fileSystem: FileSystem;
}

/** How far each target has got (FH1). */
export class ForwardPlaces {
  readonly #options: ForwardPlacesOptions;
  /** By the target's name. */
  readonly #cursors: Map<string, string>;
  #saved: string;

  private constructor(options: ForwardPlacesOptions, cursors: Map<string, string>) {
    this.#options = options;
    this.#cursors = cursors;
    this.#saved = this.#text();
  }

  /** A file that says nothing is none. @throws what the file system says */
  static async open(options: ForwardPlacesOptions): Promise<ForwardPlaces> {
    const bytes = await readWhole(options.fileSystem, `${options.folder}/${FILE}`);
    return new ForwardPlaces(options, new Map(Object.entries(cursorsIn(bytes))));
  }

  /** Where a target goes on; undefined: it is new. "lost": what it had got is not known any more here. */
  find(target: string): number | "lost" | undefined {
    const { log } = this.#options;
    const cursor = this.#cursors.get(target);
    if (cursor === undefined) return undefined;
    try {
      const { after, cut } = resumeAfter(log.reader, parseCursor(HISTORY_LOG_NAME, cursor, "forward"));
      return cut === undefined ? log.history.ticks.firstAfter(after) : "lost";
    } catch {
      return "lost";
    }
  }

  note(target: string, tick: number): void {
    const { reader, history } = this.#options.log;
    const { ticks } = history;
    const sequence = tick < ticks.next && tick >= ticks.begin ? ticks.sequence(tick) - 1 : reader.head.sequence;
    this.#cursors.set(target, cursorOf(reader, Math.min(sequence, reader.head.sequence)));
  }

  /** Targets that are not there any more are forgotten. */
  keepOnly(targets: ReadonlySet<string>): void {
    for (const target of this.#cursors.keys()) if (!targets.has(target)) this.#cursors.delete(target);
  }

  /** Durable when it resolves. @throws what the file system says */
  async save(): Promise<void> {
    const text = this.#text();
    if (text === this.#saved) return;
    const { fileSystem, folder } = this.#options;
    await writeAtomically(fileSystem, folder, FILE, Buffer.from(text));
    this.#saved = text;
  }

  #text(): string {
    return `${JSON.stringify({ cursors: Object.fromEntries(this.#cursors) })}\n`;
  }
}

function cursorsIn(bytes: Buffer | undefined): Readonly<Record<string, string>> {
  try {
    const { cursors } = JSON.parse(bytes?.toString("utf8") ?? "{}") as { cursors?: Record<string, string> };
    return cursors ?? {};
  } catch {
    return {};
  }
}
