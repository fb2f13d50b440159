// `npm run fuzz`: damaged inputs by the million, in several processes. See README.md beside this file.
//
//   npm run fuzz -- --inputs 10M            all targets, each by its weight, with a seed of this run's own
//   npm run fuzz -- --target hpack --inputs 1M --seed 7
//   npm run fuzz -- --replay test/fuzz/regressions/FILE.json
//   npm run fuzz -- --list
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { rootFolder } from "../../scripts/command.ts";
import { type CampaignRequest, fileNameOf, type Finding, inputOf, runInput, StrayErrors } from "./campaign.ts";
import { parseCount, Progress } from "./progress.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";
import { targets } from "./targets.ts";
import type { ChunkResult } from "./worker.ts";

const CHUNK_INPUTS = 2000;
/** A chunk takes seconds: a worker that says nothing for so long hangs in one of its inputs. */
const HANG_MS = 120_000;
/** What a worker may keep in memory beyond what it had after its first measures. */
const HEAP_GROWTH_BYTES_MAX = 96 * 1024 * 1024;
const WARM_UP_MEASURES = 3;

const failuresFolder = join(rootFolder, ".cache", "fuzz");

/** The chunks of a run, those of the targets in turn: the same for the same seed. */
function* chunksOf(chosen: readonly Target[], inputs: number, seed: number): Generator<CampaignRequest> {
  const random = new Random(seed);
  const weights = chosen.reduce((sum, { weight }) => sum + weight, 0);
  const left = new Map(chosen.map((target) => [target, Math.ceil((inputs * target.weight) / weights)]));
  while (left.size > 0) {
    for (const [target, count] of left) {
      // The heavier a target, the more of its chunks come before the next one's.
      const size = Math.min(count, CHUNK_INPUTS);
      yield { name: target.name, seed: random.uint32() | 0, inputs: size };
      if (count > size) left.set(target, count - size);
      else left.delete(target);
    }
  }
}

class Worker {
  readonly #process: ChildProcess;
  #baseBytes = 0;
  #measures = 0;

  constructor() {
    this.#process = fork(join(import.meta.dirname, "worker.ts"), {
      execArgv: ["--conditions=sluice-source", "--expose-gc", "--max-old-space-size=1024", "--stack-trace-limit=3"],
      env: { ...process.env, UV_THREADPOOL_SIZE: "1" },
    });
  }

  /** Runs one chunk. @returns what was found, also when the process died or hangs */
  async run(chunk: CampaignRequest): Promise<Finding | undefined> {
    const aborted = new AbortController();
    const timer = setTimeout(() => aborted.abort(new Error(`no answer for ${HANG_MS} ms: it hangs`)), HANG_MS);
    const { signal } = aborted;
    const exited = once(this.#process, "exit", { signal }).then(([code, by]) => {
      throw new Error(`the process ended with ${String(code ?? by)}`);
    });
    const answered = once(this.#process, "message", { signal });
    exited.catch(() => {});
    answered.catch(() => {});
    try {
      this.#process.send(chunk);
      const [result] = (await Promise.race([answered, exited])) as [ChunkResult];
      return result.finding ?? this.#judgeHeap(chunk, result.heapBytes);
    } catch (error) {
      this.#process.kill("SIGKILL");
      return wholeChunk(chunk, String(error));
    } finally {
      clearTimeout(timer);
      aborted.abort();
    }
  }

  #judgeHeap(chunk: CampaignRequest, heapBytes: number | undefined): Finding | undefined {
    if (heapBytes === undefined) return undefined;
    this.#measures += 1;
    if (this.#measures <= WARM_UP_MEASURES) this.#baseBytes = heapBytes;
    if (heapBytes - this.#baseBytes <= HEAP_GROWTH_BYTES_MAX) return undefined;
    return wholeChunk(chunk, `memory in use grew from ${this.#baseBytes} to ${heapBytes} bytes`);
  }

  [Symbol.dispose](): void {
    if (this.#process.connected) this.#process.disconnect();
  }
}

/** A finding that cannot be told from one input: the chunk has to be run again. */
function wholeChunk({ name, seed }: CampaignRequest, error: string): Finding {
  return { target: name, seed, path: "", error, salt: 0, bytes: "" };
}

async function keep(finding: Finding): Promise<string> {
  await mkdir(failuresFolder, { recursive: true });
  const file = join(failuresFolder, fileNameOf(finding));
  await writeFile(file, `${JSON.stringify(finding, undefined, 2)}\n`);
  return relative(rootFolder, file);
}

async function report(finding: Finding): Promise<void> {
  const { target, seed, path, error, bytes } = finding;
  const input = Buffer.from(bytes, "base64");
  process.stdout.write(`\nFOUND by ${target}, seed ${seed}, path ${path}:\n${error}\n`);
  if (bytes === "") {
    process.stdout.write(`Again: npm run fuzz -- --target ${target} --chunk ${seed}\n`);
    return;
  }
  process.stdout.write(`Input of ${input.length} bytes: ${input.toString("hex").slice(0, 800)}\n`);
  process.stdout.write(`Again: npm run fuzz -- --replay ${await keep(finding)}\n`);
}

async function fuzz(chosen: readonly Target[], inputs: number, options: { seed: number; workers: number }) {
  const progress = new Progress(inputs);
  const chunks = chunksOf(chosen, inputs, options.seed);
  const seen = new Set<string>();
  process.stdout.write(
    `seed ${options.seed}, ${inputs} inputs, ${options.workers} processes, node ${process.version}\n`,
  );
  const runs = Array.from({ length: options.workers }, async () => {
    let worker = new Worker();
    for (const chunk of chunks) {
      const startMs = performance.now();
      const finding = await worker.run(chunk);
      progress.add(chunk.name, chunk.inputs, performance.now() - startMs);
      if (finding === undefined) continue;
      // One target finds the same thing again and again: the first of its kind is enough.
      const kind = `${finding.target} ${finding.error.split("\n", 1)[0]!.replaceAll(/\d+/g, "#").slice(0, 60)}`;
      if (!seen.has(kind)) await report(finding);
      seen.add(kind);
      worker[Symbol.dispose]();
      worker = new Worker();
    }
    worker[Symbol.dispose]();
  });
  await Promise.all(runs);
  progress.finish();
  process.stdout.write(seen.size === 0 ? "nothing found\n" : `${seen.size} found: ${[...seen].join("; ")}\n`);
  return seen.size === 0 ? 0 : 1;
}

async function replay(file: string): Promise<number> {
  const finding = JSON.parse(await readFile(file, "utf8")) as Finding;
  const target = targets.find(({ name }) => name === finding.target);
  if (target === undefined) throw new Error(`There is no target "${finding.target}"`);
  using strays = new StrayErrors();
  try {
    await runInput(await target.open(), inputOf(finding), strays);
    process.stdout.write(`${finding.target}: all that is promised holds for this input\n`);
    return 0;
  } catch (error) {
    process.stdout.write(`${finding.target}: ${error instanceof Error ? error.stack : String(error)}\n`);
    return 1;
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      inputs: { type: "string", default: "1M" },
      target: { type: "string", multiple: true, default: [] },
      seed: { type: "string" },
      chunk: { type: "string" },
      workers: { type: "string", default: String(availableParallelism()) },
      replay: { type: "string" },
      list: { type: "boolean", default: false },
    },
  });
  if (values.list) {
    for (const { name, about } of targets) process.stdout.write(`${name.padEnd(14)} ${about}\n`);
    return 0;
  }
  if (values.replay !== undefined) return replay(values.replay);
  const chosen = targets.filter(({ name }) => values.target.length === 0 || values.target.includes(name));
  if (chosen.length === 0) throw new Error(`There is no target "${values.target.join()}": see --list`);
  if (values.chunk !== undefined) {
    using worker = new Worker();
    const finding = await worker.run({ name: chosen[0]!.name, seed: Number(values.chunk), inputs: CHUNK_INPUTS });
    if (finding !== undefined) await report(finding);
    return finding === undefined ? 0 : 1;
  }
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  return fuzz(chosen, parseCount(values.inputs), { seed, workers: Number(values.workers) });
}

process.exitCode = await main();
