// Python's grpcio, with stubs that its own tools made. Its protobuf is strict: one string in the log that is no UTF-8, and
// it could never read past it.
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, expect, test, type TestContext } from "vitest";
import { runCommand } from "../../scripts/command.ts";
import { useLogServer } from "../support/log-server.ts";
import { findPython } from "../tools/python.ts";
import { mayFetch } from "../tools/tool.ts";

const SCRIPT = join(import.meta.dirname, "python", "read_and_write.py");

const logs = useLogServer("python");
let tool: Awaited<ReturnType<typeof findPython>>;

beforeAll(async () => {
  tool = await findPython({ mayFetch });
}, 300_000);

async function python({ skip }: TestContext, ...words: string[]): Promise<unknown> {
  if (tool.kind === "missing") return skip(tool.reason);
  const { code, stdout, output } = await runCommand([tool.path, SCRIPT, logs.address, ...words], {
    env: { PYTHONPATH: tool.stubs, PYTHONIOENCODING: "utf-8" },
  });
  if (code !== 0) throw new Error(`Python ended with ${code}:\n${output}`);
  return JSON.parse(stdout);
}

const ODD = [
  "",
  "\u0000",
  "\u007f\u0080",
  "é",
  "e\u0301",
  "\u202egnirts",
  "\ufeff",
  "\uffff",
  "😀",
  "👨‍👩‍👧",
  "\u{10ffff}",
  "\ud7ff\ue000",
  "\u2028\u2029",
  "ﷺ",
];

test("it reads everything that is in the log, odd Unicode included", async (context) => {
  const random = fc.sample(fc.string({ unit: "binary", maxLength: 40 }), { numRuns: 200, seed: 1 });
  const messages = [...ODD, ...random];
  await logs.client.write(
    ...messages.map((message, i) => ({ application: "odd", message, fields: { [message]: messages.at(-i) ?? "" } })),
  );
  const entries = (await python(context, "read")) as { message: string; fields: Record<string, string> }[];
  expect(entries.slice(-messages.length)).toEqual(
    messages.map(
      (message, i) => expect.objectContaining({ message, fields: { [message]: messages.at(-i) ?? "" } }) as unknown,
    ),
  );
});

test("an entry that is no UTF-8, or forges the server's fields, is rejected by its index; the log stays readable", async (context) => {
  const answer = await python(context, "write-bad");
  expect(answer).toEqual({
    accepted: 2,
    rejected: [
      { index: 1, reason: "INVALID_UTF8" },
      { index: 2, reason: "INVALID_UTF8" },
      { index: 3, reason: "RESERVED_FIELD" },
    ],
  });
  const entries = (await python(context, "read")) as { message: string; sequence: number }[];
  expect(entries.slice(-2).map(({ message }) => message)).toEqual(["good", "good"]);
  expect(entries.map(({ sequence }) => sequence)).toEqual(entries.map((_, i) => i + 1));
});

test("it follows, and cancels", async (context) => {
  expect(await python(context, "follow", "5")).toEqual(["m0", "m1", "m2", "m3", "m4"]);
});

test("it reads batches, counts, and the context of an entry: messages that are put together of stored bytes", async (context) => {
  const entries = Array.from({ length: 25 }, (_, i) => ({
    application: "batched",
    level: i < 20 ? "INFO" : "ERROR",
    timestamp: 5n,
    message: `${i} ${"é".repeat(i * 10)}`,
    fields: { i: String(i) },
  }));
  await logs.client.write(...entries);
  const batches = (await python(context, "batches", "10")) as { cursors: string[] };
  expect(batches).toMatchObject({ isSame: true, sizes: [10, 10, 5], controls: [] });
  const around = await python(context, "context", batches.cursors[24]!);
  const messages = entries.slice(22).map(({ message }) => message);
  expect(around).toEqual({ messages, index: 2, more: [true, false] });
  expect(await python(context, "count")).toEqual({
    total: 25,
    rows: [
      ["batched", 9, 20],
      ["batched", 17, 5],
    ],
  });
});
