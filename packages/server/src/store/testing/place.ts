// A data folder of its own for each test that asks for one. When the test is over, the whole store is examined.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../contract.ts";
import type { DoctorReport } from "../doctor.ts";
import type { LogEvent } from "../events.ts";
import type { Log, LogOptions, OpenLogRequest } from "../log.ts";
import type { LogPlace } from "./log-place.ts";
import { openDataFolder } from "../data-folder.ts";
import { examineDataFolder } from "../doctor.ts";
import { nodeFileSystem as fileSystem } from "../file-system-node.ts";
import { openLog } from "../log.ts";
import { testCodec } from "./frames.ts";
import { ManualClock } from "@sluice/rpc/testing";

export interface EmbeddedPlace extends LogPlace {
  /** The data folder. */
  readonly folder: string;
  /** Of the log "default". */
  readonly logFolder: string;
  readonly clock: ManualClock;
  /** What happened to logs opened here. */
  readonly events: LogEvent[];
  open(options?: Partial<LogOptions>): Promise<Log>;
  examine(options?: { repair: boolean }): Promise<DoctorReport>;
  /** The test has damaged the files: they are not examined at the end. */
  isDamaged: boolean;
}

/** What a log may be opened with instead of what logs in tests have. */
export type LogSurroundings = Partial<Pick<OpenLogRequest, "fileSystem" | "codec" | "filterMaker">>;

/** @param defaults of the logs opened here */
export async function openEmbeddedPlace(
  defaults: Partial<LogOptions> = {},
  surroundings: LogSurroundings = {},
): Promise<EmbeddedPlace> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-store-"));
  const clock = new ManualClock();
  const events: LogEvent[] = [];
  const logFolder = `${folder}/logs/default`;
  const examine = (options = { repair: false }) =>
    examineDataFolder({ folder, fileSystem, codec: testCodec, clock, ...options });
  const place: EmbeddedPlace = {
    folder,
    logFolder,
    clock,
    events,
    isDamaged: false,
    examine,
    open: (options = {}) =>
      openIn(folder, {
        ...surroundings,
        clock,
        options: { ...defaults, ...options },
        onEvent: (event) => events.push(event),
      }),
    async [Symbol.asyncDispose]() {
      try {
        if (clock.timers > 0) throw new Error(`${clock.timers} timers of a log were left`);
        if (place.isDamaged) return;
        const report = await examine();
        if (!report.isHealthy) throw new Error(`The store is not healthy: ${JSON.stringify(report)}`);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  };
  return place;
}

async function openIn(
  folder: string,
  request: LogSurroundings & { clock: Clock; options: Partial<LogOptions>; onEvent: (event: LogEvent) => void },
): Promise<Log> {
  const owned = await openDataFolder({ folder, fileSystem });
  try {
    const log = await openLog({
      folder: owned.logFolder("default"),
      name: "default",
      fileSystem,
      codec: testCodec,
      ...request,
    });
    return withFolder(log, owned);
  } catch (error) {
    await owned[Symbol.asyncDispose]();
    throw error;
  }
}

/** The log, which gives the folder free when it is closed. */
function withFolder(log: Log, owned: AsyncDisposable): Log {
  return {
    writer: log.writer,
    reader: log.reader,
    dictionary: log.dictionary,
    report: log.report,
    get state() {
      return log.state;
    },
    get oldestSealedAtNs() {
      return log.oldestSealedAtNs;
    },
    get oldestSealed() {
      return log.oldestSealed;
    },
    dropOldest: () => log.dropOldest(),
    seal: () => log.seal(),
    reopen: () => log.reopen(),
    hold: (why) => log.hold(why),
    async [Symbol.asyncDispose]() {
      await log[Symbol.asyncDispose]();
      await owned[Symbol.asyncDispose]();
    },
  };
}
