// Shared folders with a secret beside them, among their hidden files and behind their links; and what a path leads to there,
// said plainly: a list of what may be seen.
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { FileRoot } from "../../../packages/server/src/files/file-path.ts";

/** In no answer, whatever is asked. No input has it. */
export const SECRET = "SECRET-7f3a";

/** What may be seen, by path: the contents of a file; undefined: a folder. */
const SEEN: Readonly<Record<string, string | undefined>> = {
  "": undefined,
  "a.txt": "contents of a",
  dir: undefined,
  "dir/b.txt": "contents of b",
  "dir/deep": undefined,
  "dir/deep/c": "contents of c",
  "ünï\u0308 x.txt": "contents of an odd name",
  "100%.txt": "contents of a name with a percent sign",
  "con.txt": "contents of a name that some systems have for a device",
  "a..b": "contents of dots",
  photos: undefined,
  "photos/p.jpg": "contents of a picture",
  "photos/sub": undefined,
  "photos/sub/q": "contents of another",
  shown: undefined,
  "shown/.profile": "contents of a profile",
  "shown/.config": undefined,
  "shown/.config/x": "contents of a setting",
};

/** Links to what is outside, and to what is inside; by path, with where they lead from the folder above all. */
const LINKS: Readonly<Record<string, string>> = {
  "home/link": "outside/key",
  "home/dirlink": "outside",
  "home/inner": "home/dir",
  "home/dir/up": ".",
  "photos/link": "outside/key",
  "shown/.link": "outside",
  [`home/dir/${SECRET}-link`]: "home/a.txt",
  [`photos/${SECRET}-link`]: "outside",
};

/** Hidden, the server's own, or outside. */
const SECRETS = [
  "home/.env",
  "home/.git/config",
  "home/dir/.hidden",
  "photos/.hidden",
  "shown/.sluice-private",
  "outside/key",
  `outside/${SECRET}-name`,
  `home/.git/${SECRET}-name`,
];

const PATH_BYTES_MAX = 4096;
const FOLDERS: Readonly<Record<string, string>> = { photos: "photos", shown: "shown" };

export class World {
  readonly #folder: string;

  readonly #onExit = (): void => {
    rmSync(this.#folder, { recursive: true, force: true });
  };

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Gone when it is removed, or the process ends. */
  static async make(): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), "sluice-fuzz-paths-")));
    process.once("exit", world.#onExit);
    await world.rebuild();
    return world;
  }

  async remove(): Promise<void> {
    process.off("exit", this.#onExit);
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The folder outside of all that is shared. */
  get outside(): string {
    return join(this.#folder, "outside");
  }

  get roots(): FileRoot[] {
    return [
      { name: "", folder: join(this.#folder, "home"), isWritable: true },
      { name: "photos", folder: join(this.#folder, "photos"), isWritable: false },
      { name: "shown", folder: join(this.#folder, "shown"), isWritable: true, showsHidden: true },
    ];
  }

  /** What a path leads to; undefined: nothing that may be seen. */
  find(path: string): { readonly path: string; readonly text: string | undefined } | undefined {
    if (path.startsWith("/") || Buffer.byteLength(path) > PATH_BYTES_MAX) return undefined;
    const plain = path
      .split("/")
      .filter((part) => part !== "" && part !== ".")
      .join("/");
    return Object.hasOwn(SEEN, plain) ? { path: plain, text: SEEN[plain] } : undefined;
  }

  isSeen(path: string): boolean {
    return Object.hasOwn(SEEN, path);
  }

  /** Everything as it was in the beginning. */
  async rebuild(): Promise<void> {
    for (const name of ["home", "photos", "shown", "outside"]) {
      await rm(join(this.#folder, name), { recursive: true, force: true });
      await mkdir(join(this.#folder, name));
    }
    for (const [path, text] of Object.entries(SEEN)) if (text !== undefined) await this.#put(placeOf(path), text);
    for (const path of SECRETS) await this.#put(path, SECRET);
    for (const [path, to] of Object.entries(LINKS)) await symlink(join(this.#folder, to), join(this.#folder, path));
  }

  /** Throws when a secret was touched, or something was made where nothing may be. */
  async check(): Promise<void> {
    for (const path of SECRETS) {
      const text = await readFile(join(this.#folder, path), "utf8").catch(() => "nothing");
      if (text !== SECRET) throw new Error(`W: ${path} holds ${text}`);
    }
    const allowed = new Set([...SECRETS, ...Object.keys(LINKS)]);
    for await (const { path, isLink } of this.#walk("")) {
      if (allowed.has(path)) continue;
      const isOutside = /^(?:outside|photos)\//u.test(path) || !path.includes("/");
      const isHidden = path.startsWith("home/") && /\/\./u.test(path);
      if (isLink || isHidden || (isOutside && !this.isSeen(path))) throw new Error(`W: there is ${path}`);
    }
  }

  /** All but folders, through no link, without what the server keeps for itself. */
  async *#walk(folder: string): AsyncGenerator<{ readonly path: string; readonly isLink: boolean }> {
    for (const entry of await readdir(join(this.#folder, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (!entry.isDirectory()) yield { path, isLink: entry.isSymbolicLink() };
      else if (entry.name !== ".sluice-uploads") yield* this.#walk(path);
    }
  }

  async #put(path: string, text: string): Promise<void> {
    const place = join(this.#folder, path);
    await mkdir(dirname(place), { recursive: true });
    await writeFile(place, text);
  }
}

/** From a path as clients have it to one below the folder above all. */
function placeOf(path: string): string {
  const [first = ""] = path.split("/");
  return Object.hasOwn(FOLDERS, first) ? path : `home/${path}`;
}
