import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { GapReason, GetLogContextRequestSchema, GetLogContextResponseSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { cursorOf, formatCursor } from "../stream/cursor.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { getLogContext } from "./context.ts";
import { messagesIn } from "./testing/test-service.ts";

async function logOf(count: number): Promise<MemoryLog> {
  const log = new MemoryLog();
  log.runEntriesMax = 4;
  await log.write(
    ...Array.from({ length: count }, (_, i) => ({ message: `m${i + 1}`, application: i % 2 === 0 ? "odd" : "even" })),
  );
  return log;
}

async function around(log: MemoryLog, init: MessageInitShape<typeof GetLogContextRequestSchema>) {
  const request = create(GetLogContextRequestSchema, { before: 3, after: 3, ...init });
  const options = { clock: new ManualClock(), isCancelled: () => false };
  const { bytes } = await getLogContext(request, log, options);
  const { entries, index, gaps } = messagesIn(GetLogContextResponseSchema, bytes)[0]!;
  const holes = gaps.map(({ afterCursor, toCursor, count, reason }) => ({ afterCursor, toCursor, count, reason }));
  return { sequences: entries.map(({ sequence }) => Number(sequence)), index, holes };
}

test("says what is missing between the entries", async () => {
  const log = await logOf(20);
  for (const sequence of [8, 12, 13]) log.damaged.add(sequence);
  const found = await around(log, { cursor: cursorOf(log, 10) });
  const hole = (after: number, to: number) => ({
    afterCursor: cursorOf(log, after),
    toCursor: cursorOf(log, to),
    count: BigInt(to - after),
    reason: GapReason.CORRUPTION,
  });
  expect(found).toEqual({ sequences: [6, 7, 9, 10, 11, 14, 15], index: 3, holes: [hole(7, 8), hole(11, 13)] });
});

test("of an entry that is damaged is what lies around its place, but not of its application: nobody knows it", async () => {
  const log = await logOf(20);
  log.damaged.add(10);
  const found = await around(log, { cursor: cursorOf(log, 10) });
  expect([found.sequences, found.index]).toEqual([[7, 8, 9, 11, 12, 13], -1]);
  const same = await around(log, { cursor: cursorOf(log, 10), sameApplication: true });
  expect(same).toEqual({ sequences: [], index: -1, holes: [] });
});

test("of an entry that retention took begins with the gap", async () => {
  const log = await logOf(20);
  const cursor = cursorOf(log, 3);
  log.dropBefore(7);
  const { sequences, index, holes } = await around(log, { cursor });
  expect([sequences, index]).toEqual([[7, 8, 9], -1]);
  expect(holes).toMatchObject([{ toCursor: cursorOf(log, 6), reason: GapReason.RETENTION }]);
});

test("of an entry of an era that was cut is what lies around the cut", async () => {
  const log = await logOf(20);
  log.epochs = [
    { epoch: 0, sequence: 1 },
    { epoch: 1, sequence: 11 },
  ];
  const { sequences, index } = await around(log, { cursor: formatCursor("default", { epoch: 0, sequence: 15 }) });
  expect([sequences, index]).toEqual([[8, 9, 10, 11, 12, 13], -1]);
});
