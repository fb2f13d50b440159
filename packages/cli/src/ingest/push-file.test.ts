// A file that grows between runs, each of which may end at any point with any of its answers lost: the log has every byte of
// it, once and in order. The server is a model that does with producers' sequences what the real one does.
import { readdirSync, readFileSync } from "node:fs";
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LogWriterOptions, type NewLogEntry, type SluiceClient, systemClock } from "@sluice/client";
import fc from "fast-check";
import { expect, inject, onTestFinished, test, vi } from "vitest";
import type { JoinRule } from "./join-rule.ts";
import { LINE_BYTES_MAX } from "./line-splitter.ts";
import { noCounts } from "./push-counts.ts";
import { pushFile } from "./push-file.ts";

/** Each run brings its place to disk, many times over. */
vi.setConfig({ testTimeout: 120_000 });

/** What the log has of each producer, and what it has in all, in order. */
class ModelLog {
  readonly messages: string[] = [];
  readonly #lengths = new Map<string, number>();

  /** @throws when a sequence is passed over: an entry would be missing. */
  write(producer: string, sequence: number, message: string): void {
    const length = this.#lengths.get(producer) ?? 0;
    if (sequence <= length) return; // sent again
    if (sequence > length + 1 && length > 0) throw new Error(`${sequence} follows ${length}`);
    this.#lengths.set(producer, sequence);
    this.messages.push(message);
  }
}

/**
 * How a run ends: so many of its entries arrive, and so many of those are answered; then it is killed, and what it would
 * have remembered from there on is not. Infinity: it goes well.
 */
interface Fate {
  readonly arrive: number;
  readonly answered: number;
}
const well: Fate = { arrive: Number.POSITIVE_INFINITY, answered: Number.POSITIVE_INFINITY };

interface RunOptions {
  readonly log: ModelLog;
  readonly path: string;
  readonly fate: Fate;
  readonly rule: JoinRule;
  readonly follow?: boolean;
  readonly stop?: AbortSignal;
  /** So many entries the writer takes; with the last of them it waits for room that never comes, and refuses others. */
  readonly room?: number;
  readonly onFull?: () => void;
}

async function run(options: RunOptions): Promise<void> {
  const { log, path, fate, rule, follow = false, stop, room = Number.POSITIVE_INFINITY, onFull } = options;
  const killed = new AbortController();
  let written = 0;
  /** What is on disk when it is killed. */
  let remembered: ReadonlyMap<string, Buffer> | undefined;
  const kill = (): void => {
    remembered ??= placesOf(path);
    killed.abort();
  };
  const client = {
    openLogWriter({ producer = "", firstSequence = 1, onAcknowledged }: LogWriterOptions) {
      let next = firstSequence;
      const answer = (): void => {
        const through = next - 1 - Math.max(0, written - fate.answered);
        if (through >= firstSequence) onAcknowledged?.(through, { duplicates: 0, cursor: "c" });
      };
      const end = async (): Promise<void> => {
        answer();
        if (written >= fate.arrive) throw new Error("killed");
      };
      return {
        get nextSequence() {
          return next;
        },
        write(entry: NewLogEntry): Promise<void> {
          if (written >= room) return Promise.reject(new Error("no room"));
          written++;
          if (written <= fate.arrive) log.write(producer, next, entry.message ?? "");
          else kill();
          next++;
          if (written < room) return Promise.resolve().then(answer);
          onFull?.();
          return new Promise(() => {});
        },
        flush: end,
        close: end,
      };
    },
  } as unknown as SluiceClient;
  const pushed = pushFile(
    path,
    {
      follow,
      fromStart: false,
      stateFolder: `${path}.places`,
      target: "t",
      isOfSet: false,
      tail: { pollMs: 1, drainMs: 0 },
    },
    {
      client,
      clock: systemClock,
      stop: stop === undefined ? killed.signal : AbortSignal.any([killed.signal, stop]),
      patienceMs: 1000,
      application: "a",
      log: undefined,
      format: "auto",
      rule,
      bufferBytesMax: 1_000_000,
      attemptsMax: 1,
      counts: noCounts(),
      onProgress: () => undefined,
      onResumed: () => undefined,
      onRejected: () => undefined,
      onDisconnected: () => undefined,
      note: () => undefined,
    },
  );
  await pushed.catch((error: unknown) => {
    if (!(error instanceof Error) || error.message !== "killed") throw error;
  });
  if (fate.arrive === Number.POSITIVE_INFINITY) return;
  kill(); // at the latest when all of it has arrived
  for (const [name, bytes] of remembered ?? []) await writeFile(name, bytes);
}

function placesOf(path: string): ReadonlyMap<string, Buffer> {
  const folder = `${path}.places`;
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return new Map(names.map((name) => [join(folder, name), readFileSync(join(folder, name))]));
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-push-file-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** Not only whole lines: what is appended may end anywhere. Each "@" becomes another word. */
const anyAppend = fc
  .array(
    fc.constantFrom("@\n", "  @\n", "\n", "\t@", "@", "@ @", "\n", "  ", "Caused by: @\n", "2026-11-21 08:43:01 @\n"),
    {
      maxLength: 12,
    },
  )
  .map((parts) => parts.join(""));
const wordsOf = (text: string): string[] => text.match(/w\d+;/gu) ?? [];
const anyFate = fc
  .tuple(fc.nat(6), fc.nat(6))
  .map(([arrive, lost]): Fate => ({ arrive, answered: Math.max(0, arrive - lost) }));
const anyRule = fc.constantFrom<JoinRule>({ kind: "traces" }, { kind: "time" }, { kind: "none" });

/** Two streams of a container, in any mixture: pieces of lines, lines, lines that go on with others. */
const anyContainerAppend = fc
  .array(
    fc
      .tuple(
        fc.constantFrom("stdout", "stderr"),
        fc.constantFrom("P", "F", "F"),
        fc.constantFrom("@", "  @", '{"msg":"@"}', ""),
      )
      .map(([stream, tag, text]) => `2026-11-21T08:43:01Z ${stream} ${tag} ${text}\n`),
    { maxLength: 12 },
  )
  .map((lines) => lines.join(""));
const inOrder = (words: string[]): string[] => words;
const sorted = (words: string[]): string[] => words.toSorted((a, b) => Number(a.slice(1, -1)) - Number(b.slice(1, -1)));

test.each([
  { what: "lines", append: anyAppend, arranged: inOrder },
  // Of two streams each is in order by itself.
  { what: "a container's streams", append: anyContainerAppend, arranged: sorted },
])(
  "however a file of $what grows, and wherever runs over it end, the log has all of it once",
  async ({ append, arranged }) => {
    const folder = await makeFolder();
    let files = 0;
    let words = 0;
    const withWords = (text: string): string => text.replace(/@/gu, () => `w${words++};`);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(append, fc.option(anyFate, { nil: well })), { minLength: 1, maxLength: 6 }),
        anyRule,
        async (steps, rule) => {
          const path = join(folder, `${files++}.log`);
          const log = new ModelLog();
          await writeFile(path, "");
          for (const [text, fate] of steps) {
            await appendFile(path, withWords(text));
            await run({ log, path, fate, rule });
          }
          await run({ log, path, fate: well, rule });
          expect(arranged(wordsOf(log.messages.join("\n")))).toEqual(wordsOf(await readFile(path, "utf8")));
        },
      ),
      { numRuns: Math.ceil(40 * inject("propertyScale")) },
    );
  },
);

test("what was ended because nothing more came stays ended, though more came before the next run", async () => {
  const path = join(await makeFolder(), "a.log");
  const log = new ModelLog();
  await writeFile(path, "one\n  two\n");
  const stop = new AbortController();
  const first = run({
    log,
    path,
    fate: { arrive: 9, answered: 0 },
    rule: { kind: "traces" },
    follow: true,
    stop: stop.signal,
  });
  await expect.poll(() => log.messages).toEqual(["one\n  two"]);
  stop.abort();
  await first;
  await appendFile(path, "  three\nfour\n");
  await run({ log, path, fate: well, rule: { kind: "traces" } });
  expect(log.messages).toEqual(["one\n  two", "  three", "four"]);
});

test("the end of a file is such an end too: half a line stays one, and the rest of it is another", async () => {
  const path = join(await makeFolder(), "a.log");
  const log = new ModelLog();
  await writeFile(path, "one\nhal");
  await run({ log, path, fate: { arrive: 2, answered: 0 }, rule: { kind: "none" } });
  expect(log.messages).toEqual(["one", "hal"]);
  await appendFile(path, "f\ntwo\n");
  await run({ log, path, fate: well, rule: { kind: "none" } });
  expect(log.messages).toEqual(["one", "hal", "f", "two"]);
});

test("another rule than the last run's begins another producer, and loses nothing", async () => {
  const path = join(await makeFolder(), "a.log");
  const log = new ModelLog();
  await writeFile(path, "one\n  two\nthree\n");
  await run({ log, path, fate: { arrive: 2, answered: 1 }, rule: { kind: "traces" } });
  await run({ log, path, fate: well, rule: { kind: "none" } });
  expect(log.messages).toEqual(["one\n  two", "three", "three"]);
});

test("a place does not remember cuts that lie behind it", async () => {
  const folder = await makeFolder();
  const path = join(folder, "a.log");
  const log = new ModelLog();
  for (const text of ["one\n", "two\n", "three"]) {
    await appendFile(path, text);
    await run({ log, path, fate: well, rule: { kind: "traces" } });
  }
  const [name = ""] = await readdir(`${path}.places`);
  const { places } = JSON.parse(await readFile(join(`${path}.places`, name), "utf8")) as { places: object[] };
  expect(places).toEqual([expect.objectContaining({ offset: 13, nextSequence: 4 })]);
  expect(places[0]).not.toHaveProperty("cuts");
});

test("ends that several runs made, and of which none was heard, are all kept, in their order", async () => {
  const path = join(await makeFolder(), "a.log");
  const log = new ModelLog();
  const rule: JoinRule = { kind: "traces" };
  await writeFile(path, "one\ntwo\nhal");
  await run({ log, path, fate: { arrive: 3, answered: 2 }, rule });
  await appendFile(path, "f\n");
  for (const arrive of [1, 0, 0]) await run({ log, path, fate: { arrive, answered: 0 }, rule });
  await appendFile(path, "three\n");
  await run({ log, path, fate: well, rule });
  expect(log.messages).toEqual(["one", "two", "hal", "f", "three"]);
});

test("a journal's entry that comes in pieces is read from its beginning again", async () => {
  const path = join(await makeFolder(), "journal.export");
  const log = new ModelLog();
  const rule: JoinRule = { kind: "traces" };
  const large = `__CURSOR=1\nMESSAGE=${"x".repeat(2 * LINE_BYTES_MAX)}\nTAG=a\n`;
  await writeFile(path, `__CURSOR=0\nMESSAGE=first\n\n${large}\n__CURSOR=2\nMESSAGE=last\n\n`);
  await run({ log, path, fate: { arrive: 3, answered: 2 }, rule });
  await run({ log, path, fate: well, rule });
  expect(log.messages).toHaveLength(5);
  expect(log.messages.slice(1, 4).join("")).toBe(large);
  expect([log.messages[0], log.messages[4]]).toEqual(["first", "last"]);
});

test("an end is kept as long as the remembered place lies before it, though its entry was answered", async () => {
  const path = join(await makeFolder(), "a.log");
  const log = new ModelLog();
  const rule: JoinRule = { kind: "time" };
  await writeFile(path, "one\n");
  await run({ log, path, fate: { arrive: 0, answered: 0 }, rule });
  await appendFile(path, "two\n");
  await run({ log, path, fate: { arrive: 1, answered: 1 }, rule });
  await run({ log, path, fate: well, rule });
  expect(log.messages).toEqual(["one", "two"]);
});

test("who is stopped while there is no room for more leaves the rest to the next run", async () => {
  const path = join(await makeFolder(), "a.log");
  const log = new ModelLog();
  const rule: JoinRule = { kind: "none" };
  const lines = Array.from({ length: 20 }, (_, i) => `line ${i}`);
  await writeFile(path, lines.map((line) => `${line}\n`).join(""));
  const stop = new AbortController();
  await run({ log, path, fate: well, rule, stop: stop.signal, room: 5, onFull: () => stop.abort() });
  expect(log.messages).toEqual(lines.slice(0, 5));
  await run({ log, path, fate: well, rule });
  expect(log.messages).toEqual(lines);
});
