// Who the peers are, and how each is started. Every form of a peer is a contestant of its own: as its users write it,
// and the best tuned form that we found.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildPeer, root, type BuiltPeer } from "./build.ts";
import type { Entrant } from "./contest.ts";
import type { ServerCommand } from "./server-process.ts";
import { findGoTool } from "../test/tools/go-tools.ts";

interface NodePeer {
  readonly file: string;
  readonly form: string;
}
interface CompiledPeer {
  readonly build: BuiltPeer;
  readonly form: string;
}

const peers = {
  "grpc-js": { file: "grpc-js.ts", form: "plain" },
  "grpc-js encoded": { file: "grpc-js.ts", form: "encoded" },
  "connect-es": { file: "connect-es.ts", form: "plain" },
  "node:http2": { file: "node-http2.ts", form: "plain" },
  "node:net": { file: "node-net.ts", form: "plain" },
  "grpc-go": { build: "grpc-go", form: "plain" },
  "grpc-go tuned": { build: "grpc-go", form: "tuned" },
  "grpc-go encoded": { build: "grpc-go", form: "encoded" },
  tonic: { build: "tonic", form: "plain" },
  "tonic tuned": { build: "tonic", form: "tuned" },
  "tonic encoded": { build: "tonic", form: "encoded" },
} satisfies Record<string, NodePeer | CompiledPeer>;

export type PeerName = keyof typeof peers;

export interface PeerOptions {
  readonly entriesFile: string;
  /** Entries of a history. */
  readonly count: number;
  /** Folder that DownloadFile reads from. */
  readonly files?: string;
  /** Folder for what is written; undefined: it is dropped. */
  readonly data?: string;
  /** Preloads the memory probe where the peer runs on Node. */
  readonly withMemoryProbe?: boolean;
  readonly isSecure?: boolean;
}

/** Made for the tests; load clients do not look at it. */
const certificate = ["--certificate", join(root, "test/fixtures/tls/localhost.crt")];
const key = ["--key", join(root, "test/fixtures/tls/localhost.key")];

/** The arguments that every server of the benchmark takes. */
export function serverArguments(options: PeerOptions, form: string): string[] {
  const { entriesFile, count, data, files, isSecure = false } = options;
  return [
    "--entries",
    entriesFile,
    "--count",
    `${count}`,
    "--form",
    form,
    ...(data === undefined ? [] : ["--data", data]),
    ...(files === undefined ? [] : ["--files", files]),
    ...(isSecure ? [...certificate, ...key] : []),
  ];
}

export async function findPeer(who: PeerName, options: PeerOptions): Promise<Entrant> {
  const peer: NodePeer | CompiledPeer = peers[who];
  const rest = serverArguments(options, peer.form);
  if ("file" in peer) {
    const file = join(root, "bench/servers", peer.file);
    const command = nodeServer([file, ...rest], options.withMemoryProbe ?? false);
    return { kind: "ready", contestant: { who, command } };
  }
  const build = await buildPeer(peer.build);
  if (build.kind === "missing") return { kind: "missing", who, reason: build.reason };
  return { kind: "ready", contestant: { who, command: { command: build.program, arguments: rest } } };
}

/** nginx, which serves what lies in a folder: as its root, without a prefix. */
export async function findNginx(files: string, options: { readonly http1: boolean }): Promise<Entrant> {
  try {
    const { stderr } = await promisify(execFile)("nginx", ["-v"]);
    const version = stderr.trim().replace("nginx version: ", "");
    const words = [join(root, "bench/servers/nginx.ts"), "--files", files, "--version", version];
    const command = nodeServer(options.http1 ? [...words, "--http1"] : words);
    return { kind: "ready", contestant: { who: "nginx", command } };
  } catch {
    return { kind: "missing", who: "nginx", reason: "there is no nginx on this machine" };
  }
}

/** Grafana Loki, which stores in a folder of its own in `data`. */
export async function findLoki(data: string): Promise<Entrant> {
  const build = await buildPeer("loki");
  if (build.kind === "missing") return { kind: "missing", who: "Loki", reason: build.reason };
  const module = await readFile(join(root, "bench/peers/loki/go.mod"), "utf8");
  const version = /grafana\/loki\/v3 (v[\d.]+)/u.exec(module)?.[1] ?? "unknown";
  const words = ["--program", build.program, "--data", data, "--version", version];
  return {
    kind: "ready",
    contestant: { who: "Loki", command: nodeServer([join(root, "bench/servers/loki.ts"), ...words]) },
  };
}

/** Prometheus, built from its Go module, which stores in a folder of its own in `data`. */
export async function findPrometheus(data: string): Promise<Entrant> {
  const tool = await findGoTool("prometheus", { mayFetch: true });
  if (tool.kind === "missing") return { kind: "missing", who: "Prometheus", reason: tool.reason };
  const module = await readFile(join(root, "test/tools/prometheus/go.mod"), "utf8");
  const version = /prometheus\/prometheus (v[\w.-]+)/u.exec(module)?.[1] ?? "unknown";
  const words = ["--program", tool.path, "--data", data, "--version", version];
  const command = nodeServer([join(root, "bench/servers/prometheus.ts"), ...words]);
  return { kind: "ready", contestant: { who: "Prometheus", command } };
}

/** Runs a server's source on the Node that runs this. */
export function nodeServer(rest: readonly string[], withMemoryProbe = false): ServerCommand {
  const probe = withMemoryProbe ? ["--expose-gc", "--import", join(root, "bench/servers/memory-probe.ts")] : [];
  return { command: process.execPath, arguments: ["--conditions=sluice-source", ...probe, ...rest] };
}

/** True when the memory of this peer can be asked for. */
export function isOnNode(who: string): boolean {
  return !(who in peers) || "file" in peers[who as PeerName];
}
