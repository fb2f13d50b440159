import { expect, test } from "vitest";
import { countTests, mergeTestReports } from "../../scripts/test-report.ts";

test("a test that two suites ran counts once, as passed when one of them skipped it", () => {
  const merged = mergeTestReports([
    { a: "skipped", b: "passed" },
    { a: "passed", b: "skipped", c: "skipped" },
  ]);
  expect(countTests(merged)).toEqual({ passed: 2, failed: 0, skipped: 1 });
});

test("a failure is never covered by another run", () => {
  expect(mergeTestReports([{ a: "failed" }, { a: "passed" }, { a: "skipped" }])).toEqual({ a: "failed" });
});

test("a failure that says why is one, and keeps what it says", () => {
  const merged = mergeTestReports([{ a: "passed" }, { a: "failed: no room" }, { a: "passed" }]);
  expect(merged).toEqual({ a: "failed: no room" });
  expect(countTests(merged)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

test("a test that passed only when it was tried again has passed, and still says why it failed", () => {
  const merged = mergeTestReports([{ a: "unsteady: late" }, { a: "passed" }, { b: "unsteady: late" }, { b: "failed" }]);
  expect(merged).toEqual({ a: "unsteady: late", b: "failed" });
  expect(countTests(merged)).toEqual({ passed: 1, failed: 1, skipped: 0 });
});
