// How the suites tell `.ci/run` what they ran: one JSON file each in the folder that SLUICE_TEST_REPORTS names.
//
// A test that several suites ran (the unit tests are part of `npm run check` too) counts once.

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * A failure may say why: that is all that somebody sees who has but the end of what `.ci/run` printed. A test that
 * passed only when it was tried again is unsteady, and says why it failed before.
 */
export type TestState = "passed" | `unsteady: ${string}` | "failed" | `failed: ${string}` | "skipped";

/** Test, by suite, file and name → how it ended. */
export type TestReport = Readonly<Record<string, TestState>>;

export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const isFailed = (state: TestState): boolean => state.startsWith("failed");

export const isUnsteady = (state: TestState): boolean => state.startsWith("unsteady");

/** What counts when a test ended differently in two runs: a failure before all, a skip last. */
const weigh = (state: TestState): number => (isFailed(state) ? 3 : isUnsteady(state) ? 2 : state === "passed" ? 1 : 0);

/** Leaves a report when somebody asked for it by SLUICE_TEST_REPORTS. */
export async function leaveTestReport(name: string, report: TestReport): Promise<void> {
  const folder = process.env["SLUICE_TEST_REPORTS"];
  if (folder === undefined || folder === "") return;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}-${process.pid}.json`), JSON.stringify(report, undefined, 1));
}

/** All reports of a folder as one; an absent folder is no tests. */
export async function readTestReports(folder: string): Promise<TestReport> {
  const names = await readdir(folder).catch(() => []);
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return mergeTestReports(texts.map((text) => JSON.parse(text) as TestReport));
}

export function mergeTestReports(reports: readonly TestReport[]): TestReport {
  const merged: Record<string, TestState> = {};
  for (const [test, state] of reports.flatMap((report) => Object.entries(report))) {
    const known = merged[test];
    if (known === undefined || weigh(state) > weigh(known)) merged[test] = state;
  }
  return merged;
}

/** What chance is there to find (a counterexample, a seed's garbled input) would pass with another seed: never tried again. */
const FOUND_BY_CHANCE = /property failed|counterexample|seed/i;

/** `project file` of a test's or a file's name in a report, as `test-reporter.ts` names them; undefined for any other. */
const moduleOf = (name: string): string | undefined => /^\S+ \S+\.test\.ts(?= |$)/.exec(name)?.[0];

/**
 * The test files, each as `project file`, that failed and may be tried once more; none when one of the failures is none
 * of a test file, or is a finding: then the suite has failed.
 */
export function modulesToTryAgain(report: TestReport): readonly string[] {
  const failures = Object.entries(report).filter(([, state]) => isFailed(state));
  const modules = failures.map(([name, state]) => (FOUND_BY_CHANCE.test(state) ? undefined : moduleOf(name)));
  return modules.includes(undefined) ? [] : [...new Set(modules as string[])];
}

/** `first`, with what failed there and passed in `second`, a run of the same files in a process of their own, as unsteady. */
export function afterSecondTry(first: TestReport, second: TestReport): TestReport {
  const modulesRun = new Set(Object.keys(second).map(moduleOf));
  const outcomes: Record<string, TestState> = {};
  for (const [name, state] of Object.entries(first)) {
    // A file's own failure is there only when it failed again.
    const again = second[name] ?? (moduleOf(name) === name && modulesRun.has(name) ? "passed" : "failed");
    const isMended = isFailed(state) && again === "passed";
    outcomes[name] = isMended ? `unsteady: ${state.slice("failed: ".length)}` : state;
  }
  return mergeTestReports([outcomes, second]);
}

export function countTests(report: TestReport): TestCounts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const state of Object.values(report)) {
    if (isFailed(state)) counts.failed++;
    else if (state === "skipped") counts.skipped++;
    else counts.passed++;
  }
  return counts;
}
