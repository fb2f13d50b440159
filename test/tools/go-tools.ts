// The tools that are written in Go: built from source at the versions of go.mod and the hashes of go.sum beside. They
// share one module, so that what they share (gRPC, protobuf, TLS) is fetched and compiled once.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { type FindOptions, HOW_TO_INSTALL, type Tool } from "./tool.ts";

/** Name → the package of its program. */
export const GO_TOOLS = {
  connectconformance: "connectrpc.com/conformance/cmd/connectconformance",
  "grpc-interop-client": "google.golang.org/grpc/interop/client",
  grpcurl: "github.com/fullstorydev/grpcurl/cmd/grpcurl",
  ghz: "github.com/bojand/ghz/cmd/ghz",
  h2spec: "github.com/summerwind/h2spec/cmd/h2spec",
  // Our own few lines around Google's stubs.
  "bytestream-client": ".",
  telemetrygen: "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen",
  prometheus: "github.com/prometheus/prometheus/cmd/prometheus",
  promtool: "github.com/prometheus/prometheus/cmd/promtool",
  node_exporter: "github.com/prometheus/node_exporter",
} as const;

/** Modules of their own, in folders beside: what these need would change what the others are built of. */
const FOLDERS: Partial<Record<keyof typeof GO_TOOLS, string>> = {
  "bytestream-client": "bytestream",
  telemetrygen: "otel",
  prometheus: "prometheus",
  promtool: "prometheus",
  node_exporter: "node-exporter",
};

export type GoTool = keyof typeof GO_TOOLS;

export async function findGoTool(name: GoTool, options: FindOptions): Promise<Tool> {
  const folder = join(import.meta.dirname, FOLDERS[name] ?? "");
  const path = join(await binaryFolder(folder), name);
  if (existsSync(path)) return { kind: "ready", path };
  if (!options.mayFetch) return { kind: "missing", reason: `${name} is not built yet: ${HOW_TO_INSTALL}` };
  const version = await runCommand(["go", "version"]).catch(() => undefined);
  if (version?.code !== 0) return { kind: "missing", reason: `${name} is written in Go, and there is no Go here` };
  const command = ["go", "build", "-ldflags=-s -w", "-o", path, GO_TOOLS[name]] as const;
  const build = await runCommand([...command], { cwd: folder });
  if (build.code !== 0) return { kind: "missing", reason: `${name} could not be built: ${build.output.trim()}` };
  return { kind: "ready", path };
}

/** Named by what pins the versions and by what is written here, so that others are built anew. */
async function binaryFolder(module: string): Promise<string> {
  const hash = createHash("sha256");
  const names = (await readdir(module)).filter((name) => /^go\.(?:mod|sum)$|\.go$/u.test(name));
  for (const file of names.toSorted()) hash.update(await readFile(join(module, file)));
  return join(rootFolder, ".cache", "go-tools", hash.digest("hex").slice(0, 12));
}
