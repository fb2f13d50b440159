// WriteLogs: one batch, one answer.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Durability, WriteLogsRequestSchema } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { DiskFull, InvalidRequest } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { bad, cursor, newBudget, settle, targetOf } from "./testing/write-target.ts";
import { WriteBudget } from "../stream/write-budget.ts";
import { parseWriteRequest } from "./write-request.ts";
import { writeLogs } from "./write.ts";

describe("one batch", () => {
  function write(log: MemoryLog, init: MessageInitShape<typeof WriteLogsRequestSchema>): ReturnType<typeof writeLogs> {
    const bytes = toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, init));
    const request = parseWriteRequest(bytes, DEFAULT_LIMITS);
    return writeLogs(request, { target: targetOf(log), budget: newBudget(), atBound: "refuse" });
  }

  test("is answered with what became of it", async () => {
    const log = new MemoryLog();
    await log.write({}, {});
    expect(await write(log, { entries: [{ message: "a" }, bad, { message: "b" }] })).toMatchObject({
      accepted: 2n,
      duplicates: 0n,
      rejected: [{ index: 1n, reason: "RESERVED_FIELD" }],
      lastSequence: 4n,
      lastCursor: cursor(4),
    });
  });

  test("of nothing, or of nothing good, is answered too", async () => {
    const log = new MemoryLog();
    const nothing = { accepted: 0n, duplicates: 0n, lastSequence: 0n, lastCursor: "" };
    expect(await write(log, {})).toMatchObject({ ...nothing, rejected: [] });
    expect(await write(log, { entries: [bad] })).toMatchObject({ ...nothing, rejected: [{ index: 0n }] });
  });

  test("is answered when it is durable, or at once when that is asked for", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const answered: string[] = [];
    const disk = write(log, { entries: [{}] }).then(() => answered.push("disk"));
    await write(log, { entries: [{}], durability: Durability.MEMORY }).then(() => answered.push("memory"));
    expect(answered).toEqual(["memory"]);
    log.commit();
    await disk;
    expect(answered).toEqual(["memory", "disk"]);
  });

  test("of more than a slice is answered when the last of its slices is durable", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    let isAnswered = false;
    const entries = Array.from({ length: 5000 }, () => ({}));
    const writing = write(log, { entries }).then((response) => {
      isAnswered = true;
      return response;
    });
    await expect.poll(() => log.batches.length).toBe(1);
    log.commit();
    await settle();
    expect([log.batches.length, log.head.sequence, isAnswered]).toEqual([2, 4096, false]);
    log.commit();
    expect(await writing).toMatchObject({ accepted: 5000n, lastSequence: 5000n, lastCursor: cursor(5000) });
  });

  test("that cannot become durable fails", async () => {
    const log = new MemoryLog();
    log.isAutomatic = false;
    const writing = write(log, { entries: [{}] });
    const rejected = expect(writing).rejects.toBeInstanceOf(DiskFull);
    await settle();
    log.failPending(new DiskFull("default"));
    await rejected;
  });

  test("sent again is answered as the first time, with the duplicates counted", async () => {
    const log = new MemoryLog();
    const request = { producer: "p", firstProducerSequence: 1n, entries: [{ message: "a" }, bad, { message: "b" }] };
    const first = await write(log, request);
    expect(await write(log, request)).toEqual({ ...first, duplicates: 2n });
    expect(log.head.sequence).toBe(2);
  });

  test("is refused while the log has no room, and says when to come again; nothing of it is there", async () => {
    const log = new MemoryLog();
    log.roomGate = Promise.resolve();
    const refused = write(log, { entries: [{ message: "a" }], durability: Durability.MEMORY });
    await expect(refused).rejects.toMatchObject({ name: "LimitExceeded", facts: { retryAfterMs: 100 } });
    expect(log.batches).toEqual([]);
  });

  test("that was begun is brought to its end: what comes after the first slice waits for room", async () => {
    const log = new MemoryLog();
    const { promise, resolve } = Promise.withResolvers<void>();
    const appendNow = log.append.bind(log);
    log.append = (next, batch) => {
      log.roomGate = log.batches.length === 0 ? promise : undefined;
      return appendNow(next, batch);
    };
    const writing = write(log, { entries: Array.from({ length: 5000 }, () => ({})) });
    await settle();
    expect(log.head.sequence).toBe(4096);
    log.roomGate = undefined;
    resolve();
    expect(await writing).toMatchObject({ accepted: 5000n, lastSequence: 5000n });
  });

  test("is counted against the budget of all writers, until it is appended", async () => {
    const log = new MemoryLog();
    const budget = new WriteBudget(100);
    const bytes = toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, { entries: [{ message: "a" }] }));
    const request = parseWriteRequest(bytes, DEFAULT_LIMITS);
    const release = budget.take(90);
    const options = { target: targetOf(log), budget, atBound: "refuse" } as const;
    budget.take(10 - bytes.length + 1);
    await expect(writeLogs(request, options)).rejects.toMatchObject({ facts: { retryAfterMs: 500 } });
    release();
    log.isAutomatic = false;
    const writing = writeLogs(request, options);
    await settle();
    expect(budget.held).toBe(10 - bytes.length + 1);
    log.commit();
    await writing;
  });

  test("with numbers that do not fit is refused whole", async () => {
    await expect(write(new MemoryLog(), { producer: "p", entries: [{}] })).rejects.toBeInstanceOf(InvalidRequest);
  });
});
