// The experiment, in small: what its figures say must be so however fast the machine is.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { callCli } from "../support/cli-in-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

interface Figures {
  readonly way: string;
  readonly beyondControlMax: number;
  readonly newWorkersJobs: number;
  readonly urgentPassedBy: number;
}

const JOBS = 60;

test("jobs lie behind the slow worker with streaming, and at nobody's with credit", async () => {
  await using folder = await openTemporaryFolder("experiment");
  const words = [
    "--way",
    "stream",
    "--way",
    "credit",
    "--jobs",
    String(JOBS),
    "--more-at",
    "500",
    "--urgent-at",
    "1500",
  ];
  const call = callCli(["experiment", "backpressure", ...words, "--save", "out", "--output", "json"], {
    folder: folder.path,
  });
  const { exitCode, stdout } = await call.ended;
  expect(exitCode).toBe(0);
  const [streamed, credited] = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Figures);
  // All lies with the first worker: those that come get nothing, and the urgent job goes behind it all.
  expect(streamed).toMatchObject({ way: "stream", newWorkersJobs: 0 });
  expect(streamed!.beyondControlMax).toBeGreaterThan(JOBS / 2);
  // Four workers share what is left, and the urgent job comes next: at most what they began in that moment passes it.
  expect(credited?.way).toBe("credit");
  expect(credited!.newWorkersJobs).toBeGreaterThan(0);
  expect(credited!.beyondControlMax).toBeLessThan(streamed!.beyondControlMax / 2);
  expect(await readFile(join(folder.path, "out", "backpressure.svg"), "utf8")).toContain("</svg>");
  const saved = JSON.parse(await readFile(join(folder.path, "out", "backpressure.json"), "utf8")) as {
    runs: unknown[];
  };
  expect(saved.runs).toHaveLength(2);
});
