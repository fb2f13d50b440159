// `.ci/run` after `npm ci`: runs every suite in its short form, one after the other, each within a time limit, and ends
// with the sum of their tests. The exit code is not 0 when a suite or a test failed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { performance } from "node:perf_hooks";
import { rootFolder } from "./command.ts";
import {
  afterSecondTry,
  countTests,
  isFailed,
  isUnsteady,
  mergeTestReports,
  modulesToTryAgain,
  readTestReports,
  type TestReport,
} from "./test-report.ts";

interface Suite {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly limitMinutes: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Its failures are findings: nothing of it is tried a second time. */
  readonly isOnce?: true;
}

/** These may fetch the tools that they need (Go modules, Python packages) into `.cache/`. */
const full = { SLUICE_SUITE: "full" };

const suites: readonly Suite[] = [
  // What a new machine lacks. Whatever cannot be had is said, and its tests are skipped with the reason.
  {
    name: "tools",
    command: ["node", "--conditions=sluice-source", "test/tools/install.ts"],
    limitMinutes: 20,
  },
  { name: "tests", command: ["npm", "test"], limitMinutes: 10 },
  { name: "check", command: ["npm", "run", "check"], limitMinutes: 4 },
  { name: "interop", command: ["npm", "run", "interop"], limitMinutes: 6, env: full },
  { name: "conformance", command: ["npm", "run", "conformance"], limitMinutes: 6, env: full, isOnce: true },
  { name: "differential", command: ["npm", "run", "differential"], limitMinutes: 4, env: full, isOnce: true },
  {
    name: "fuzz",
    command: ["npx", "vitest", "run", "--project", "fuzz"],
    limitMinutes: 4,
    env: { ...full, UV_THREADPOOL_SIZE: "1" },
    isOnce: true,
  },
  { name: "crash", command: ["npm", "run", "crash"], limitMinutes: 10, env: full, isOnce: true },
  { name: "abuse", command: ["npm", "run", "abuse"], limitMinutes: 8 },
  { name: "soak", command: ["npm", "run", "soak", "--", "--minutes", "2"], limitMinutes: 5, isOnce: true },
  { name: "packages", command: ["npm", "run", "pack-check"], limitMinutes: 2 },
];

const reportFolder = join(rootFolder, ".cache", "test-reports");

interface SuiteResult {
  /** How the suite's process ended, in words. */
  readonly end: string;
  readonly isLate: boolean;
  readonly report: TestReport;
}

/** More failed files than these are no chance. */
const MODULES_TRIED_AGAIN_MAX = 4;

/**
 * Runs a suite, and once more, each in a process of its own with nothing beside it, the few test files that failed: the
 * machine is shared. What passed only then is listed at the end.
 */
async function runSteadily(suite: Suite): Promise<SuiteResult> {
  const first = await runSuite(suite);
  const modules = suite.isOnce || first.isLate ? [] : modulesToTryAgain(first.report);
  if (modules.length === 0 || modules.length > MODULES_TRIED_AGAIN_MAX) return first;
  const seconds: TestReport[] = [];
  for (const module of modules) {
    const [project, file] = module.split(" ") as [string, string];
    process.stdout.write(`\n━━ once more: ${file} ━━\n`);
    const command = ["npx", "vitest", "run", "--project", project, file] as const;
    seconds.push((await runSuite({ ...suite, name: `${suite.name}-again-${seconds.length}`, command })).report);
  }
  const report = afterSecondTry(first.report, mergeTestReports(seconds));
  return { ...first, end: `${first.end}, ${modules.length} of its files once more`, report };
}

async function runSuite({ name: suite, command: [name, ...args], limitMinutes, env }: Suite): Promise<SuiteResult> {
  const reports = join(reportFolder, suite);
  const path = [join(rootFolder, "node_modules", ".bin"), process.env["PATH"]].join(delimiter);
  const child = spawn(name, args, {
    cwd: rootFolder,
    env: { ...process.env, PATH: path, CI: "true", SLUICE_TEST_REPORTS: reports, ...env },
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    // The whole group, or the servers that the tests started would stay.
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, limitMinutes * 60_000);
  const [code] = (await once(child, "exit")) as [number | null];
  clearTimeout(timer);

  const report = await readTestReports(reports);
  const end = isLate ? `stopped after ${limitMinutes} minutes` : `exit code ${code ?? "none"}`;
  // A suite may fail without a failed test, when it crashes or hangs: then it counts as one.
  const isExplained = (!isLate && code === 0) || countTests(report).failed > 0;
  return { end, isLate, report: isExplained ? report : { ...report, [`${suite}: ${end}`]: "failed" } };
}

async function main(): Promise<number> {
  await rm(reportFolder, { recursive: true, force: true });
  const summary: string[] = [];
  const reports: TestReport[] = [];
  for (const suite of suites) {
    process.stdout.write(`\n━━ ${suite.name}: ${suite.command.join(" ")} ━━\n`);
    const startMs = performance.now();
    const { end, report } = await runSteadily(suite);
    reports.push(report);
    summary.push(`${suite.name.padEnd(12)} ${((performance.now() - startMs) / 1000).toFixed(0).padStart(4)} s  ${end}`);
  }

  const all = mergeTestReports(reports);
  const { passed, failed, skipped } = countTests(all);
  process.stdout.write(`\n${summary.join("\n")}\n\n`);
  for (const [test, state] of Object.entries(all)) {
    if (isUnsteady(state))
      process.stdout.write(`passed only when tried again: ${test}${state.slice("unsteady".length)}\n`);
  }
  for (const [test, state] of Object.entries(all)) {
    if (isFailed(state)) process.stdout.write(`failed: ${test}${state.slice("failed".length)}\n`);
  }
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main();
