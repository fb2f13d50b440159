// Files over plain HTTP/1.1, as curl gets them: ranges, and a whole file.

import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { writeLargeFile } from "../large-file.ts";
import { findNginx } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const run = promisify(execFile);
const file = "large.bin";
const rangeBytes = 64 * 1024;
const bytesPerMb = 1e6;
const timeoutMs = 120_000;

export const filesHttp: Scenario = {
  name: "files-http",
  summary: "curl: ranges of 64 KiB one after another, and a whole file, over HTTP/1.1, beside nginx",
  async run(context) {
    const { stdout } = await run("curl", ["--version"]).catch((cause: unknown) => {
      throw new Error("files-http needs curl", { cause });
    });
    const files = join(context.folder, "files");
    await mkdir(files);
    const size = (context.isQuick ? 256 : 1024) * 2 ** 20;
    await writeLargeFile(join(files, file), size);
    const count = context.isQuick ? 500 : 2_000;
    const { contestants, missing } = partEntrants([await findNginx(files, { http1: true })]);
    const ours = sluice(join(context.folder, "data"), { settings: ["--files", files] });
    return await withServers([ours, ...contestants], async (servers) => {
      const ranges = await takeTurns(servers, context.runs, async (server) => {
        context.say(`ranges: ${server.who}`);
        return count / (await getRanges(context, server, { count, size }));
      });
      const whole = await takeTurns(servers, context.runs, async (server) => {
        context.say(`whole: ${server.who}`);
        return size / bytesPerMb / (await getWhole(server, size));
      });
      return {
        scenario: "files-http",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion, curl: stdout.split(" ", 2)[1]! },
        missing,
        cases: [
          { title: `${count} ranges of 64 KiB, one after another`, unit: "requests/s", measured: ranges, notes: [] },
          { title: `${size / 2 ** 20} MiB`, unit: "MB/s", measured: whole, notes: [] },
        ],
        notes: [
          "one curl, one connection, HTTP/1.1; from its first connect to its last byte, by curl's own clock; from the page cache",
          "ours looks after each read whether the file still is the version that the answer began with; nginx answers by sendfile",
        ],
      };
    });
  },
};

function urlOf({ who, process: { address } }: Server): string {
  return `http://${address}/${who === us ? "files/" : ""}${file}`;
}

/** Returns seconds. */
async function getRanges(
  { folder }: ScenarioContext,
  server: Server,
  { count, size }: { readonly count: number; readonly size: number },
): Promise<number> {
  const step = Math.floor(size / count);
  const requests = Array.from({ length: count }, (_, i) => {
    const range = `${i * step}-${i * step + rangeBytes - 1}`;
    return `url = "${urlOf(server)}"\nrange = ${range}\noutput = /dev/null\nwrite-out = "%{http_code} %{size_download} %{time_total}\\n"\n`;
  });
  const config = join(folder, "ranges.curl");
  await writeFile(config, requests.join("next\n"));
  const answers = await curl(["--config", config]);
  if (answers.length !== count || answers.some(({ status, bytes }) => status !== 206 || bytes !== rangeBytes)) {
    throw new Error(`Not all of ${count} ranges came`);
  }
  return answers.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** Returns seconds. */
async function getWhole(server: Server, size: number): Promise<number> {
  const format = "%{http_code} %{size_download} %{time_total}\\n";
  const [answer] = await curl(["--output", "/dev/null", "--write-out", format, urlOf(server)]);
  if (answer?.status !== 200 || answer.bytes !== size) throw new Error(`${answer?.bytes} bytes came, not ${size}`);
  return answer.seconds;
}

async function curl(words: readonly string[]) {
  const { stdout } = await run("curl", ["--silent", "--fail", ...words], { timeout: timeoutMs, maxBuffer: 2 ** 22 });
  return stdout
    .trim()
    .split("\n")
    .map((line) => {
      const [status, bytes, seconds] = line.split(" ").map(Number);
      return { status, bytes, seconds: seconds! };
    });
}
