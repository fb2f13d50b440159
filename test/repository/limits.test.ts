// docs/guides/limits.md says what the code says: the same limits and settings, with the same defaults, and tests that exist.

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DEFAULT_GRPC_LIMITS, DEFAULT_HTTP1_LIMITS, DEFAULT_HTTP2_LIMITS } from "@sluice/rpc";
import { settings } from "@sluice/server";
import { describe, expect, test } from "vitest";
import { rootFolder } from "../../scripts/command.ts";

const page = join(rootFolder, "docs/guides/limits.md");
const text = await readFile(page, "utf8");

/** The rows of the table under a heading, as cells without their code marks. */
function rowsOf(heading: string): string[][] {
  const section = text.split(/^## /mu).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  const lines = section.split("\n").filter((line) => line.startsWith("| `"));
  return lines.map((line) =>
    line
      .slice(2, -2)
      .split(" | ")
      .map((cell) => cell.replaceAll("`", "")),
  );
}

function defaultOf(key: string): string | undefined {
  const found = settings.find((each) => each.key === key);
  return found === undefined ? undefined : String(found.about.default);
}

const OF_CLIENTS = "of the client";

describe.each([
  ["HTTP/2", DEFAULT_HTTP2_LIMITS],
  ["HTTP/1.1", DEFAULT_HTTP1_LIMITS],
  ["gRPC", DEFAULT_GRPC_LIMITS],
])("limits of %s", (heading, defaults) => {
  const rows = rowsOf(heading);

  test("the page names those that the code has", () => {
    expect(rows.map(([name]) => name)).toEqual(Object.keys(defaults));
  });

  test("each is a setting, with the page's default", () => {
    for (const [name, key = "", value] of rows) {
      if (key !== OF_CLIENTS) expect(defaultOf(key), name).toBe(value);
    }
    expect(rows.filter(([, key]) => key === OF_CLIENTS).length).toBe(heading === "gRPC" ? 3 : 0);
  });

  test("each has a test that exists", async () => {
    for (const [name, , , , shownBy = ""] of rows) {
      const { path = "", title } = /\]\((?<path>[^)]+)\): (?<title>.+)$/u.exec(shownBy)?.groups ?? {};
      expect(title, name).toBeDefined();
      const source = await readFile(join(dirname(page), path), "utf8");
      expect(source.includes(`"${title}"`), `${name}: "${title}" in ${path}`).toBe(true);
    }
  });
});

test.each([
  ["How long connections live", "connections."],
  ["Logs, files and queues", "limits."],
])("%s: the page has the settings and their defaults", (heading, prefix) => {
  const elsewhere = ["HTTP/2", "gRPC"].flatMap((other) => rowsOf(other).map(([, key]) => key));
  const wanted = settings.filter(({ key }) => key.startsWith(prefix) && !elsewhere.includes(key));
  expect(rowsOf(heading).map(([key, value]) => [key, value])).toEqual(
    wanted.map(({ key, about }) => [key, String(about.default)]),
  );
});
