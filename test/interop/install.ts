// Fetches and builds the clients of the interop suite, at their pinned versions, into the ignored folder `.cache/`.
import { findGrpcurl, findPython, type Tool } from "./tools.ts";

const tools: readonly (readonly [string, () => Promise<Tool>])[] = [
  ["grpcurl", () => findGrpcurl({ mayFetch: true })],
  ["Python grpcio", () => findPython({ mayFetch: true })],
];

for (const [name, find] of tools) {
  const tool = await find();
  process.stdout.write(tool.kind === "ready" ? `${name}: ${tool.path}\n` : `SKIPPED ${name}: ${tool.reason}\n`);
}
