// Pushes one file, by its name: what is in it, and with `follow` what comes, over rotations and restarts.
//
// Each file behind the name is a producer of its own, with its place (places.ts) and its numbers (line-pusher.ts).
//
// V1. The place of a file is on disk before its first line is sent (P1 of places.ts).
// V2. Lines leave in the order of the file, files in the order in which they had the name.
// V3. A line or a record that could still go on is ended only at a cut that is on disk: another run over the same bytes
//     makes the same entries with the same numbers, though there may be more bytes by then.
import { randomBytes } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { resolve } from "node:path";
import { type Clock, pause, type RejectedLogEntry, type SluiceClient } from "@sluice/client";
import { CommandFailure } from "../output.ts";
import { describeFile } from "./file-names.ts";
import type { FileSource, StartPlace } from "./file-source.ts";
import type { JoinRule } from "./join-rule.ts";
import { LinePusher } from "./line-pusher.ts";
import type { Piece } from "./line-splitter.ts";
import { fingerprintOf, isFileOf, type Place, PlaceFile } from "./places.ts";
import type { PushCounts } from "./push-counts.ts";
import type { LineFormat } from "./read-line.ts";
import { findCopy, findEarlier } from "./rotated-files.ts";
import { tailFile, type TailOptions } from "./tail.ts";
import { untilStopped } from "./until-stopped.ts";

/** What is the same for all that one command pushes. */
export interface PushContext {
  readonly client: SluiceClient;
  readonly clock: Clock;
  /** Stop reading, send what was read, and end. */
  readonly stop: AbortSignal;
  /** How long the rest may take after `stop`, ms. */
  readonly patienceMs: number;
  /** Named by the person who pushes; undefined: the lines, or their file, say it. */
  readonly application: string | undefined;
  readonly log: string | undefined;
  readonly format: LineFormat;
  readonly rule: JoinRule;
  readonly bufferBytesMax: number;
  /** Failed attempts in a row after which it gives up. */
  readonly attemptsMax: number;
  readonly counts: PushCounts;
  onProgress(): void;
  /** So many bytes of a file were pushed by an earlier run. */
  onResumed(bytes: number): void;
  onRejected(source: string, rejected: RejectedLogEntry): void;
  onDisconnected(error: unknown, retryInMs: number): void;
  note(text: string): void;
}

export interface PushFileOptions {
  readonly follow: boolean;
  /** Forget the place: push from the beginning, as if for the first time. */
  readonly fromStart: boolean;
  readonly stateFolder: string;
  /** Where to: another target has places of its own. */
  readonly target: string;
  /** It is one of a set: what had its name before belongs to it, and when nothing has its name any more it is over. */
  readonly isOfSet: boolean;
  readonly tail?: Pick<TailOptions, "pollMs" | "drainMs">;
}

const SAVE_EVERY_MS = 1000;
const MAGICS: readonly (readonly [string, string])[] = [
  ["1f8b", "zcat"],
  ["28b52ffd", "zstdcat"],
  ["fd377a58", "xzcat"],
  ["425a68", "bzcat"],
];

/** One file that is open. */
interface Job {
  readonly source: FileSource;
  readonly pusher: LinePusher;
  place: Place;
}

/** @throws when the file cannot be read, its place not be kept, or the server not be written to. */
export async function pushFile(path: string, options: PushFileOptions, context: PushContext): Promise<void> {
  const places = await PlaceFile.open(options.stateFolder, { target: options.target, path: resolve(path) });
  if (options.fromStart) await places.clear();
  await new FilePush(path, places, options, context).run();
}

/** Whether an earlier run has pushed a file under this name. */
export async function hasPlace(
  path: string,
  options: Pick<PushFileOptions, "stateFolder" | "target">,
): Promise<boolean> {
  const places = await PlaceFile.open(options.stateFolder, { target: options.target, path: resolve(path) });
  return places.places.length > 0;
}

class FilePush {
  readonly #path: string;
  readonly #places: PlaceFile;
  readonly #options: PushFileOptions;
  readonly #context: PushContext;
  /** Open files, by their source. */
  readonly #jobs = new Map<FileSource, Job>();
  /** Whose lines are being pushed. */
  #current: FileSource | undefined;
  /** Places of files that were recognised when they were opened, by key. */
  readonly #recognised = new Map<string, Place>();

  constructor(path: string, places: PlaceFile, options: PushFileOptions, context: PushContext) {
    this.#path = path;
    this.#places = places;
    this.#options = options;
    this.#context = context;
  }

  async run(): Promise<void> {
    const { clock, stop } = this.#context;
    // One of them may have been pushed under its own name, before there was another file of this one.
    const takesAll = async (path: string): Promise<boolean> => !(await hasPlace(path, this.#options));
    const { files, lost } = await findEarlier(this.#path, this.#places.places, {
      takesAll: this.#options.isOfSet ? takesAll : undefined,
    });
    if (lost > 0) {
      const text =
        "an earlier file was removed or compressed: what it got after the last push, if anything, is not in the log";
      this.#context.note(`${this.#path}: ${text}`);
    }
    for (const { source, place } of files) if (place !== undefined) this.#recognised.set(source.key, place);

    const failed = new AbortController();
    const reading = AbortSignal.any([stop, failed.signal]);
    const done = new AbortController();
    const saving = this.#saveRegularly(done.signal).catch((error: unknown) => failed.abort(error));
    try {
      const tail = tailFile(this.#path, {
        ...this.#options.tail,
        follow: this.#options.follow,
        endsWhenGone: this.#options.isOfSet,
        clock,
        signal: reading,
        earlier: files.map(({ source }) => source),
        startOf: (handle, key) => this.#placeOf(handle, key),
      });
      for await (const event of tail) {
        if (event.kind === "piece") await this.#push(event.source, event.piece);
        else if (event.kind === "cut") await this.#cutAgain(event.source);
        else if (event.kind === "quiet") for (const job of this.#jobs.values()) await this.#cut(job);
        else if (event.kind === "closed") await this.#close(event.source, event.reason);
      }
      failed.signal.throwIfAborted();
    } finally {
      done.abort();
      await saving;
      await this.#finish();
    }
  }

  /** Where reading goes on in a file that was met by its name. */
  async #placeOf(handle: FileHandle, key: string): Promise<StartPlace> {
    await this.#refuseCompressed(handle);
    for (const place of this.#places.places.toReversed()) {
      if (!(await isFileOf(place, handle))) continue;
      this.#recognised.set(key, place);
      return place;
    }
    return { offset: 0, part: 0 };
  }

  async #push(source: FileSource, piece: Piece): Promise<void> {
    const { stop } = this.#context;
    if (stop.aborted) return; // there may be no room for it: the next run finds it behind the place
    if (source !== this.#current) await this.#settleOthers(source);
    const job = this.#jobs.get(source) ?? (await this.#start(source));
    const isEnded = piece.end > piece.start + piece.bytes.length || !piece.isLast;
    if (!isEnded) await this.#storeCut(job, piece.end); // V3: it may grow into another line
    // Whoever is stopped while the server has no room for more must not wait for it here.
    await untilStopped(job.pusher.push(piece), stop);
    if (!isEnded) await untilStopped(job.pusher.cut(), stop);
  }

  /** What came of other files is in the log before anything of this one is sent (V2). */
  async #settleOthers(source: FileSource): Promise<void> {
    for (const job of this.#jobs.values()) {
      if (job.source === source) continue;
      await this.#cut(job);
      await untilStopped(job.pusher.flush(), this.#context.stop);
    }
    this.#current = source;
  }

  /** Ends what is open: it is sent as it is. */
  async #cut(job: Job): Promise<void> {
    if (!job.pusher.isOpen) return;
    await this.#storeCut(job, job.pusher.position.offset);
    await untilStopped(job.pusher.cut(), this.#context.stop);
  }

  /** Ends what an earlier run had ended here. */
  async #cutAgain(source: FileSource): Promise<void> {
    await untilStopped(this.#jobs.get(source)?.pusher.cut() ?? Promise.resolve(), this.#context.stop);
  }

  /** All cuts behind the place that is stored are kept, also those of entries that were answered since. */
  async #storeCut(job: Job, cut: number): Promise<void> {
    const others = (job.place.cuts ?? []).filter((each) => each !== cut);
    job.place = { ...job.place, cuts: [...others, cut].toSorted((a, b) => a - b) };
    await this.#places.store(job.place);
  }

  async #start(source: FileSource): Promise<Job> {
    const { application, client, clock, counts, format, log, rule, bufferBytesMax, attemptsMax } = this.#context;
    const place = this.#firstPlace(source);
    await this.#places.store(place); // V1
    this.#context.onResumed(place.offset);
    const { modifiedMs } = await source.facts();
    const file = await describeFile(this.#path);
    const job: Job = {
      source,
      place,
      pusher: new LinePusher({
        client,
        counts,
        rule,
        lines: {
          application: application ?? file.application,
          isFixed: application !== undefined,
          nowMs: this.#options.follow ? Number(clock.nowNs() / 1_000_000n) : modifiedMs,
          format,
          fields: file.fields,
        },
        start: place,
        writer: {
          producer: place.producer,
          bufferBytesMax,
          retry: { attemptsMax },
          ...(log === undefined ? {} : { log }),
        },
        onRejected: (rejected) => this.#context.onRejected(this.#path, rejected),
        onDisconnected: (error, retryInMs) => this.#context.onDisconnected(error, retryInMs),
        onProgress: () => this.#context.onProgress(),
      }),
    };
    this.#jobs.set(source, job);
    return job;
  }

  /** Where an earlier run came to, or the beginning; under the number that comes next there. */
  #firstPlace(source: FileSource): Place {
    const known = this.#recognised.get(source.key);
    this.#recognised.delete(source.key);
    const way = wayOf(this.#context);
    const fresh = { nextSequence: 1, producer: randomBytes(16).toString("hex") };
    if (known === undefined) {
      const head = fingerprintOf(source.head, 0);
      return { ...fresh, offset: 0, part: 0, way, key: source.key, head, isDone: false };
    }
    if (known.way === way) return { ...known, key: source.key, isDone: false };
    // The same lines would get other numbers: what was sent and not remembered would hide others.
    return { ...known, ...fresh, way, key: source.key, isDone: false };
  }

  async #refuseCompressed(handle: FileHandle): Promise<void> {
    const buffer = Buffer.alloc(4);
    await handle.read(buffer, 0, buffer.length, 0);
    const start = buffer.toString("hex");
    const [, tool] = MAGICS.find(([magic]) => start.startsWith(magic)) ?? [];
    if (tool === undefined) return;
    throw new CommandFailure(`Cannot push ${this.#path}: it is compressed`, {
      hint: `Unpack it on the way: ${tool} ${this.#path} | sluice logs push --application NAME`,
    });
  }

  /** Nothing more comes from this file, or from a copy of it. */
  async #close(source: FileSource, reason: "end" | "rotated" | "truncated"): Promise<void> {
    const { stop } = this.#context;
    const job = this.#jobs.get(source);
    if (job === undefined) return;
    if (reason === "truncated") await this.#pushCopy(job);
    await this.#cut(job);
    await untilStopped(job.pusher.close(), stop);
    if (stop.aborted) return; // `#finish` waits for it, and not for ever
    await this.#save(job, reason !== "end");
    this.#jobs.delete(source);
  }

  /**
   * Log rotation copied the file and truncated it. What had not been read then is in the copy, if there is one: it comes
   * before what is in the file now. Without a copy, an unfinished line is all that there will ever be of it.
   */
  async #pushCopy(job: Job): Promise<void> {
    const { stop } = this.#context;
    await untilStopped(job.pusher.flush(), stop);
    if (stop.aborted) return;
    await this.#save(job);
    const copy = await findCopy(this.#path, job.place, job.pusher.position);
    const rest = job.source.takeRest();
    if (copy === undefined) {
      if (rest !== undefined) await this.#push(job.source, rest);
      return;
    }
    try {
      // What was open goes on in the copy.
      for (let result = await copy.read(); result.kind === "pieces" && !stop.aborted; result = await copy.read()) {
        for (const piece of result.pieces) await this.#push(job.source, piece);
      }
      const last = stop.aborted ? undefined : copy.takeRest();
      if (last !== undefined) await this.#push(job.source, last);
    } finally {
      await copy.close();
    }
  }

  /** Sends the rest, and keeps what was reached even when that fails. */
  async #finish(): Promise<void> {
    const { clock, patienceMs } = this.#context;
    const patience = new AbortController();
    const text = `${patienceMs} ms were not enough to send the rest`;
    const timer = clock.setTimer(() => patience.abort(new Error(text)), patienceMs);
    const jobs = Array.from(this.#jobs.values());
    const results = await Promise.allSettled(jobs.map(({ pusher }) => pusher.close(patience.signal)));
    timer.cancel();
    for (const job of jobs) await this.#save(job);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #saveRegularly(done: AbortSignal): Promise<void> {
    for (;;) {
      await pause(this.#context.clock, SAVE_EVERY_MS, done);
      if (done.aborted) return;
      for (const job of this.#jobs.values()) await this.#save(job);
    }
  }

  /** Stores how far the server has answered. */
  async #save(job: Job, isDone = false): Promise<void> {
    const { tail, offset, part, nextSequence } = job.pusher.acknowledged;
    const { head } = job.source;
    if (offset === job.place.offset && part === job.place.part && !isDone) return;
    const { cuts, ...place } = job.place;
    const open = cuts?.filter((cut) => cut > offset) ?? [];
    job.place = {
      ...place,
      ...(open.length === 0 ? {} : { cuts: open }),
      offset,
      part,
      nextSequence,
      isDone,
      ...(head.length > job.place.head.length ? { head: fingerprintOf(head, 0) } : {}),
      ...(tail === undefined ? {} : { tail }),
    };
    await this.#places.store(job.place);
  }
}

/** See Place.way. The number counts changes of what is in join-rule.ts and record-joiner.ts. */
function wayOf({ format, rule }: PushContext): string {
  return `1 ${format} ${rule.kind === "start" ? String(rule.pattern) : rule.kind}`;
}
