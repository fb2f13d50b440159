// Builds the peers that are not on npm, from the sources in peers/ and at the versions pinned there, into the ignored
// folder .cache/bench. A build is kept until its sources, the protocol or the toolchain change.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { constants, setPriority } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

export const root = join(import.meta.dirname, "..");
export const cacheFolder = join(root, ".cache/bench");
const buildTimeoutMs = 30 * 60_000;

export type Build =
  | { readonly kind: "built"; readonly program: string }
  | { readonly kind: "missing"; readonly reason: string };

interface Recipe {
  /** Folder of peers/, and of .cache/bench. */
  readonly name: string;
  /** Prints the toolchain's version. */
  readonly toolchain: readonly [command: string, ...rest: string[]];
  /** Run in the build folder, which holds a copy of the sources. */
  readonly steps: readonly Step[];
  readonly program: string;
  /** Built of what is in its own folder alone: a change of proto/ does not build it anew. */
  readonly isForeign?: boolean;
}

interface Step {
  readonly command: readonly [command: string, ...rest: string[]];
  readonly environment?: Readonly<Record<string, string>>;
}

// What of proto/ the peers serve.
const ourProtocol = ["sluice", "opentelemetry", "seed.proto"].flatMap((path) => ["--path", join(root, "proto", path)]);
const echoProtocol = join(root, "bench/proto");

const recipes = {
  "grpc-go": {
    name: "grpc-go",
    toolchain: ["go", "version"],
    steps: [
      { command: ["go", "install", "tool"], environment: { GOBIN: join(cacheFolder, "grpc-go/bin") } },
      { command: ["buf", "generate", root, "--template", "buf.gen.yaml", ...ourProtocol] },
      { command: ["buf", "generate", echoProtocol, "--template", "buf.gen.yaml"] },
      { command: ["go", "build", "-buildvcs=false", "-o", "bin/grpc-go", "."] },
    ],
    program: "bin/grpc-go",
  },
  tonic: {
    name: "tonic",
    toolchain: ["cargo", "--version"],
    steps: [
      { command: ["buf", "build", root, "-o", "sluice.binpb", ...ourProtocol] },
      { command: ["buf", "build", echoProtocol, "-o", "echo.binpb"] },
      {
        command: ["cargo", "build", "--release", "--locked"],
        environment: { BENCH_DESCRIPTORS: "sluice.binpb:echo.binpb", CARGO_TARGET_DIR: "target" },
      },
    ],
    program: "target/release/bench-tonic",
  },
  "nats-server": {
    name: "nats-server",
    toolchain: ["go", "version"],
    steps: [
      {
        command: ["go", "build", "-buildvcs=false", "-o", "bin/nats-server", "github.com/nats-io/nats-server/v2"],
      },
    ],
    program: "bin/nats-server",
    isForeign: true,
  },
  loki: {
    name: "loki",
    toolchain: ["go", "version"],
    steps: [
      {
        command: [
          "go",
          "build",
          "-buildvcs=false",
          "-ldflags=-s -w",
          "-o",
          "bin/loki",
          "github.com/grafana/loki/v3/cmd/loki",
        ],
      },
    ],
    program: "bin/loki",
    isForeign: true,
  },
} satisfies Record<string, Recipe>;

export type BuiltPeer = keyof typeof recipes;

const started = new Map<BuiltPeer, Promise<Build>>();

/** Builds the peer, or finds it built. A missing toolchain or a failed build is an outcome, not an error. */
export function buildPeer(peer: BuiltPeer): Promise<Build> {
  let build = started.get(peer);
  if (build === undefined) {
    build = runRecipe(recipes[peer]);
    started.set(peer, build);
  }
  return build;
}

async function runRecipe(recipe: Recipe): Promise<Build> {
  const [command, ...rest] = recipe.toolchain;
  let toolchain: string;
  try {
    toolchain = await runTool([command, ...rest], root);
  } catch {
    return { kind: "missing", reason: `there is no ${command} on this machine` };
  }
  const folder = join(cacheFolder, recipe.name);
  const stampFile = join(folder, "stamp");
  const program = join(folder, recipe.program);
  const stamp = await fingerprint(recipe, toolchain);
  if ((await readText(stampFile)) === stamp) return { kind: "built", program };

  process.stderr.write(`building ${recipe.name} (minutes the first time)\n`);
  await rm(stampFile, { force: true });
  await mkdir(folder, { recursive: true });
  await cp(join(root, "bench/peers", recipe.name), folder, { recursive: true });
  try {
    for (const step of recipe.steps) await runTool(step.command, folder, step.environment);
  } catch (error) {
    const [firstLine] = (error instanceof Error ? error.message : String(error)).split("\n");
    return { kind: "missing", reason: `its build failed: ${firstLine}` };
  }
  await writeFile(stampFile, stamp);
  return { kind: "built", program };
}

async function runTool(
  [command, ...rest]: readonly [string, ...string[]],
  folder: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const path = [join(root, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter);
  const running = promisify(execFile)(command, rest, {
    cwd: folder,
    env: { ...process.env, ...environment, PATH: path },
    timeout: buildTimeoutMs,
    maxBuffer: 2 ** 24,
  });
  if (running.child.pid !== undefined) setPriority(running.child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
  const { stdout } = await running;
  return stdout.trim();
}

async function fingerprint(recipe: Recipe, toolchain: string): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(recipe.steps)).update(toolchain);
  const protocols = recipe.isForeign === true ? [] : [join(root, "proto"), echoProtocol];
  for (const folder of [join(root, "bench/peers", recipe.name), ...protocols]) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.sort()) hash.update(file.slice(root.length)).update(await readFile(file));
  }
  return hash.digest("hex");
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return undefined;
  }
}
