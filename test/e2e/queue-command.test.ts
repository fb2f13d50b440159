// `sluice queue` against a real server: what it prints, how it exits, and what becomes of the jobs.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CallOptions, callCli } from "../support/cli-in-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openStallingProxy } from "../support/stalling-proxy.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("queue-command");
  server = await startServer([], { folder: folder.path });
}, 60_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function call(words: readonly string[], options: Partial<CallOptions> = {}) {
  return callCli(["queue", ...words, "--server", server.address], {
    folder: folder.path,
    ...options,
    environment: { PATH: process.env["PATH"] ?? "" },
  });
}

const queue = (words: readonly string[], input?: string) => call(words, input === undefined ? {} : { input }).ended;

/** What a command printed with `--output json`, object by object. */
async function json(...words: readonly string[]): Promise<Record<string, unknown>[]> {
  const { stdout, stderr, exitCode } = await queue([...words, "--output", "json"]);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

const statsOf = async (name: string) => (await json("stats", name))[0]!;

test("jobs come from words, from stdin, and from its lines; their ids are printed, and they are in order of urgency", async () => {
  expect((await queue(["create", "mail"])).stdout).toBe("mail is made\n");
  expect((await queue(["enqueue", "mail", "a", "b"])).stdout).toBe("1\n2\n");
  expect((await queue(["enqueue", "mail", "-", "-p", "7"], "all\nof it\n")).stdout).toBe("3\n");
  const lines = await queue(["enqueue", "mail", "--lines", "--key", "gold", "--output", "json"], "x\r\n\ny\nz");
  expect(lines.stdout).toBe(
    ["4", "5", "6"].map((jobId) => `${JSON.stringify({ jobId, duplicate: false })}\n`).join(""),
  );
  const jobs = await json("peek", "mail", "--body-bytes", "100");
  const text = (body: unknown): string => Buffer.from(String(body), "base64").toString();
  expect(jobs[0]).toMatchObject({ jobId: "3", state: "waiting", priority: 7, bodySize: "10" });
  expect(jobs.map(({ body }) => text(body)).toSorted()).toEqual(["a", "all\nof it\n", "b", "x", "y", "z"]);
  expect(jobs.find(({ jobId }) => jobId === "4")).toMatchObject({ fairnessKey: "gold", priority: 3 });
  expect(await statsOf("mail")).toMatchObject({
    waiting: "6",
    offered: "0",
    running: "0",
    delayed: "0",
    dead: "0",
    done: "0",
  });
  expect((await queue(["ls"])).stdout).toMatch(/^mail +6 +0 +0 +0 +0 +0 +0$/mu);
});

test("an id that was given before adds nothing; a delayed job is not handed out, and explain says why", async () => {
  await queue(["create", "later"]);
  const first = await json("enqueue", "later", "a", "--dedup", "order-17", "--delay", "1h");
  expect(first).toEqual([{ jobId: "1", duplicate: false }]);
  expect(await json("enqueue", "later", "a", "--dedup", "order-17")).toEqual([{ jobId: "1", duplicate: true }]);
  expect((await queue(["enqueue", "later", "b", "--id", "invoice:9"])).stdout).toBe("invoice:9\n");
  const [explained] = await json("explain", "later", "1");
  expect(explained).toMatchObject({ state: "delayed", reasons: [{ code: "DELAYED" }] });
  expect((await queue(["explain", "later", "invoice:9"])).stdout).toMatch(/^invoice:9: waiting\n {2}No worker/u);
  expect(await statsOf("later")).toMatchObject({ waiting: "1", delayed: "1" });
  expect((await queue(["purge", "later", "--state", "delayed"])).stdout).toBe("1 job removed\n");
  await queue(["cancel", "later", "invoice:9"]);
  expect(await statsOf("later")).toMatchObject({ waiting: "0", delayed: "0", removed: "2" });
});

test("a program gets the job, and its exit code says what becomes of it", async () => {
  await queue(["create", "exec", "--max-attempts", "2", "--backoff", "1ms"]);
  const script = join(folder.path, "work.sh");
  await writeFile(
    script,
    `body=$(cat)
echo "$body $SLUICE_QUEUE $SLUICE_JOB_ID $SLUICE_PRIORITY $SLUICE_FAILURES $([ "$SLUICE_ATTEMPT" -gt 0 ] && echo attempt)" >> seen
case "$body" in
  back) [ -e been ] && exit 0; touch been; exit 75 ;;
  bad) echo "no such customer" >&2; exit 65 ;;
  fail) echo "first line" >&2; echo "no paper" >&2; exit 3 ;;
esac
`,
  );
  await queue(["enqueue", "exec", "good", "back", "bad", "fail", "-p", "5"]);
  const work = call(["work", "exec", "--exec", `sh ${script}`, "--slots", "2", "--output", "json"]);
  await expect
    .poll(() => statsOf("exec"))
    .toMatchObject({ waiting: "0", running: "0", delayed: "0", done: "2", dead: "2" });
  work.interrupt();
  const { exitCode, stdout } = await work.ended;
  expect(exitCode).toBe(0);
  const outcomes = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { jobId: string; outcome: string; exitCode: number });
  const of = (id: string) => outcomes.filter(({ jobId }) => jobId === id).map((each) => [each.outcome, each.exitCode]);
  expect(of("1")).toEqual([["done", 0]]);
  expect(of("2")).toEqual([
    ["return", 75],
    ["done", 0],
  ]);
  expect(of("3")).toEqual([["reject", 65]]);
  expect(of("4")).toEqual([
    ["retry", 3],
    ["retry", 3],
  ]);
  const seen = await queue(["work", "none", "--exec", "true"]);
  expect(seen.exitCode).toBe(4);
  const dead = await json("dead", "exec", "--body-bytes", "10");
  const reasonOf = (id: string): string | undefined =>
    (dead.find(({ jobId }) => jobId === id)?.["history"] as { reason: string }[] | undefined)?.at(-1)?.reason;
  expect(["3", "4"].map(reasonOf)).toEqual(["exit code 65: no such customer", "exit code 3: no paper"]);
  expect((await queue(["redrive", "exec", "4"])).stdout).toBe("1 job redriven\n");
  expect(await statsOf("exec")).toMatchObject({ waiting: "1", dead: "1" });
});

test("Ctrl-C takes no more jobs and waits for the running one", async () => {
  await queue(["create", "slow"]);
  await queue(["enqueue", "slow", "a", "b"]);
  const go = join(folder.path, "go");
  const work = call(["work", "slow", "--exec", `echo begun; while [ ! -e ${go} ]; do sleep 0.05; done; echo done`]);
  // The worker's own word: the server knows that a job runs before the worker does.
  await expect.poll(() => work.stdout()).toContain("begun");
  expect(await statsOf("slow")).toMatchObject({ running: "1", waiting: "1" });
  work.interrupt();
  await expect.poll(() => work.stderr()).toContain("Waiting for 1 job");
  await writeFile(go, "");
  expect(await work.ended).toMatchObject({ exitCode: 0, stdout: "begun\ndone\n" });
  expect(await statsOf("slow")).toMatchObject({ done: "1", waiting: "1", running: "0", workers: 0 });
});

test("a job that was on its way to the worker at Ctrl-C goes back at once, and the worker says so", async () => {
  await queue(["create", "crossing"]);
  await using proxy = await openStallingProxy(server.address);
  const words = ["queue", "work", "crossing", "--exec", "echo begun", "--server", proxy.address];
  const work = callCli(words, { folder: folder.path, environment: { PATH: process.env["PATH"] ?? "" } });
  await expect.poll(() => work.stderr()).toContain("Working on crossing");
  proxy.stall();
  await queue(["enqueue", "crossing", "a"]);
  await expect.poll(() => statsOf("crossing")).toMatchObject({ running: "1" });
  work.interrupt();
  proxy.resume();
  const { exitCode, stdout, stderr } = await work.ended;
  expect([exitCode, stdout, stderr.split("\n").slice(1)]).toEqual([0, "", ["job 1 goes back: it had not begun", ""]]);
  expect(await statsOf("crossing")).toMatchObject({ waiting: "1", running: "0", workers: 0, failures: "0" });
});

test("a paused queue hands out nothing; drain waits for what runs", async () => {
  await queue(["create", "calm"]);
  await queue(["pause", "calm"]);
  await queue(["enqueue", "calm", "a"]);
  const go = join(folder.path, "calm-go");
  const work = call(["work", "calm", "--exec", `while [ ! -e ${go} ]; do sleep 0.05; done`]);
  await expect.poll(() => statsOf("calm")).toMatchObject({ workers: 1, waiting: "1", paused: true });
  expect(await json("explain", "calm", "1")).toMatchObject([{ reasons: [{ code: "PAUSED" }] }]);
  await queue(["resume", "calm"]);
  await expect.poll(() => statsOf("calm")).toMatchObject({ running: "1" });
  const drain = call(["drain", "calm"]);
  await expect.poll(() => statsOf("calm")).toMatchObject({ paused: true, running: "1" });
  await writeFile(go, "");
  expect(await drain.ended).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  expect(await statsOf("calm")).toMatchObject({ paused: true, running: "0", done: "1" });
  work.interrupt();
  await work.ended;
});

test("schedules are put, listed and removed; a cron expression that is none is a wrong request", async () => {
  await queue(["create", "cron"]);
  const put = await json("schedule", "put", "cron", "nightly", "0 3 * * 1-5", "close the books", "-p", "6");
  expect(put).toMatchObject([{ name: "nightly", cron: "0 3 * * 1-5", priority: 6 }]);
  expect((await queue(["schedule", "ls", "cron"])).stdout).toMatch(/^nightly +0 3 \* \* 1-5 +UTC +\d{4}-/mu);
  expect((await queue(["schedule", "put", "cron", "bad", "61 * * * *"])).exitCode).toBe(2);
  expect((await queue(["schedule", "rm", "cron", "nightly"])).exitCode).toBe(0);
  expect(await json("schedule", "ls", "cron")).toEqual([]);
});

test("lines are enqueued as they come, and stats follow them", async () => {
  await queue(["create", "pipe"]);
  const stdin = new PassThrough();
  const enqueue = call(["enqueue", "pipe", "--lines"], { stdin });
  stdin.write("one\ntwo\nthr");
  await expect.poll(() => enqueue.stdout()).toBe("1\n2\n");
  const watch = call(["stats", "pipe", "--watch", "--interval", "10ms", "--output", "json"]);
  stdin.end("ee\n");
  expect(await enqueue.ended).toMatchObject({ exitCode: 0, stdout: "1\n2\n3\n" });
  await expect.poll(() => watch.stdout()).toContain('"waiting":"3"');
  watch.interrupt();
  expect(await watch.ended).toMatchObject({ exitCode: 0, stderr: "" });
});

test("what is wrong is said with its exit code", async () => {
  await queue(["create", "full", "--jobs-max", "2"]);
  const codeOf = async (words: readonly string[]) => (await queue(words)).exitCode;
  expect(await codeOf(["stats", "nowhere"])).toBe(4);
  expect(await codeOf(["explain", "full", "99"])).toBe(4);
  expect(await codeOf(["create", "full"])).toBe(1);
  expect(await codeOf(["create", "Not A Name"])).toBe(2);
  expect(await codeOf(["enqueue", "full", "a", "b", "c"])).toBe(7);
  expect(await codeOf(["enqueue", "full", "a", "-p", "8"])).toBe(2);
  expect(await codeOf(["enqueue", "full", "a", "b", "--dedup", "x"])).toBe(2);
  expect(await codeOf(["work", "full", "--exec", "true", "--slots", "2", "--window", "1"])).toBe(2);
  expect(await codeOf(["update", "full"])).toBe(2);
  expect((await json("update", "full", "--weight", "gold=3", "--lease", "5s"))[0]).toMatchObject({
    settings: { leaseMs: 5000, weights: { gold: 3 } },
  });
  await queue(["enqueue", "full", "a"]);
  const refused = await queue(["delete", "full"]);
  expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining("FAILED_PRECONDITION")]);
  expect(await codeOf(["delete", "full", "--force"])).toBe(0);
  expect(await codeOf(["stats", "full"])).toBe(4);
});
