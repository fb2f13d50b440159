// Ends a test run with what was skipped and why, and leaves a report where `.ci/run` can add it up.
//
// A test that cannot run here says so by `context.skip("reason")`, or carries the reason in its name.

import type { Reporter, SerializedError, TestCase, TestModule } from "vitest/node";
import { relative } from "node:path";
import { rootFolder } from "./command.ts";
import { leaveTestReport, type TestState } from "./test-report.ts";

export default class implements Reporter {
  async onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): Promise<void> {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const skipped = tests.filter((test) => test.result().state === "skipped");
    if (skipped.length > 0) process.stdout.write(`\nSkipped here:\n${skipped.map(describeSkipped).join("")}`);

    const report: Record<string, TestState> = {};
    for (const test of tests) {
      const { state, errors = [] } = test.result();
      if (state === "pending") continue;
      const name = `${test.module.project.name} ${test.module.relativeModuleId} ${test.fullName}`;
      report[name] = state === "failed" ? `failed: ${describe(errors)}` : state;
    }
    // A file that could not be loaded, or that left something behind, has no failed test of its own; nor has one that ran
    // when an error came that nobody caught.
    for (const module of modules) {
      const uncaught = unhandledErrors.filter((error) => error["VITEST_TEST_PATH"] === module.moduleId);
      const errors = [...module.errors(), ...uncaught];
      if (errors.length > 0)
        report[`${module.project.name} ${module.relativeModuleId}`] = `failed: ${describe(errors)}`;
    }
    const homeless = unhandledErrors.filter(
      (error) => !modules.some(({ moduleId }) => moduleId === error["VITEST_TEST_PATH"]),
    );
    if (homeless.length > 0) report["errors outside of tests"] = `failed: ${describe(homeless)}`;
    await leaveTestReport("vitest", report);
  }
}

function describeSkipped(test: TestCase): string {
  const result = test.result();
  const reason = result.state === "skipped" && result.note !== undefined ? `: ${result.note}` : "";
  return `  ${test.module.project.name}  ${test.fullName}${reason}\n`;
}

/** The first error with the line that it came from. */
function describe(errors: readonly SerializedError[]): string {
  const { message = "no error", stacks = [] } = errors[0] ?? {};
  const where = stacks.map(({ file, line }) => ` (${relative(rootFolder, file)}:${line})`).at(0) ?? "";
  return `${message.slice(0, 500)}${where}`;
}
