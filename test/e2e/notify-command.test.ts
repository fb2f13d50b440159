// `sluice notify` against a real server: what it prints, how it exits, and what becomes of the inbox.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CallOptions, callCli } from "../support/cli-in-process.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("notify-command");
  server = await startServer([], { folder: folder.path });
}, 60_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function call(words: readonly string[], options: Partial<CallOptions> = {}) {
  const environment = { PATH: process.env["PATH"] ?? "" };
  return callCli(["notify", ...words, "--server", server.address], { folder: folder.path, environment, ...options });
}

const notify = (...words: string[]) => call(words).ended;
const send = async (...words: string[]): Promise<string> => {
  const { stdout, stderr, exitCode } = await notify("send", ...words);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout.trim();
};
async function json(...words: string[]): Promise<Record<string, unknown>[]> {
  const { stdout, stderr, exitCode } = await notify(...words, "--output", "json");
  expect([exitCode, stderr]).toEqual([0, ""]);
  return linesOf(stdout);
}
const linesOf = (stdout: string) =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("send prints the id; list shows the newest first, marked; counts, read, archive and their way back", async () => {
  const first = await send(
    "--user",
    "ann",
    "--title",
    "Paid",
    "-m",
    "thank you",
    "-t",
    "order.paid",
    "-p",
    "7",
    "--metadata",
    "order=17",
  );
  const second = await send("-u", "ann", "-u", "bob", "--title", "Two\u001b[31m", "--url", "https://example.org/2");
  const listed = await notify("list", "--user", "ann", "--utc");
  const [two, one] = listed.stdout.trim().split("\n");
  expect(two).toMatch(new RegExp(`^● P0 [\\d-]+ [\\d:.]+Z Two\\\\x1b\\[31m https://example.org/2 #${second}$`, "u"));
  expect(one).toMatch(new RegExp(`^● P7 [\\d-]+ [\\d:.]+Z order.paid Paid: thank you #${first}$`, "u"));
  expect((await json("list", "--user", "ann", "--type", "order.*"))[0]).toMatchObject({
    id: first,
    title: "Paid",
    metadata: { order: "17" },
  });
  expect((await notify("counts", "--user", "ann")).stdout).toBe("2 unread (P7: 1, P0: 1)\n");
  expect((await notify("read", first, "--user", "ann")).stdout).toBe("1 notification read\n");
  expect(await json("list", "--user", "ann", "--unread")).toMatchObject([{ id: second }]);
  expect((await notify("read", first, "--user", "ann", "--undo")).stdout).toBe("1 notification not read any more\n");
  expect((await notify("archive", second, "--user", "ann")).stdout).toBe("1 notification archived\n");
  expect(await json("list", "--user", "ann")).toMatchObject([{ id: first }]);
  expect(await json("list", "--user", "ann", "--archived")).toHaveLength(2);
  expect((await notify("read", "--all", "--user", "ann")).stdout).toMatch(/^[12] notifications? read\n$/u);
  expect(await json("counts", "--user", "ann")).toMatchObject([{ unread: 0 }]);
  // What ann did is hers: bob has his own.
  expect(await json("counts", "--user", "bob")).toMatchObject([{ unread: 1 }]);
});

test("topics are joined, written to and left; everyone is everyone; the same key publishes once", async () => {
  expect((await notify("topics", "--user", "tom", "--join", "news", "--join", "sport")).stdout).toMatch(
    /^news +1\nsport +1$/mu,
  );
  await send("--topic", "news", "--title", "in the news");
  await notify("topics", "--user", "tom", "--leave", "news");
  await send("--topic", "news", "--title", "too late");
  const id = await send("--everyone", "--title", "all", "--key", "k1");
  const again = await notify("send", "--everyone", "--title", "all", "--key", "k1");
  expect([again.stdout, again.stderr]).toEqual([`${id}\n`, "It was there already: nothing was published.\n"]);
  const titles = (await json("list", "--user", "tom")).map(({ title }) => title);
  expect(titles).toEqual(["all", "in the news"]);
  expect(await json("topics")).toMatchObject([
    { name: "news", members: "0" },
    { name: "sport", members: "1" },
  ]);
});

test("a policy is shown, changed in part, and reset", async () => {
  expect((await notify("policy", "--user", "pia")).stdout).toContain("the default");
  await notify("policy", "--user", "pia", "--max-items", "1", "--overflow", "reject");
  const [policy] = await json(
    "policy",
    "--user",
    "pia",
    "--quiet",
    "00:00-23:59",
    "--time-zone",
    "UTC",
    "--breaking",
    "5",
  );
  expect(policy).toMatchObject({ maxItems: 1, isDefault: false, quietHours: { timeZone: "UTC", breakingPriority: 5 } });
  await send("--user", "pia", "--title", "fits");
  const refused = await notify("send", "--user", "pia", "--title", "does not");
  expect(refused.exitCode).toBe(7);
  expect(refused.stderr).toContain("pia");
  expect((await notify("policy", "--user", "pia", "--reset")).stdout).toContain("the default");
  await send("--user", "pia", "--title", "fits again");
});

test("watch shows what is there and what comes: lines in a pipe, objects as JSON, a list on a terminal", async () => {
  await send("--user", "wim", "--title", "before");
  const pipe = call(["watch", "--user", "wim"]);
  const objects = call(["watch", "--user", "wim", "--only-new", "--output", "json"]);
  const terminal = call(["watch", "--user", "wim", "--device", "tty"], { isTerminal: true });
  await expect.poll(() => pipe.stdout()).toContain("before");
  await expect.poll(() => objects.stdout()).toContain('"counts"');
  await expect.poll(() => terminal.stdout()).toContain("1 unread notification");
  const id = await send("--user", "wim", "--title", "live", "-p", "6");
  await expect.poll(() => pipe.stdout()).toContain("live");
  await expect.poll(() => terminal.stdout()).toContain("the most urgent of priority 6");
  await notify("read", id, "--user", "wim");
  await expect.poll(() => terminal.stdout()).toMatch(/1 unread notification(?!.*2 unread)/su);
  await expect.poll(() => objects.stdout()).toContain('"changed"');
  for (const watching of [pipe, objects, terminal]) {
    watching.interrupt();
    expect((await watching.ended).exitCode).toBe(0);
  }
  expect(pipe.stdout()).not.toContain("\u001b");
  const told = linesOf(objects.stdout());
  expect(told.filter(({ title }) => title !== undefined)).toMatchObject([{ id, title: "live", priority: 6 }]);
  expect(told.find(({ changed }) => changed !== undefined)).toMatchObject({ changed: { id, state: { read: true } } });
});

test("what is wrong is said, with an exit code of its own", async () => {
  const outcomes = [
    [["send", "--title", "for nobody"], 2, "--user"],
    [["send", "--topic", "nobody's", "--title", "x"], 4, "nobody"],
    [["send", "--user", "ann", "--title", "x", "--priority", "8"], 2, "0 to 7"],
    [["read", "--user", "ann"], 2, "--all"],
    [["read", "999999", "--user", "ann"], 4, "999999"],
    [["policy", "--user", "ann", "--quiet", "late"], 2, "22:30-07:00"],
    [["policy", "--user", "ann", "--quiet", "22:00-07:00", "--time-zone", "Mars"], 2, "time_zone"],
    [["topics", "--join", "x"], 2, "--user"],
  ] as const;
  for (const [words, exitCode, text] of outcomes) {
    const ended = await notify(...words);
    expect([words, ended.exitCode]).toEqual([words, exitCode]);
    expect(ended.stderr).toContain(text);
  }
});
