// A log on a fake disk, whose operations fail when the test says so.
import type { Log, LogOptions } from "../../packages/server/src/store/log.ts";
import type { LogEvent } from "../../packages/server/src/store/events.ts";
import type { Fate, Operation } from "./fake-file-system.ts";
import { openDataFolder } from "../../packages/server/src/store/data-folder.ts";
import { openLog } from "../../packages/server/src/store/log.ts";
import { testCodec } from "../../packages/server/src/store/testing/frames.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { range } from "../../packages/server/src/store/testing/reading.ts";
import { append, makeEntry } from "../../packages/server/src/store/testing/writing.ts";
import { seededRandom } from "./crash-random.ts";
import { FakeFileSystem } from "./fake-file-system.ts";

export const FOLDER = "/data/logs/default";
export const FIRST_FRAMES = `${FOLDER}/00000000000000000001.frames`;

export const isFrames = ({ path }: Operation) => path.endsWith(".frames");

export class Place {
  readonly disk = new FakeFileSystem(seededRandom(1));
  readonly clock = new ManualClock();
  readonly events: LogEvent[] = [];
  readonly #options: Partial<LogOptions>;

  constructor(options: Partial<LogOptions> = {}) {
    this.#options = options;
  }

  async open(): Promise<Log> {
    const { fileSystem } = this.disk;
    const lock = () => ({ [Symbol.dispose]: () => undefined });
    const folder = await openDataFolder({ folder: "/data", fileSystem, lock });
    return openLog({
      folder: folder.logFolder("default"),
      name: "default",
      fileSystem,
      clock: this.clock,
      codec: testCodec,
      options: this.#options,
      onEvent: (event) => this.events.push(event),
    });
  }

  /** Lets operations fail from now on. */
  fail(which: (operation: Operation) => boolean, code: "EIO" | "ENOSPC"): void {
    this.disk.plan = (operation): Fate => (which(operation) ? { code } : "done");
  }

  heal(): void {
    this.disk.plan = () => "done";
  }
}

/** Appends entries one by one, each when the one before is durable. */
export async function write(log: Log, first: number, last: number): Promise<void> {
  for (const number of range(first, last)) await append(log.writer, [makeEntry(number)]);
}
