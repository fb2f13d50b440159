// A file that is not all there yet: "NAME.part" beside where it will be, and "NAME.part.json", which says what it is.
//
// PF1. NAME itself is the old file or the whole new one, at every moment: it is renamed into place, after a sync.
// PF2. What is noted as there was written before. After a loss of power the note may be ahead of the disk: the checksum
//      at the end tells.
import { type FileHandle, mkdir, open, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** A part of a file that is read by one stream, in bytes: `next` is the first one that is missing. */
export interface Span {
  next: number;
  readonly end: number;
}

interface Note {
  readonly etag: string;
  readonly size: number;
  readonly spans: readonly Span[];
}

/** Spans begin where a server's blocks begin. */
const ALIGNMENT = 1024 * 1024;

export class PartialFile implements AsyncDisposable {
  readonly spans: Span[];
  readonly #target: string;
  readonly #note: Omit<Note, "spans">;
  readonly #handle: FileHandle;

  private constructor(target: string, handle: FileHandle, { spans, ...note }: Note) {
    this.#target = target;
    this.#handle = handle;
    this.#note = note;
    this.spans = spans.map((span) => ({ ...span }));
  }

  /** Goes on with what is there of this version, when that is wanted; else begins anew. */
  static async open(
    target: string,
    version: { readonly etag: string; readonly size: number },
    options: { readonly isResuming: boolean; readonly parallel: number },
  ): Promise<PartialFile> {
    await mkdir(dirname(target), { recursive: true });
    const found = options.isResuming ? await readNote(target) : undefined;
    const isOurs = found !== undefined && found.etag === version.etag && found.size === version.size;
    if (isOurs) return new PartialFile(target, await open(partOf(target), "r+"), found);
    const handle = await open(partOf(target), "w+");
    const file = new PartialFile(target, handle, { ...version, spans: divide(version.size, options.parallel) });
    await file.note();
    return file;
  }

  /** Bytes that are missing. */
  get missing(): number {
    return this.spans.reduce((sum, { next, end }) => sum + end - next, 0);
  }

  /** Writes what comes next in a span. */
  async write(span: Span, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, span.next + done);
      done += bytesWritten;
    }
    span.next += bytes.length;
  }

  /** Writes down what is there, for a later run. PF2 */
  async note(): Promise<void> {
    const note: Note = { ...this.#note, spans: this.spans };
    await writeFile(`${noteOf(this.#target)}.new`, JSON.stringify(note));
    await rename(`${noteOf(this.#target)}.new`, noteOf(this.#target));
  }

  /** What was written so far, from the beginning. */
  read(): AsyncIterable<Uint8Array> {
    return this.#handle.createReadStream({ start: 0, autoClose: false });
  }

  /** PF1. @param modifiedMs Unix ms */
  async complete(modifiedMs: number): Promise<void> {
    await this.#handle.sync();
    await this.#handle.close();
    await rename(partOf(this.#target), this.#target);
    await utimes(this.#target, modifiedMs / 1000, modifiedMs / 1000);
    await rm(noteOf(this.#target), { force: true });
    const folder = await open(dirname(this.#target), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Throws away what is there. */
  async discard(): Promise<void> {
    await this.#handle.close();
    await rm(partOf(this.#target), { force: true });
    await rm(noteOf(this.#target), { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

function partOf(target: string): string {
  return `${target}.part`;
}

function noteOf(target: string): string {
  return `${target}.part.json`;
}

function divide(size: number, parallel: number): Span[] {
  const each = Math.ceil(size / parallel / ALIGNMENT) * ALIGNMENT;
  const spans: Span[] = [];
  for (let start = 0; start < size; start += each) spans.push({ next: start, end: Math.min(start + each, size) });
  return spans;
}

/** undefined: there is none that could be gone on with. */
async function readNote(target: string): Promise<Note | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(noteOf(target), "utf8"));
  } catch {
    return undefined;
  }
  return isNote(value) && (await isThere(partOf(target))) ? value : undefined;
}

async function isThere(path: string): Promise<boolean> {
  try {
    await (await open(path, "r+")).close();
    return true;
  } catch {
    return false;
  }
}

function isNote(value: unknown): value is Note {
  if (typeof value !== "object" || value === null) return false;
  const { etag, size, spans } = value as Partial<Record<keyof Note, unknown>>;
  const isCount = (each: unknown): each is number => Number.isSafeInteger(each) && (each as number) >= 0;
  return (
    typeof etag === "string" &&
    isCount(size) &&
    Array.isArray(spans) &&
    spans.every((span: Partial<Span>) => isCount(span.next) && isCount(span.end) && span.next <= span.end)
  );
}
