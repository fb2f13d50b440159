// `npm run conformance`: the suites by which gRPC and HTTP/2 implementations are judged, run against ours. Prints what each
// one passed, failed and left out; the exit code is 0 only when nothing failed. A suite whose tool cannot be had here is
// skipped, with the reason.
//
// `npm run conformance -- WORD` runs those with WORD in their name.
import { performance } from "node:perf_hooks";
import { leaveTestReport, type TestState } from "../../scripts/test-report.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { connectSuites } from "./connect/suites.ts";
import { interopSuites } from "./grpc-interop/suites.ts";
import { h2specSuites } from "./h2spec/suites.ts";
import type { Suite, SuiteResult } from "./suite.ts";

const suites: readonly Suite[] = [...connectSuites, ...interopSuites, ...h2specSuites];

type Outcome =
  | ({ readonly kind: "ran"; readonly seconds: number } & SuiteResult)
  | { readonly kind: "skipped"; readonly reason: string };

async function runSuite({ tool: name, run }: Suite): Promise<Outcome> {
  const tool = await findGoTool(name, { mayFetch: true });
  if (tool.kind === "missing") return { kind: "skipped", reason: tool.reason };
  const startMs = performance.now();
  const result = await run(tool.path);
  return { kind: "ran", ...result, seconds: (performance.now() - startMs) / 1000 };
}

function lineOf(name: string, outcome: Outcome): string {
  if (outcome.kind === "skipped") return `${name.padEnd(28)} SKIPPED: ${outcome.reason}`;
  const { passed, failed, excluded, seconds, note } = outcome;
  const counts = [passed, failed, excluded].map((count) => String(count).padStart(8)).join("");
  return `${name.padEnd(28)}${counts}  ${seconds.toFixed(1).padStart(5)} s  ${note}`;
}

async function main(word: string): Promise<number> {
  const lines: string[] = [];
  const report: Record<string, TestState> = {};
  for (const suite of suites.filter(({ name }) => name.includes(word))) {
    const outcome = await runSuite(suite);
    const isFailed = outcome.kind === "ran" && outcome.failed > 0;
    if (isFailed) process.stdout.write(`\n━━ ${suite.name} ━━\n${outcome.output.trim()}\n\n`);
    lines.push(lineOf(suite.name, outcome));
    process.stdout.write(`${lines.at(-1)}\n`);
    report[`conformance ${suite.name}`] = outcome.kind === "skipped" ? "skipped" : isFailed ? "failed" : "passed";
  }
  await leaveTestReport("conformance", report);
  const heading = `${"suite".padEnd(28)}${"passed".padStart(8)}${"failed".padStart(8)}${"excluded".padStart(9)}`;
  process.stdout.write(`\n${heading}\n${lines.join("\n")}\n`);
  if (lines.length === 0) process.stdout.write(`No suite has "${word}" in its name.\n`);
  return lines.length === 0 || Object.values(report).includes("failed") ? 1 : 0;
}

process.exitCode = await main(process.argv[2] ?? "");
