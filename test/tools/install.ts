// Fetches and builds the tools of the suites, at their pinned versions, into the ignored folder `.cache/`.
import { findGoTool, GO_TOOLS, type GoTool } from "./go-tools.ts";
import { findPython } from "./python.ts";
import type { Tool } from "./tool.ts";

function tell(name: string, tool: Tool): void {
  process.stdout.write(tool.kind === "ready" ? `${name}: ${tool.path}\n` : `SKIPPED ${name}: ${tool.reason}\n`);
}

/** One after the other: each of them uses all processors. Python's are ready-made and come meanwhile. */
async function buildGoTools(): Promise<void> {
  for (const name of Object.keys(GO_TOOLS) as GoTool[]) tell(name, await findGoTool(name, { mayFetch: true }));
}

const python = findPython({ mayFetch: true });
await buildGoTools();
tell("Python grpcio", await python);
