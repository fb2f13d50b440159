// A stranger writes into several logs, with grpcurl alone: routes, what is listed, and what a log at its quota answers.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { findGoTool } from "../tools/go-tools.ts";
import { mayFetch, type Tool } from "../tools/tool.ts";

let tool: Tool;
beforeAll(async () => {
  tool = await findGoTool("grpcurl", { mayFetch });
}, 300_000);

function grpcurl({ skip }: TestContext, ...words: string[]): ReturnType<typeof runCommand> {
  return runCommand([tool.kind === "ready" ? tool.path : skip(tool.reason), "-plaintext", ...words]);
}

const SERVICE = "sluice.logs.v1.LogService";

test("routes, ListLogs, MEMORY, and a quota", async (context) => {
  await using folder = await openTemporaryFolder("stranger-writes");
  const config = "logs:\n  audit:\n    quotaBytes: 64KiB\nroutes:\n  pay-*: audit\n";
  await writeFile(join(folder.path, "sluice.yaml"), config);
  await using server = await startServer([], { folder: folder.path });
  const call = async (method: string, request: object) => {
    const { code, output } = await grpcurl(
      context,
      "-d",
      JSON.stringify(request),
      server.address,
      `${SERVICE}/${method}`,
    );
    return { code, output };
  };
  const entries = ["pay-1", "shop", "pay-2"].map((application) => ({ application, message: "hello" }));
  const written = await call("WriteLogs", { entries, durability: "DURABILITY_MEMORY" });
  expect(written.output).toMatch(/"accepted": "3"/u);
  // The last one is the second of "audit".
  expect(written.output).toMatch(/"lastSequence": "2"/u);
  const listed = await call("ListLogs", {});
  expect(JSON.parse(listed.output)).toMatchObject({
    logs: [
      { name: "audit", entries: "2", quotaBytes: "65536", headCursor: expect.any(String) as unknown },
      { name: "default" },
    ],
  });
  const large = await call("WriteLogs", { log: "audit", entries: [{ message: "x".repeat(60_000) }] });
  expect(large.code).not.toBe(0);
  expect(large.output).toMatch(/Code: ResourceExhausted/u);
  expect(large.output).toMatch(/Cannot append to log "audit": it would take \d+ bytes on disk, its quota is 65536/u);
  expect(large.output).toMatch(/google\.rpc\.QuotaFailure/u);
  const read = await call("StreamLogs", { log: "audit", control_frames: false });
  expect(read.output.match(/"message": "hello"/gu)).toHaveLength(2);
});
