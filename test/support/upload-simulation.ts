// Lives of uploads on a fake disk: they are begun, written, committed and given up, while processes and the power end. All
// from one seed.
//
// What is held against them after each start:
// P1. Every offset that was acknowledged is kept, and the bytes up to it are those that were sent.
// P2. A file is one that was committed, whole: the last one whose commit was acknowledged, or one whose commit was not yet.
// P3. A commit that was acknowledged stays known, with its size; so that it can be asked for again.
// P4. An upload that was given up does not come back, once that was acknowledged.
import { createHash } from "node:crypto";
import { ManualClock } from "@sluice/rpc/testing";
import { Changes, type Found, type Places } from "../../packages/server/src/files/change.ts";
import type { FilePath } from "../../packages/server/src/files/file-path.ts";
import { hashHere } from "../../packages/server/src/files/hasher.ts";
import { ParentFolder } from "../../packages/server/src/files/open-inside.ts";
import { placeUpload } from "../../packages/server/src/files/uploads/commit.ts";
import type { Upload } from "../../packages/server/src/files/uploads/upload.ts";
import { Uploads } from "../../packages/server/src/files/uploads/uploads.ts";
import { errorCode } from "../../packages/server/src/store/file-system.ts";
import { NotFound } from "../../packages/server/src/errors.ts";
import { between, seededRandom } from "./crash-random.ts";
import { FakeFileSystem, type Fate, type Operation } from "./fake-file-system.ts";

export interface UploadSimulationOptions {
  readonly seed: number;
  readonly lives: number;
  /** The sync that is taken out of the code, see `siteOf`. */
  readonly ignoredSite?: string | undefined;
  /** Hears of every sync. */
  readonly onSync?: (site: string) => void;
}

const ROOT = { name: "", folder: "/shared", isWritable: true };
const PATHS = ["a", "b", "c"];
/** Several sectors of the fake disk. */
const BYTES_MAX = 4000;

/** Names a sync in the code: what is synced, and the function that asks for it; of those that serve several, for what. */
function siteOf({ kind, site }: Operation, activity: string): string {
  return `${kind} ${site}${["writeAtomically", "confirm", "clearMark"].includes(site) ? `, ${activity}` : ""}`;
}

/** What the client side knows of an upload. */
interface Sent {
  readonly id: string;
  readonly path: string;
  readonly content: Buffer;
  /** Whether it was told that there is such an upload: its name is its own, so it may find one whose start had no answer. */
  isStarted: boolean;
  /** The largest offset that it was told. */
  acknowledged: number;
  /** "asked": the answer did not come. */
  commit: "no" | "asked" | "done";
  abort: "no" | "asked" | "done";
}

/** Lives through `lives` lives; returns what went wrong, in sentences. */
export async function simulateUploads(options: UploadSimulationOptions): Promise<string[]> {
  const simulation = new Simulation(options);
  for (let life = 1; life <= options.lives && simulation.violations.length === 0; life++) {
    await simulation.live(life === options.lives);
  }
  return simulation.violations;
}

class Simulation {
  readonly violations: string[] = [];
  readonly #options: UploadSimulationOptions;
  readonly #random: () => number;
  readonly #disk: FakeFileSystem;
  readonly #clock = new ManualClock();
  readonly #sent = new Map<string, Sent>();
  /** By path: the contents that may be there, the last acknowledged one first. undefined: no file. */
  readonly #allowed = new Map<string, (Buffer | undefined)[]>();
  /** What is being done: a sync is one of the code for each. */
  #activity = "";
  #contents = 0;

  constructor(options: UploadSimulationOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#disk = new FakeFileSystem(this.#random);
    this.#disk.failedSync = "any-part";
  }

  async live(isLast: boolean): Promise<void> {
    this.#disk.plan = () => "done";
    await this.#makeShared();
    this.#disk.plan = this.#plan(isLast ? Number.POSITIVE_INFINITY : between(this.#random, 3, 160));
    try {
      await this.#work(isLast);
    } catch (error) {
      if (!this.#disk.isDead && errorCode(error) !== "EIO") {
        this.violations.push(`failed: ${error instanceof Error ? error.stack : String(error)}`);
      }
    }
    this.#disk.plan = () => "done";
    if (this.#random() < 0.5) this.#disk.kill();
    else this.#disk.cutPower(this.#random() < 0.3 ? "nothing-unsynced" : "any-part-unsynced");
  }

  /** Ends the process after so many operations; some lives see syncs fail. */
  #plan(operations: number): (operation: Operation) => Fate {
    let left = operations;
    const isFaulty = Number.isFinite(operations) && this.#random() < 0.4;
    return (operation) => {
      const isSync = operation.kind === "sync" || operation.kind === "sync-folder";
      if (isSync) {
        const site = siteOf(operation, this.#activity);
        this.#options.onSync?.(site);
        if (site === this.#options.ignoredSite) return "ignored";
      }
      left--;
      if (left <= 0) return this.#random() < 0.5 ? "killed" : "killed-within";
      return isFaulty && isSync && this.#random() < 0.2 ? { code: "EIO" } : "done";
    };
  }

  async #work(isLast: boolean): Promise<void> {
    const fileSystem = this.#disk.fileSystem;
    this.#activity = "at the start";
    const changes = new Changes(fileSystem, this.#places());
    const hasher = { openStream: hashHere };
    const options = { roots: [ROOT], fileSystem, changes, hasher, clock: this.#clock, uploadsMax: 1000 };
    const uploads = await Uploads.open(options);
    this.#checkFiles();
    await this.#checkUploads(uploads);
    for (let step = 0; step < (isLast ? 6 : 60) && this.violations.length === 0; step++) {
      await this.#step(uploads, changes).catch((error: unknown) => {
        // The disk said no: a client tries again, and so do later steps.
        if (errorCode(error) !== "EIO") throw error;
      });
    }
    this.#checkFiles();
    await uploads[Symbol.asyncDispose]();
  }

  /** The shared folder itself is older than any server. */
  async #makeShared(): Promise<void> {
    if (this.#disk.hasFolder(ROOT.folder)) return;
    await this.#disk.fileSystem.makeFolder(ROOT.folder);
    await this.#disk.fileSystem.syncFolder("/");
  }

  async #step(uploads: Uploads, changes: Changes): Promise<void> {
    const open = [...this.#sent.values()].filter(({ abort }) => abort === "no");
    const one = open[between(this.#random, 0, open.length - 1)];
    const chance = this.#random();
    if (one === undefined || chance < 0.15) return this.#start(uploads);
    if (!uploads.has(one.id)) return;
    const { upload } = uploads.find(one.id);
    if (chance < 0.2) return this.#abort(uploads, one);
    if (chance < 0.35 || (one.commit !== "no" && chance < 0.6)) return this.#commit(upload, one, changes);
    if (one.commit === "no") return this.#append(upload, one);
  }

  async #start(uploads: Uploads): Promise<void> {
    this.#activity = "starting";
    const path = PATHS[between(this.#random, 0, PATHS.length - 1)]!;
    const wanted = { path, size: undefined, sha256: "", ifMatch: "", mustBeNew: false, makesFolders: false };
    const number = ++this.#contents;
    const id = String(number).padStart(22, "0");
    const content = contentOf(number, between(this.#random, 1, BYTES_MAX));
    const sent: Sent = { id, path, content, isStarted: false, acknowledged: 0, commit: "no", abort: "no" };
    this.#sent.set(id, sent);
    await uploads.start(ROOT, { ...wanted, ttlMs: 3_600_000 }, id);
    sent.isStarted = true;
  }

  /** Sends a piece, and another one while the first is made to count; now and then one that is damaged, which does not. */
  async #append(upload: Upload, sent: Sent): Promise<void> {
    this.#activity = "writing";
    const isDamaged = this.#random() < 0.2;
    const release = upload.use("the simulation writes");
    try {
      const first = await this.#appendPiece(upload, sent, { from: upload.durableOffset, isDamaged });
      if (isDamaged) return;
      const counting = upload.count();
      const hasMore = this.#random() < 0.5;
      const both = await Promise.allSettled([
        counting,
        hasMore ? this.#appendPiece(upload, sent, { from: first, isDamaged: false }) : undefined,
      ]);
      for (const each of both) if (each.status === "rejected") throw each.reason;
      await upload.count();
    } finally {
      release();
      sent.acknowledged = upload.durableOffset;
    }
  }

  /** Returns where it ends. */
  async #appendPiece(
    upload: Upload,
    { content }: Sent,
    { from, isDamaged }: { readonly from: number; readonly isDamaged: boolean },
  ): Promise<number> {
    const end = Math.min(from + between(this.#random, 1, 1500), content.length);
    const length = isDamaged ? Math.max(1, end - from) : end - from;
    if (length === 0) return from;
    const memory = new SharedArrayBuffer(length);
    if (isDamaged) new Uint8Array(memory).fill(0xee);
    else new Uint8Array(memory).set(content.subarray(from, end));
    await upload.append(memory, length);
    return end;
  }

  async #commit(upload: Upload, sent: Sent, changes: Changes): Promise<void> {
    this.#activity = "committing";
    const content = sent.content.subarray(0, upload.durableOffset);
    if (sent.commit === "no") this.#allow(sent.path, content);
    if (sent.commit !== "done") sent.commit = "asked";
    const release = upload.use("the simulation commits");
    try {
      const path: FilePath = { root: ROOT, parts: [sent.path], text: sent.path };
      const placing = placeUpload(upload, { path, expected: "", changes });
      let step = await placing.next();
      while (step.done !== true) step = await placing.next();
      if (step.value !== undefined && step.value.sha256 !== sha256(content)) {
        this.violations.push(`what was committed of ${sent.path} is not what was sent`);
      }
      // Where it was in its place before, another one may have replaced it.
      this.#acknowledgeCommit(sent, step.value === undefined ? this.#contentAt(sent.path) : content);
    } finally {
      release();
    }
  }

  async #abort(uploads: Uploads, sent: Sent): Promise<void> {
    this.#activity = "giving up";
    // Of one that may be in its place already, only what is remembered of it goes: nothing is promised of that.
    if (sent.commit !== "no") return;
    sent.abort = "asked";
    await uploads.abort(sent.id);
    sent.abort = "done";
  }

  #allow(path: string, content: Buffer): void {
    this.#allowed.set(path, [...(this.#allowed.get(path) ?? [undefined]), content]);
  }

  /** From here on it is this one, or one whose commit is asked for later or has no answer yet. */
  #acknowledgeCommit(sent: Sent, content: Buffer | undefined): void {
    if (sent.commit === "done") return;
    sent.commit = "done";
    const waiting = [...this.#sent.values()].filter(({ path, commit }) => path === sent.path && commit === "asked");
    const unanswered = waiting.map((each) => each.content.subarray(0, each.acknowledged));
    this.#allowed.set(sent.path, [content, ...unanswered]);
  }

  /** P2 */
  #checkFiles(): void {
    for (const [path, allowed] of this.#allowed) {
      const actual = this.#contentAt(path);
      const isAllowed = allowed.some((each) => (each === undefined ? actual === undefined : actual?.equals(each)));
      if (!isAllowed) this.violations.push(`${path} has ${actual?.length ?? "no"} bytes that nobody committed`);
    }
  }

  #contentAt(path: string): Buffer | undefined {
    return this.#disk.names(ROOT.folder).includes(path) ? this.#disk.bytesOf(`${ROOT.folder}/${path}`) : undefined;
  }

  /** P1, P3, P4. What is seen now is acknowledged by that. */
  async #checkUploads(uploads: Uploads): Promise<void> {
    for (const sent of this.#sent.values()) {
      const { id, path, content, abort, commit } = sent;
      if (abort !== "no") {
        if (abort === "done" && uploads.has(id)) this.violations.push(`an upload of ${path} that was given up is back`);
        continue;
      }
      sent.isStarted ||= uploads.has(id);
      if (!sent.isStarted) continue;
      try {
        const { upload } = uploads.find(id);
        const { durableOffset } = upload;
        if (upload.state.phase === "committed") {
          if (commit === "no") this.violations.push(`an upload of ${path} is committed, and nobody asked for it`);
          if (durableOffset !== sent.acknowledged) this.violations.push(`a committed upload of ${path} lost its size`);
          // It may have been replaced since: what is there now is what stays.
          this.#acknowledgeCommit(sent, this.#contentAt(path));
          continue;
        }
        if (commit === "done") this.violations.push(`a committed upload of ${path} is open again`);
        if (durableOffset < sent.acknowledged) {
          this.violations.push(`an upload of ${path} ends at ${durableOffset}, ${sent.acknowledged} were acknowledged`);
        }
        sent.acknowledged = durableOffset;
        if ((await verified(upload)) !== sha256(content.subarray(0, durableOffset))) {
          this.violations.push(`an upload of ${path} has other bytes than were sent`);
        }
      } catch (error) {
        if (this.#disk.isDead || errorCode(error) === "EIO") throw error;
        const what = error instanceof NotFound ? "is gone" : `cannot be read: ${String(error)}`;
        this.violations.push(`upload ${id} of ${path} ${what}`);
      }
    }
  }

  /** The shared folder, on the fake disk. */
  #places(): Places {
    return {
      openParent: () => Promise.resolve(new ParentFolder(ROOT.folder, undefined)),
      find: (place) => Promise.resolve(this.#find(place)),
    };
  }

  #find(place: string): Found | undefined {
    const name = place.slice(ROOT.folder.length + 1);
    if (!this.#disk.names(ROOT.folder).includes(name)) return undefined;
    const size = this.#disk.bytesOf(place).length;
    return { version: { device: 0n, inode: 0n, size, modifiedNs: 0n, changedNs: 0n }, isFolder: false };
  }
}

async function verified(upload: Upload): Promise<string> {
  const verifying = upload.verify();
  let step = await verifying.next();
  while (step.done !== true) step = await verifying.next();
  return step.value;
}

/** Bytes that no other content has, at any place. */
function contentOf(number: number, length: number): Buffer {
  const random = seededRandom(number);
  return Buffer.from(Array.from({ length }, () => between(random, 0, 255)));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
