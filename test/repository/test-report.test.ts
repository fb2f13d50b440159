import { expect, test } from "vitest";
import {
  afterSecondTry,
  countTests,
  mergeTestReports,
  modulesToTryAgain,
  type TestReport,
  type TestState,
} from "../../scripts/test-report.ts";

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

test("files with failures are tried again, unless one of them is a finding or of no test file", () => {
  const failures: TestReport = {
    "unit a.test.ts": "failed: left behind: 1 × Timeout",
    "unit a.test.ts one": "failed: late",
    "e2e b.test.ts two of these": "failed: late",
    "e2e c.test.ts three": "passed",
  };
  expect(modulesToTryAgain(failures)).toEqual(["unit a.test.ts", "e2e b.test.ts"]);
  const property: TestState = "failed: Property failed after 3 tests { seed: 7 }";
  expect(modulesToTryAgain({ ...failures, "unit d.test.ts four": property })).toEqual([]);
  expect(modulesToTryAgain({ ...failures, "check: exit code 1": "failed" })).toEqual([]);
});

test("what failed and passed in the second run is unsteady; what failed again, or did not run again, has failed", () => {
  const first: TestReport = {
    "e2e a.test.ts": "failed: left behind",
    "e2e a.test.ts one": "failed: late",
    "e2e a.test.ts two": "passed",
    "e2e a.test.ts three": "failed: wrong",
    "e2e a.test.ts four": "failed: wrong",
    "e2e a.test.ts five": "failed: ",
    "e2e b.test.ts": "failed: cannot be loaded",
  };
  const second: TestReport = {
    "e2e a.test.ts one": "passed",
    "e2e a.test.ts two": "failed: now this one",
    "e2e a.test.ts three": "failed: wrong again",
    "e2e a.test.ts four": "skipped",
    "e2e a.test.ts five": "passed",
  };
  expect(afterSecondTry(first, second)).toEqual({
    "e2e a.test.ts": "unsteady: left behind",
    "e2e a.test.ts one": "unsteady: late",
    "e2e a.test.ts two": "failed: now this one",
    "e2e a.test.ts three": "failed: wrong",
    "e2e a.test.ts four": "failed: wrong",
    "e2e a.test.ts five": "unsteady: ",
    "e2e b.test.ts": "failed: cannot be loaded",
  });
});
