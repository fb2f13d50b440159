import { create } from "@bufbuild/protobuf";
import { type LogBatch, LogBatchSchema, type StreamControl, StreamControlSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { readPage, type StreamPageCall } from "./log-page.ts";
import { entry } from "./testing/open-stream.ts";

const batch = (...sequences: number[]): LogBatch => create(LogBatchSchema, { entries: sequences.map(entry) });
const control = (kind: StreamControl["kind"]): LogBatch =>
  create(LogBatchSchema, { control: create(StreamControlSchema, { kind: kind as never }) });
const sync = (cursor: string): LogBatch =>
  control({ case: "sync", value: { $typeName: "sluice.stream.v1.Sync", cursor } });
const late = new RpcError(Code.DEADLINE_EXCEEDED, "late");

/** A server that sends these messages, and then ends, with an error or without. */
function answering(messages: readonly LogBatch[], error?: RpcError): StreamPageCall & { requests: unknown[] } {
  const requests: unknown[] = [];
  const call = async function* (request: unknown): AsyncGenerator<LogBatch> {
    requests.push(request);
    yield* messages;
    if (error !== undefined) throw error;
  };
  return Object.assign(call, { requests });
}

const options = { signal: new AbortController().signal };

test("is asked for from the newest entry backwards, and has the token of the next one", async () => {
  const call = answering([batch(9, 8), batch(7), sync("c7")]);
  const page = await readPage({ limit: 3, logLevel: "WARN", olderThan: "c10" }, call, options);
  expect(call.requests).toMatchObject([
    { order: 2, limit: 3n, resumeAfter: "c10", logLevel: "WARN", controlFrames: true },
  ]);
  expect(page.entries.map(({ message }) => message)).toEqual(["m9", "m8", "m7"]);
  expect(page).toMatchObject({ olderToken: "c7", isComplete: true, gaps: [], notices: [] });
});

test("without anything older has no token", async () => {
  expect((await readPage({ limit: 3 }, answering([batch(2, 1), sync("")]), options)).olderToken).toBeUndefined();
});

test("that took too long is what was found, and goes on where the search was", async () => {
  const found = await readPage({ limit: 3 }, answering([batch(9), sync("c5")], late), options);
  expect(found).toMatchObject({ olderToken: "c5", isComplete: false });
  const nothing = await readPage({ limit: 3 }, answering([sync("c5")], late), options);
  expect([nothing.entries, nothing.olderToken]).toEqual([[], "c5"]);
  await expect(readPage({ limit: 3 }, answering([], late), options)).rejects.toBe(late);
  const broken = new RpcError(Code.UNAVAILABLE, "gone");
  await expect(readPage({ limit: 3 }, answering([batch(9)], broken), options)).rejects.toBe(broken);
});
