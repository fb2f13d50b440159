// Paths, in all spellings, at every entrance to the shared folders.
//
// PA1. No answer holds a byte or a name of what is outside, hidden or behind a link; nothing of it is changed.
// PA2. What leads to nothing that may be seen (outside, hidden, a link, not there) has one answer: at each entrance the very
//      same code, text and details.
// PA3. What may be seen is had by every spelling of its path, and is what it is.
import { type FileServiceHandle, openFileService } from "../../../packages/server/src/files/service.ts";
import { DEFAULT_LIMITS } from "../../../packages/server/src/limits.ts";
import { allowAll } from "../../../packages/server/src/security/authorize.ts";
import { nodeFileSystem } from "../../../packages/server/src/store/file-system-node.ts";
import { ManualClock } from "../../../packages/rpc/src/testing/manual-clock.ts";
import { changeBytes, type Grammar } from "../grammar.ts";
import { Random } from "../random.ts";
import type { Input, Target } from "../target.ts";
import { type Answer, CREATORS, type Entrance, READERS, SOURCES } from "./paths-entrances.ts";
import { SECRET, World } from "./paths-world.ts";

/** Parts of a path, each with the slash behind it. */
const parts: Grammar = {
  cut: (bytes) =>
    bytes
      .toString("latin1")
      .split(/(?<=\/)/)
      .map((part) => Buffer.from(part, "latin1")),
  change: changeBytes,
};

/** More uploads than that are not kept: the service is opened anew. */
const UPLOADS_MAX = 500;

/** Leads to nothing at any entrance. */
const NOWHERE = "../nowhere";

class Gate {
  readonly #world: World;
  #service: FileServiceHandle;
  /** PA2: by entrance, the answer to what leads nowhere. */
  readonly #nowhere = new Map<Entrance, string>();

  private constructor(world: World, service: FileServiceHandle) {
    this.#world = world;
    this.#service = service;
  }

  static async open(): Promise<Gate> {
    const world = await World.make();
    const gate = new Gate(world, await openService(world));
    for (const entrance of [...READERS, ...SOURCES, ...CREATORS]) {
      const { kind, said } = await entrance.ask(gate.#service, NOWHERE);
      if (kind !== "denied") throw new Error(`PA2: ${entrance.name} says of what is nowhere: ${kind} ${said}`);
      gate.#nowhere.set(entrance, said);
    }
    return gate;
  }

  get outside(): string {
    return this.#world.outside;
  }

  async run({ bytes, salt }: Input): Promise<void> {
    const random = new Random(salt);
    const path = bytes.toString("utf8");
    for (const entrance of READERS) await this.#read(entrance, path);
    // A recording as it is goes to all of them.
    const isSource = random.oneIn(3);
    const sources = salt === 0 ? SOURCES : isSource ? [random.pick(SOURCES)] : [];
    const creators = salt === 0 ? CREATORS : isSource ? [] : [random.pick(CREATORS)];
    for (const entrance of sources) await this.#change(entrance, path, true);
    for (const entrance of creators) await this.#change(entrance, path, false);
  }

  async close(): Promise<void> {
    await this.#service[Symbol.asyncDispose]();
    await this.#world.remove();
  }

  async #read(entrance: Entrance, path: string): Promise<void> {
    const answer = await this.#ask(entrance, path);
    const meant = entrance.pathOf(path);
    const found = meant === undefined ? undefined : this.#world.find(meant);
    if (meant === "" && entrance.takes !== "folder") return this.#expect(entrance, path, answer, "invalid");
    if (found === undefined) return this.#expect(entrance, path, answer, "denied");
    const isTaken = entrance.takes === "any" || (entrance.takes === "file") === (found.text !== undefined);
    if (!isTaken) return this.#expect(entrance, path, answer, "invalid");
    this.#expect(entrance, path, answer, "ok");
    // PA3
    const isWhole = found.text === undefined || entrance.takes === "any" || answer.said.includes(found.text);
    if (!isWhole) throw new Error(`PA3: ${entrance.name} says of ${JSON.stringify(path)}: ${answer.said}`);
  }

  async #change(entrance: Entrance, path: string, isSource: boolean): Promise<void> {
    const answer = await this.#ask(entrance, path);
    const meant = entrance.pathOf(path);
    const isSeen = meant !== undefined && (meant === "" || this.#world.find(meant) !== undefined);
    // What may not be seen is not there to be moved or deleted; and nothing but a denial is said where something would be made.
    if (!isSeen && (isSource || answer.kind !== "ok")) this.#expect(entrance, path, answer, "denied");
    try {
      // A folder that is moved takes along what is hidden in it.
      if (!isSource || answer.kind !== "ok") await this.#world.check(); // PA1
    } finally {
      if (answer.kind === "ok") await this.#world.rebuild();
    }
    if (this.#service.uploads <= UPLOADS_MAX) return;
    await this.#service[Symbol.asyncDispose]();
    await this.#world.rebuild();
    this.#service = await openService(this.#world);
  }

  /** PA1, PA2 */
  async #ask(entrance: Entrance, path: string): Promise<Answer> {
    const answer = await entrance.ask(this.#service, path);
    if (answer.said.includes(SECRET)) {
      throw new Error(`PA1: ${entrance.name} says of ${JSON.stringify(path)}: ${answer.said}`);
    }
    if (answer.kind === "denied" && answer.said !== this.#nowhere.get(entrance)) {
      throw new Error(`PA2: ${entrance.name} denies ${JSON.stringify(path)} in words of its own: ${answer.said}`);
    }
    return answer;
  }

  #expect(entrance: Entrance, path: string, { kind, said }: Answer, wanted: Answer["kind"]): void {
    if (kind === wanted) return;
    throw new Error(`PA2: ${entrance.name} says of ${JSON.stringify(path)}, not ${wanted} but ${kind}: ${said}`);
  }
}

function openService(world: World): Promise<FileServiceHandle> {
  return openFileService({
    roots: world.roots,
    authorize: allowAll,
    // What is durable is no matter here.
    fileSystem: { ...nodeFileSystem, syncFolder: () => Promise.resolve() },
    clock: new ManualClock(),
    limits: { ...DEFAULT_LIMITS, uploadsMax: 10 * UPLOADS_MAX },
  });
}

const SPELLINGS = [
  "a.txt",
  "dir/b.txt",
  "./dir//deep/./c",
  "dir/deep",
  "photos/sub/q",
  "photos",
  "shown/.profile",
  "shown/.config/x",
  "ünï\u0308 x.txt",
  "100%.txt",
  "a..b",
  "new/folder/file",
  "../outside/key",
  "dir/../../outside/key",
  "link",
  "dirlink/key",
  "inner/b.txt",
  "dir/up/outside/key",
  "photos/link",
  "shown/.link/key",
  ".env",
  ".git/config",
  "dir/.hidden",
  "shown/.sluice-private",
  ".sluice-uploads",
  "/proc/self/cwd",
  "/a.txt",
  "shown/../a.txt",
  "shown/..",
  "photos/new",
  "con.txt",
];

const EXTRAS = [
  "/",
  "//",
  "./",
  "../",
  "..",
  "..;/",
  ".../",
  "..\\",
  "\\",
  "%2e%2e/",
  "%2e%2e%2f",
  "..%2f",
  "..%5c",
  "%252e%252e/",
  "%c0%ae%c0%ae/",
  "%00",
  "%",
  "\0",
  "\n",
  "\u007f",
  "\u2024\u2024/",
  "\uff0e\uff0e/",
  "\u2025/",
  "\uff0f",
  "\u2215",
  "\u2044",
  "\u200b",
  "\u00ad",
  "\ufeff",
  "\u202e",
  "e\u0301",
  "\u2024git/",
  "\u200b.git/",
  ".",
  "~",
  "~root/",
  "$HOME/",
  "*",
  "CON",
  "aux.txt",
  "NUL:",
  "C:/",
  "c:\\",
  "a.txt::$DATA",
  "a.txt ",
  "a.txt.",
  "A.TXT",
  "file:///",
  "//server/share/",
  "/dev/stdin",
  "/dev/zero",
  "proc/self/root/",
  ".sluice-uploads/",
  ".SLUICE-uploads/",
  "link/",
  "dirlink/",
  "dir/up/",
  "outside/",
  "home/",
  "photos/",
  "shown/",
  "key",
  "x".repeat(255),
  "x".repeat(256),
  "a/".repeat(2047),
  "../".repeat(200),
  "é".repeat(128),
];

export const paths: Target = {
  name: "paths",
  about: "paths in all spellings, at every entrance to shared folders beside a secret",
  weight: 0.3,
  async open() {
    const gate = await Gate.open();
    const absolute = `${gate.outside}/key`;
    return {
      grammar: parts,
      corpus: [...SPELLINGS, absolute].map((path) => Buffer.from(path)),
      extras: [...EXTRAS, absolute].map((part) => Buffer.from(part)),
      run: (input) => gate.run(input),
      close: () => gate.close(),
    };
  },
};
