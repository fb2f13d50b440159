// curl, by the commands of docs/guides/browser.md.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";
import { findCodeBlocks } from "../repository/code-blocks.ts";
import { useLogServer } from "../support/log-server.ts";

const logs = useLogServer("curl");
const page = await readFile(join(rootFolder, "docs/guides/browser.md"), "utf8");
const commands = findCodeBlocks(page).filter(({ heading, language }) => heading === "With curl" && language === "sh");

test("the guide's commands say what it promises", async ({ skip }) => {
  const version = await runCommand(["curl", "--version"]).catch(() => undefined);
  if (version?.code !== 0) skip("there is no curl here");
  expect(commands).toHaveLength(4);
  for (const { code: command, remark = "" } of commands) {
    const [, pattern = "nothing is promised"] = /^says "((?:[^"\\]|\\.)*)"$/u.exec(remark) ?? [];
    const ran = await runCommand(["bash", "-c", command.replace("localhost:8080", logs.address)]);
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(new RegExp(pattern, "m")) as string });
  }
});
