// A fake disk on which queues live, and how such a life ends.
import { dirname } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import type { JournalOwner } from "../../packages/server/src/queues/contract.ts";
import { openQueueJournal, type QueueJournal } from "../../packages/server/src/queues/journal/queue-journal.ts";
import { siteOf } from "./crash-simulation.ts";
import { seededRandom } from "./crash-random.ts";
import { FakeFileSystem, type Fate } from "./fake-file-system.ts";

/** How a life ends. */
export interface Death {
  /** The operation of the disk that is its last; beyond the end of the story: it ends well. */
  readonly at: number;
  readonly isWithin: boolean;
  readonly how: "killed" | "nothing-unsynced" | "any-part-unsynced";
  /** The sync that is taken out of the code. */
  readonly ignoredSite?: string;
  /** Fails this operation, once. */
  readonly fault?: { readonly at: number; readonly code: "EIO" | "ENOSPC" };
}

export interface Outcome {
  /** What is wrong, in sentences. */
  readonly violations: readonly string[];
  /** How many operations of the disk there were in the life that was to be ended. */
  readonly operations: number;
  readonly sites: ReadonlySet<string>;
}

/** Segments of a few records. */
export const SMALL = {
  segmentBytes: 2048,
  groupBytesMax: 700,
  recordBytesMax: 4096,
  tailBytes: 0,
  historyBytesMax: 32 * 1024,
  openFilesMax: 2,
  cleanBytesPerSecond: Number.POSITIVE_INFINITY,
};

export class Disk {
  readonly fake: FakeFileSystem;
  readonly clock = new ManualClock();
  readonly sites = new Set<string>();
  operations = 0;
  readonly #death: Death;

  constructor(death: Death) {
    this.#death = death;
    this.fake = new FakeFileSystem(seededRandom(death.at * 7 + 1));
  }

  /** Folders that are there from before, durably: the outer one first. */
  async makeFolders(...paths: readonly string[]): Promise<void> {
    const { fileSystem } = this.fake;
    for (const path of paths) {
      await fileSystem.makeFolder(path);
      await fileSystem.syncFolder(dirname(path));
    }
  }

  /** From now on operations are counted, and one of them is the last. */
  arm(): void {
    const { at, isWithin, ignoredSite, fault } = this.#death;
    this.fake.plan = (operation): Fate => {
      this.operations++;
      if (operation.kind === "sync" || operation.kind === "sync-folder") {
        const site = siteOf(operation);
        this.sites.add(site);
        if (site === ignoredSite) return "ignored";
      }
      if (this.operations === at) return isWithin ? "killed-within" : "killed";
      const isFaulty = operation.kind !== "read" && operation.kind !== "list" && operation.kind !== "open";
      return this.operations === fault?.at && isFaulty ? { code: fault.code } : "done";
    };
  }

  /** The end of the life; the next one has a disk without faults. */
  end(): void {
    const { how } = this.#death;
    if (how === "killed") this.fake.kill();
    else this.fake.cutPower(how);
    this.clock.forgetTimers();
    this.fake.plan = () => "done";
  }
}

/** The journal of the one queue. */
export function openSmall({ fake, clock }: Disk, owner: JournalOwner): Promise<QueueJournal> {
  const { fileSystem } = fake;
  return openQueueJournal({ folder: "/data/queues/tax", name: "tax", fileSystem, clock, owner, options: SMALL });
}
