// Ends a test run with what was skipped and why, and leaves a report where `.ci/run` can add it up.
//
// A test that cannot run here says so by `context.skip("reason")`, or carries the reason in its name.

import type { Reporter, TestCase, TestModule } from "vitest/node";
import { leaveTestReport, type TestState } from "./test-report.ts";

export default class implements Reporter {
  async onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): Promise<void> {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const skipped = tests.filter((test) => test.result().state === "skipped");
    if (skipped.length > 0) process.stdout.write(`\nSkipped here:\n${skipped.map(describeSkipped).join("")}`);

    const report: Record<string, TestState> = {};
    for (const test of tests) {
      const { state } = test.result();
      if (state !== "pending")
        report[`${test.module.project.name} ${test.module.relativeModuleId} ${test.fullName}`] = state;
    }
    // A file that could not be loaded, or that left something behind, has no failed test of its own.
    for (const module of modules) {
      if (module.errors().length > 0) report[`${module.project.name} ${module.relativeModuleId}`] = "failed";
    }
    if (unhandledErrors.length > 0) report["errors outside of tests"] = "failed";
    await leaveTestReport("vitest", report);
  }
}

function describeSkipped(test: TestCase): string {
  const result = test.result();
  const reason = result.state === "skipped" && result.note !== undefined ? `: ${result.note}` : "";
  return `  ${test.module.project.name}  ${test.fullName}${reason}\n`;
}
