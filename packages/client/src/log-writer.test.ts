import { Code, RpcError } from "@sluice/rpc";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LogWriterFailed } from "./log-writer.ts";
import { settle } from "./testing/chance.ts";
import { ModelLog, ModelServer } from "./testing/model-log.ts";
import { faithful, messagesOf, names, openWriter, writeAll } from "./testing/open-writer.ts";

test("entries wait for company no longer than the delay", async () => {
  const { server } = faithful();
  const { clock, writer } = openWriter(server, { delayMs: 10, log: "audit", producer: "p" });
  await writeAll(writer, ["m1", "m2"]);
  await clock.advanceInTurns(9);
  expect(server.calls.flatMap(messagesOf)).toEqual([]);
  await writer.write({ message: "m3" });
  await clock.advanceInTurns(1);
  await writer.write({ message: "m4" });
  await clock.advanceInTurns(10);
  expect(messagesOf(server.call)).toEqual([["m1", "m2", "m3"], ["m4"]]);
  expect(
    server.call.requests.map(({ log, producer, firstProducerSequence, settledProducerSequence }) => ({
      log,
      producer,
      firstProducerSequence,
      settledProducerSequence,
    })),
  ).toEqual([
    { log: "audit", producer: "p", firstProducerSequence: 1n, settledProducerSequence: 0n },
    { log: "", producer: "", firstProducerSequence: 4n, settledProducerSequence: 3n },
  ]);
  await writer.close();
  expect([server.call.isEnded, clock.timers]).toEqual([true, 0]);
});

test("a full batch leaves at once: by entries, or by bytes", async () => {
  const { server } = faithful();
  const byCount = openWriter(server, { batchEntriesMax: 2, delayMs: 1e6 });
  await writeAll(byCount.writer, names(5));
  await settle();
  expect(messagesOf(server.call)).toEqual([
    ["m1", "m2"],
    ["m3", "m4"],
  ]);
  await byCount.writer.close();
  expect(messagesOf(server.call)).toEqual([["m1", "m2"], ["m3", "m4"], ["m5"]]);

  const byBytes = openWriter(server, { batchBytesMax: 250, delayMs: 1e6 });
  await writeAll(byBytes.writer, ["a".repeat(100), "b".repeat(100), "c".repeat(100), "d".repeat(600)]);
  await byBytes.writer.close();
  expect(messagesOf(server.call).map((batch) => batch.map((each) => each[0]).join(""))).toEqual(["ab", "c", "d"]);
});

test("flush waits for the acknowledgement, and lets nothing linger", async () => {
  const server = new ModelServer();
  const { writer } = openWriter(server, { delayMs: 1e6 });
  await writeAll(writer, names(2));
  let isFlushed = false;
  const flushed = writer.flush().then(() => (isFlushed = true));
  await settle();
  expect(messagesOf(server.call)).toEqual([["m1", "m2"]]);
  server.call.answer({ acknowledged: 1n });
  await settle();
  expect(isFlushed).toBe(false);
  server.call.answer({ acknowledged: 2n });
  await flushed;
  await writer.flush();
  await writer.close();
});

test("what is unacknowledged is sent again, with the same sequences", async () => {
  const server = new ModelServer();
  const through: number[] = [];
  const lost: unknown[] = [];
  const { clock, writer } = openWriter(server, {
    batchEntriesMax: 2,
    producer: "p",
    onAcknowledged: (sequence) => through.push(sequence),
    onDisconnected: (_error, retry) => lost.push(retry),
  });
  await writeAll(writer, names(4));
  await settle();
  server.call.answer({ acknowledged: 1n, flow: { seen: 2n, window: 10 } });
  await settle();
  server.call.lose();
  await clock.advanceInTurns(100);
  expect(server.calls).toHaveLength(2);
  expect(messagesOf(server.call)).toEqual([["m2", "m3"]]);
  expect(server.call.requests[0]).toMatchObject({
    producer: "p",
    firstProducerSequence: 2n,
    settledProducerSequence: 1n,
  });
  server.call.answer({ acknowledged: 2n, flow: { seen: 2n, window: 10 } });
  await clock.advanceInTurns(10);
  server.call.answer({ acknowledged: 3n });
  await writer.close();
  expect(through).toEqual([1, 3, 4]);
  expect(lost).toEqual([{ retryInMs: 100, failures: 1 }]);
});

test("the server's credit is kept: entries, bytes, and a pause", async () => {
  const server = new ModelServer();
  server.firstWindow = 0;
  const { writer } = openWriter(server, { batchEntriesMax: 3, delayMs: 0 });
  await writeAll(writer, names(9));
  await settle();
  expect(messagesOf(server.call)).toEqual([]);
  server.call.answer({ flow: { seen: 0n, window: 3 } });
  await settle();
  expect(messagesOf(server.call)).toEqual([names(3)]);
  server.call.answer({ flow: { seen: 2n, window: 3 } });
  await settle();
  expect(messagesOf(server.call)).toEqual([names(3), ["m4", "m5"]]);
  server.call.answer({ flow: { seen: 5n, window: 0 } });
  await settle();
  expect(messagesOf(server.call)).toHaveLength(2);
  const bytes = writer.unacknowledged().length;
  expect(bytes).toBe(9);
  server.call.answer({ flow: { seen: 5n, window: 100, windowBytes: 1n } });
  await settle();
  expect(messagesOf(server.call).slice(2)).toEqual([["m6"]]); // nothing under way: one goes, however small the window
  server.call.answer({ acknowledged: 6n, flow: { seen: 6n, window: 100, windowBytes: 1000n } });
  await settle();
  expect(messagesOf(server.call).slice(3)).toEqual([["m7", "m8", "m9"]]);
  server.call.answer({ acknowledged: 9n });
  await writer.close();
});

test("write makes its caller wait when the buffer is full, and refuses when the caller does not", async () => {
  const server = new ModelServer();
  const { writer } = openWriter(server, { bufferBytesMax: 250, delayMs: 1e6 });
  const hundred = { message: "x".repeat(86), timestamp: 1n }; // 90 bytes encoded
  await writer.write(hundred);
  await writer.write(hundred);
  let hasRoom = false;
  const third = writer.write(hundred).then(() => (hasRoom = true));
  await settle();
  expect(hasRoom).toBe(false);
  void writer.write(hundred);
  void writer.write(hundred);
  await expect(writer.write(hundred)).rejects.toThrow("Cannot keep more than 500 bytes of unacknowledged entries");
  const flushed = writer.flush();
  await settle();
  server.call.answer({ acknowledged: 3n });
  await third;
  server.call.answer({ acknowledged: 5n });
  await flushed;
  await expect(writer.write({ message: "y".repeat(5_000_000) })).rejects.toThrow(
    /5000\d+ bytes: the limit is 4193280/u,
  );
  await writer.close();
  await expect(writer.write(hundred)).rejects.toThrow("closed");
});

test("an entry may be as large as the limit, and no larger", async () => {
  const { log, server } = faithful();
  const { writer } = openWriter(server, { entryBytesMax: 90 });
  await writer.write({ message: "x".repeat(86), timestamp: 1n }); // 90 bytes encoded
  await expect(writer.write({ message: "x".repeat(87), timestamp: 1n })).rejects.toThrow(
    "Cannot write an entry of 91 bytes: the limit is 90",
  );
  await writer.close();
  expect(log.entries).toHaveLength(1);
});

test("rejected entries are told with the entry; the others are kept", async () => {
  const { log, server } = faithful();
  const rejected: unknown[] = [];
  const { writer } = openWriter(server, {
    onRejected: ({ entry, sequence, reason }) => rejected.push([entry.message, sequence, reason]),
  });
  await writeAll(writer, ["m1", "bad2", "m3", "bad4"]);
  await writer.close();
  expect(rejected).toEqual([
    ["bad2", 2, "BAD"],
    ["bad4", 4, "BAD"],
  ]);
  expect(log.entries.map(({ message }) => message)).toEqual(["m1", "m3"]);
});

test("a rejection that nobody hears of fails the writer", async () => {
  const { server } = faithful();
  const { writer } = openWriter(server);
  await writer.write({ message: "bad" });
  await expect(writer.flush()).rejects.toThrow("The server rejected entry 1 (BAD): it is bad");
  await expect(writer.close()).rejects.toBeInstanceOf(LogWriterFailed);
});

test("a final error fails every call and keeps what was not acknowledged", async () => {
  const server = new ModelServer((_request, call) =>
    call.responses.fail(new RpcError(Code.PERMISSION_DENIED, "no right")),
  );
  const { clock, writer } = openWriter(server);
  await writeAll(writer, names(2));
  const failure = { name: "LogWriterFailed", unacknowledged: 2, cause: { code: Code.PERMISSION_DENIED } };
  await expect(writer.flush()).rejects.toMatchObject(failure);
  await expect(writer.write({ message: "m3" })).rejects.toMatchObject(failure);
  await expect(writer.close()).rejects.toMatchObject(failure);
  expect(writer.unacknowledged().map(({ message }) => message)).toEqual(["m1", "m2"]);
  expect(clock.timers).toBe(0);
});

test("a server that answers nothing is called anew", async () => {
  const server = new ModelServer();
  const { clock, writer } = openWriter(server, { answerTimeoutMs: 1000, delayMs: 0 });
  await writer.write({ message: "m1" });
  await clock.advanceInTurns(999);
  expect(server.calls).toHaveLength(1);
  await clock.advanceInTurns(200);
  expect(server.calls).toHaveLength(2);
  server.call.answer({ acknowledged: 1n });
  await writer.close();
});

test("an idle stream that is lost is opened again only when there is something to write", async () => {
  const { log, server } = faithful();
  let losses = 0;
  const { clock, writer } = openWriter(server, { answerTimeoutMs: 1000, onDisconnected: () => losses++ });
  await writer.write({ message: "m1" });
  await writer.flush();
  await clock.advanceInTurns(5000);
  server.call.lose();
  await clock.advanceInTurns(60_000);
  // Nothing was lost with it: there is nothing to wait for, and nothing to tell.
  expect([server.calls.length, clock.timers, losses]).toEqual([1, 0, 0]);
  await writer.write({ message: "m2" });
  await writer.close();
  expect(log.entries.map(({ message }) => message)).toEqual(["m1", "m2"]);
});

test("a server that ends the stream early, or acknowledges what was never sent, is not believed", async () => {
  const early = new ModelServer();
  const { clock, writer } = openWriter(early, { delayMs: 0 });
  await writer.write({ message: "m1" });
  await clock.advanceInTurns(0);
  early.call.responses.end();
  await clock.advanceInTurns(200);
  expect(early.calls).toHaveLength(2);
  early.call.answer({ acknowledged: 2n });
  await expect(writer.close()).rejects.toThrow("acknowledged 2 entries of a stream: 0 were before, 1 were sent");
});

test("the signal of close gives up waiting; the signal of the writer ends it", async () => {
  const server = new ModelServer();
  const { writer } = openWriter(server);
  await writer.write({ message: "m1" });
  const closing = writer.close({ signal: AbortSignal.abort(new Error("no patience")) });
  await expect(closing).rejects.toThrow("1 entries are unacknowledged: no patience");

  const stop = new AbortController();
  const idle = openWriter(new ModelServer(), { signal: stop.signal });
  stop.abort(new Error("over"));
  await idle.writer.close();
});

test("wherever calls are cut, every entry is in the log once and in order, and every rejection is told once", async () => {
  const cut = fc.record({ requests: fc.nat({ max: 3 }), when: fc.constantFrom("before", "after", "after-answer") });
  const batch = fc.integer({ min: 1, max: 5 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(cut, { maxLength: 10 }),
      batch,
      fc.array(fc.boolean(), { maxLength: 30 }),
      async (cuts, batchEntriesMax, bad) => {
        const log = new ModelLog();
        const server = new ModelServer((request, call, taken) => {
          const where = cuts[server.calls.length - 1];
          const isCut = where !== undefined && call.requests.length > where.requests;
          if (isCut && where.when === "before") return call.lose();
          const response = log.append(request, call.requests[0]?.producer ?? "", taken);
          if (isCut && where.when === "after") return call.lose();
          call.answer(response);
          if (isCut) call.lose();
        });
        const rejected: string[] = [];
        const { clock, writer } = openWriter(server, {
          batchEntriesMax,
          onRejected: ({ entry }) => rejected.push(entry.message),
        });
        const messages = bad.map((isBad, i) => (isBad ? `bad${i}` : `good${i}`));
        for (const message of messages) {
          await writer.write({ message });
          if (message.endsWith("3")) await clock.advanceInTurns(20);
        }
        const closing = writer.close();
        for (let i = 0; i < 30; i++) await clock.advanceInTurns(60_000);
        await closing;
        expect(log.entries.map(({ message }) => message)).toEqual(messages.filter((each) => each.startsWith("good")));
        expect(rejected).toEqual(messages.filter((each) => each.startsWith("bad")));
        expect(clock.timers).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
});
