import { Code } from "@sluice/rpc";
import { expect, test } from "vitest";
import { settle } from "./testing/chance.ts";
import { ModelServer } from "./testing/model-log.ts";
import { faithful, messagesOf, names, openWriter, writeAll } from "./testing/open-writer.ts";

test("each entry waits for company anew, also after one that has waited", async () => {
  const { server } = faithful();
  const { clock, writer } = openWriter(server, { delayMs: 10 });
  await writer.write({ message: "m1" });
  await clock.advanceInTurns(10);
  await writer.write({ message: "m2" });
  await clock.advanceInTurns(9);
  expect(messagesOf(server.call)).toEqual([["m1"]]);
  await writer.write({ message: "m3" });
  await clock.advanceInTurns(1);
  expect(messagesOf(server.call)).toEqual([["m1"], ["m2", "m3"]]);
  await writer.close();
});

test("what was answered does not count against the bytes of the next batch", async () => {
  const { server } = faithful();
  const { writer } = openWriter(server, { batchBytesMax: 180, delayMs: 1e6 });
  for (let batch = 1; batch <= 3; batch++) {
    for (let i = 0; i < 2; i++) await writer.write({ message: "x".repeat(86), timestamp: 1n }); // 90 bytes encoded
    await settle();
    expect(messagesOf(server.call)).toHaveLength(batch);
  }
  await writer.close();
});

test("an answer to a part of what is under way does not quiet the alarm for the rest", async () => {
  const server = new ModelServer();
  const { clock, writer } = openWriter(server, { answerTimeoutMs: 1000, delayMs: 0 });
  await writeAll(writer, names(2));
  await clock.advanceInTurns(0);
  server.call.answer({ acknowledged: 1n });
  await clock.advanceInTurns(999);
  expect(server.calls).toHaveLength(1);
  await clock.advanceInTurns(200);
  expect(server.calls).toHaveLength(2);
  expect(messagesOf(server.call)).toEqual([["m2"]]);
  server.call.answer({ acknowledged: 1n });
  await writer.close();
});

test("a server that says nothing at all is given up, with nothing sent to it", async () => {
  const server = new ModelServer();
  server.firstWindow = 0;
  const { clock, writer } = openWriter(server, { answerTimeoutMs: 1000, delayMs: 0 });
  await writer.write({ message: "m1" });
  await clock.advanceInTurns(999);
  expect([server.calls.length, server.call.requests.length]).toEqual([1, 0]);
  server.firstWindow = 1;
  await clock.advanceInTurns(200);
  expect(server.calls).toHaveLength(2);
  expect(messagesOf(server.call)).toEqual([["m1"]]);
  server.call.answer({ acknowledged: 1n });
  await writer.close();
});

test("a server that ends the stream of a writer that closes, without answering, is called again", async () => {
  const { log, server } = faithful();
  const early = new ModelServer((_request, call) => call.responses.end());
  let calls = 0;
  const either = new ModelServer();
  either.writeLogStream = (requests, options) => (calls++ === 0 ? early : server).writeLogStream(requests, options);
  const { clock, writer } = openWriter(either);
  await writeAll(writer, names(2));
  const closing = writer.close();
  await clock.advanceInTurns(99);
  expect(calls).toBe(1);
  await clock.advanceInTurns(1);
  await closing;
  expect(log.entries.map(({ message }) => message)).toEqual(names(2));
});

test("a server that says it has seen more than was sent gives no credit with it", async () => {
  const server = new ModelServer();
  const { clock, writer } = openWriter(server, { delayMs: 0 });
  await writer.write({ message: "m1" });
  await clock.advanceInTurns(0);
  server.call.answer({ acknowledged: 1n, flow: { seen: 1000n, window: 1 } });
  await writeAll(writer, names(3, 2));
  await clock.advanceInTurns(0);
  expect(messagesOf(server.call)).toEqual([["m1"], ["m2"]]);
  server.call.answer({ acknowledged: 2n, flow: { seen: 2n, window: 2 } });
  await settle();
  expect(messagesOf(server.call)).toEqual([["m1"], ["m2"], ["m3", "m4"]]);
  server.call.answer({ acknowledged: 4n });
  await writer.close();
});

test("a server that takes an acknowledgement back is not believed", async () => {
  const server = new ModelServer();
  const { clock, writer } = openWriter(server, { delayMs: 0 });
  await writeAll(writer, names(3));
  await clock.advanceInTurns(0);
  server.call.answer({ acknowledged: 2n });
  await settle();
  server.call.answer({ acknowledged: 1n });
  await expect(writer.close()).rejects.toMatchObject({ unacknowledged: 1, cause: { code: Code.INTERNAL } });
});

test("a session that had anything answered begins the count of failures anew", async () => {
  const server = new ModelServer((_request, call) => {
    call.answer({ acknowledged: 1n });
    call.lose();
  });
  const failures: number[] = [];
  const { clock, writer } = openWriter(server, {
    batchEntriesMax: 1,
    retry: { attemptsMax: 2 },
    onDisconnected: (_error, retry) => failures.push(retry.failures),
  });
  await writeAll(writer, names(4));
  const closing = writer.close();
  await clock.advanceInTurns(60_000);
  await closing;
  expect(failures).toEqual([1, 1, 1]);
});
