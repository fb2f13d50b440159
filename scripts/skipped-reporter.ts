// Ends a test run with what was skipped and why, and leaves the counts where `.ci/run` can add them up.
//
// A test that cannot run here says so by `context.skip("reason")`, or carries the reason in its name.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** Counts of one suite, as they lie in the file that SLUICE_TEST_COUNTS names. */
export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export default class SkippedReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const skipped = tests.filter((test) => test.result().state === "skipped");
    if (skipped.length > 0) process.stdout.write(`\nSkipped here:\n${skipped.map(describeSkipped).join("")}`);

    const countsFile = process.env["SLUICE_TEST_COUNTS"];
    if (countsFile === undefined) return;
    const brokenModules = modules.filter((module) => module.errors().length > 0).length;
    const counts: TestCounts = {
      passed: tests.filter((test) => test.result().state === "passed").length,
      failed: tests.filter((test) => test.result().state === "failed").length + brokenModules + unhandledErrors.length,
      skipped: skipped.length,
    };
    mkdirSync(dirname(countsFile), { recursive: true });
    writeFileSync(countsFile, JSON.stringify(counts));
  }
}

function describeSkipped(test: TestCase): string {
  const result = test.result();
  const reason = result.state === "skipped" && result.note !== undefined ? `: ${result.note}` : "";
  return `  ${test.module.project.name}  ${test.fullName}${reason}\n`;
}
