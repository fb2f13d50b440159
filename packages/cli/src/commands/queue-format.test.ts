import { create } from "@bufbuild/protobuf";
import { ExplainJobResponseSchema, JobState, JobViewSchema, ReasonCode } from "@sluice/api";
import { expect, test } from "vitest";
import { beginningOf, formatExplanation, jobRow } from "./queue-format.ts";

const RED = "\u001b[31m";

test("an explanation has a line for each reason, with its time, and says how many jobs are before it", () => {
  const explanation = create(ExplainJobResponseSchema, {
    job: { state: JobState.WAITING, failures: 2, progress: 0.5, progressMessage: "half" },
    reasons: [
      { code: ReasonCode.NO_CREDIT, text: "no worker has a free slot" },
      { code: ReasonCode.THROTTLED, text: "gold is throttled", until: 1_700_000_000_000_000_000n },
    ],
    ahead: 3n,
  });
  expect(formatExplanation("17", explanation, true).split("\n")).toEqual([
    "17: waiting, failed 2 times, 50 % done: half",
    "  no worker has a free slot",
    "  gold is throttled (until 2023-11-14 22:13:20.000Z)",
    "  3 jobs before it",
  ]);
});

test("what producers and workers wrote does not steer the terminal", () => {
  const job = { jobId: "1", fairnessKey: `${RED}gold`, body: Buffer.from(`${RED}body`) };
  const view = create(JobViewSchema, { job, state: JobState.RUNNING, progressMessage: `${RED}half` });
  const reasons = [{ code: ReasonCode.LEASED, text: `by ${RED}me` }];
  const text = formatExplanation("1", create(ExplainJobResponseSchema, { job: view, reasons }), true);
  expect([text, ...jobRow(view, true), beginningOf(view.job?.body)].join("")).not.toContain("\u001b");
  expect(text).toBe("1: running: ·[31mhalf\n  by ·[31mme");
});
