// Fetches and builds the tools of the suites, at their pinned versions, into the ignored folder `.cache/`. Chromium is the
// system's own.
import { findChromium } from "./chromium.ts";
import { findGoTool, GO_TOOLS, type GoTool } from "./go-tools.ts";
import { findPythonOpenTelemetry } from "./python-opentelemetry.ts";
import { findPython } from "./python.ts";
import type { Tool } from "./tool.ts";

function tell(name: string, tool: Tool): void {
  process.stdout.write(tool.kind === "ready" ? `${name}: ${tool.path}\n` : `SKIPPED ${name}: ${tool.reason}\n`);
}

/** One after the other: each of them uses all processors. What is ready-made comes meanwhile. */
async function buildGoTools(): Promise<void> {
  for (const name of Object.keys(GO_TOOLS) as GoTool[]) tell(name, await findGoTool(name, { mayFetch: true }));
}

const options = { mayFetch: true };
const readyMade = Promise.all([findPython(options), findPythonOpenTelemetry(options), findChromium(options)]);
await buildGoTools();
const [python, openTelemetry, chromium] = await readyMade;
tell("Python grpcio", python);
tell("Python OpenTelemetry", openTelemetry);
tell("Chromium", chromium);
