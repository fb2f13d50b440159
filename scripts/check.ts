// `npm run check`: all that a developer has to remember. Runs every static check and the unit tests, as many side by
// side as there are processors, prints one line for each as it ends, and all findings at the end.

import { availableParallelism } from "node:os";
import { performance } from "node:perf_hooks";
import { runCommand } from "./command.ts";
import { checkHouseRules } from "./house.ts";
import { findProtoBaseline } from "./proto-baseline.ts";
import { leaveTestReport, type TestState } from "./test-report.ts";

type Outcome =
  | { readonly kind: "passed"; readonly note?: string }
  | { readonly kind: "failed"; readonly findings: string }
  | { readonly kind: "skipped"; readonly reason: string };

interface Step {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

function tool(
  name: string,
  command: readonly [string, ...string[]],
  note?: (output: string) => string | undefined,
  environment: Readonly<Record<string, string>> = {},
): Step {
  return {
    name,
    async run() {
      const { code, output } = await runCommand(command, {
        env: { NO_COLOR: "1", FORCE_COLOR: undefined, ...environment },
      });
      if (code !== 0) return { kind: "failed", findings: output.trim() };
      const said = note?.(output);
      return said === undefined ? { kind: "passed" } : { kind: "passed", note: said };
    },
  };
}

const compatibility: Step = {
  name: "interface compatibility",
  async run() {
    const baseline = await findProtoBaseline();
    if (baseline.kind === "none") return { kind: "skipped", reason: baseline.reason };
    const against = `${baseline.gitFolder}#ref=${baseline.commit}`;
    const { code, output } = await runCommand(["buf", "breaking", "--against", against]);
    if (code === 0) return { kind: "passed", note: `against ${baseline.name}` };
    return { kind: "failed", findings: `Compared with ${baseline.name}:\n${output.trim()}` };
  },
};

const house: Step = {
  name: "house rules",
  async run() {
    const findings = await checkHouseRules();
    return findings.length === 0 ? { kind: "passed" } : { kind: "failed", findings: findings.join("\n") };
  },
};

/** The longest first, so that the last worker does not wait for one of them alone. */
const steps: readonly Step[] = [
  tool(
    "unit tests",
    ["vitest", "run", "--project", "unit", "--silent=passed-only"],
    (output) => /Tests {2}(.*)/.exec(output)?.[1],
    { SLUICE_PROPERTY_SCALE: "0.2" },
  ),
  tool("lint", ["oxlint"], (output) => /Found ([1-9]\d* warnings?)/.exec(output)?.[1]),
  tool("dead code", ["knip"]),
  tool("types", ["tsc", "--noEmit", "--project", "tsconfig.json"]),
  tool("format", ["oxfmt", "--check"]),
  tool("interface lint", ["buf", "lint"]),
  compatibility,
  house,
];

async function main(): Promise<number> {
  const startMs = performance.now();
  const failures: string[] = [];
  const report: Record<string, TestState> = {};
  const waiting = [...steps];

  async function work(): Promise<void> {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      const stepStartMs = performance.now();
      const outcome = await step.run();
      print(outcome.kind, step.name, performance.now() - stepStartMs, remarkOf(outcome));
      report[`check ${step.name}`] = outcome.kind;
      if (outcome.kind === "failed") failures.push(`── ${step.name} ──\n${outcome.findings}\n`);
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  await leaveTestReport("check", report);

  if (failures.length > 0) process.stdout.write(`\n${failures.join("\n")}\n`);
  print(
    failures.length > 0 ? "failed" : "passed",
    "check",
    performance.now() - startMs,
    `${steps.length} steps, ${failures.length} failed`,
  );
  return failures.length > 0 ? 1 : 0;
}

function remarkOf(outcome: Outcome): string {
  switch (outcome.kind) {
    case "passed":
      return outcome.note ?? "";
    case "failed":
      return "";
    case "skipped":
      return outcome.reason;
  }
}

function print(kind: Outcome["kind"], name: string, durationMs: number, remark: string): void {
  const seconds = `${(durationMs / 1000).toFixed(1)} s`;
  process.stdout.write(`${kind.padEnd(7)}  ${name.padEnd(24)} ${seconds.padStart(7)}  ${remark}`.trimEnd() + "\n");
}

process.exitCode = await main();
