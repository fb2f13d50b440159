// How far a log was forwarded to one collector: a file of its own, so that a later run goes on there.
//
// F1. The cursor is on disk before the next batch is sent: after a crash at most the batch that was under way is sent again.
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CommandFailure } from "../output.ts";

const FORMAT = 1;

interface Content {
  readonly format: number;
  /** What is forwarded where, for people who look into the file. */
  readonly forwards: string;
  readonly cursor: string;
}

export class CursorFile {
  readonly #path: string;
  readonly #forwards: string;

  /**
   * @param folder of all cursors
   * @param forwards from where, what, and to where: another way has another file
   */
  constructor(folder: string, forwards: string) {
    const name = createHash("sha256").update(forwards).digest("hex").slice(0, 32);
    this.#path = join(folder, `${name}.json`);
    this.#forwards = forwards;
  }

  /** Empty: nothing was forwarded yet. @throws CommandFailure when the file says something else */
  async read(): Promise<string> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
      throw error;
    }
    const { cursor } = parse(text) ?? {};
    if (cursor !== undefined) return cursor;
    throw new CommandFailure(`Cannot go on: ${this.#path} is not what sluice logs forward writes`, {
      hint: "Remove the file, or give --from-start, to forward from the beginning of the log.",
    });
  }

  /** Replaces the cursor; durable when it resolves (F1). */
  async write(cursor: string): Promise<void> {
    const folder = dirname(this.#path);
    await mkdir(folder, { recursive: true });
    const part = `${this.#path}.part`;
    const content: Content = { format: FORMAT, forwards: this.#forwards, cursor };
    const file = await open(part, "w");
    try {
      await file.writeFile(`${JSON.stringify(content)}\n`);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(part, this.#path);
    await syncFolder(folder);
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function parse(text: string): { cursor: string } | undefined {
  try {
    const { format, cursor } = JSON.parse(text) as Partial<Content>;
    return format === FORMAT && typeof cursor === "string" ? { cursor } : undefined;
  } catch {
    return undefined;
  }
}

/** Windows can neither open nor sync a folder: there the file system journals names by itself. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
