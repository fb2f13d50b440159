// Hears from the operating system that something may have changed in a folder (inotify, by way of Node's fs.watch). A hint
// and no more: what has changed is found by looking.
//
// WF1. So many folders and no more. Where the system or the bound refuses, nobody hears anything: whoever asked looks by
//      itself from time to time.
// WF2. The system drops hints when too many wait, and says so to nobody. When more came in one turn than can be trusted,
//      everybody is told that hints may be missing.
import { watch } from "node:fs";

/** Hints of one turn of the event loop. Linux keeps 16,384 at most (/proc/sys/fs/inotify/max_queued_events). */
const TRUSTED_HINTS = 4096;

/** How a folder is watched. Tests have their own. */
export interface FolderWatching {
  /**
   * @param place a path of the folder, needed only until this returns
   * @param onHint `name`: of what may have changed in it; undefined: anything
   * @param onLost the watch has ended by itself
   * @returns undefined: this folder cannot be watched now
   */
  watch(place: string, onHint: (name: string | undefined) => void, onLost: () => void): Disposable | undefined;
  /** Calls back when hints may be missing. Returns what ends that. */
  onMissing(listener: () => void): () => void;
}

export class FolderWatches implements FolderWatching {
  readonly #max: number;
  readonly #listeners = new Set<() => void>();
  #count = 0;
  #hints = 0;

  constructor(max: number) {
    this.#max = max;
  }

  watch(place: string, onHint: (name: string | undefined) => void, onLost: () => void): Disposable | undefined {
    if (this.#count >= this.#max) return undefined;
    try {
      const watcher = watch(place, { persistent: false }, (_event, name) => {
        this.#count1();
        onHint(name ?? undefined);
      });
      this.#count++;
      let isOpen = true;
      const close = (): void => {
        if (!isOpen) return;
        isOpen = false;
        this.#count--;
        watcher.close();
      };
      watcher.on("error", () => {
        close();
        onLost();
      });
      return { [Symbol.dispose]: close };
    } catch {
      return undefined; // WF1: ENOSPC and EMFILE are the system's own bounds
    }
  }

  onMissing(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** WF2 */
  #count1(): void {
    if (this.#hints++ > 0) return;
    setImmediate(() => {
      const isFlood = this.#hints >= TRUSTED_HINTS;
      this.#hints = 0;
      if (isFlood) for (const listener of this.#listeners) listener();
    });
  }
}
