import type { LogWriterOptions, NewLogEntry, SluiceClient } from "@sluice/client";
import { expect, test } from "vitest";
import { LinePusher } from "./line-pusher.ts";
import { LINE_BYTES_MAX, LineSplitter } from "./line-splitter.ts";
import { tailFingerprint } from "./places.ts";
import { noCounts } from "./push-counts.ts";

/** A pusher of `start` whose writer's answers are in the test's hands. */
function openPusher(start = { offset: 0, part: 0, nextSequence: 1 }) {
  const written: NewLogEntry[] = [];
  let options: LogWriterOptions = {};
  const client = {
    openLogWriter(given: LogWriterOptions) {
      options = given;
      return {
        get nextSequence() {
          return (given.firstSequence ?? 1) + written.length;
        },
        write(entry: NewLogEntry) {
          written.push(entry);
          return Promise.resolve();
        },
      };
    },
  } as unknown as SluiceClient;
  const counts = noCounts();
  const nothing = (): void => undefined;
  const pusher = new LinePusher({
    client,
    counts,
    start,
    rule: { kind: "none" },
    lines: { application: "a", isFixed: true, nowMs: 0 },
    writer: { producer: "p" },
    onRejected: nothing,
    onDisconnected: nothing,
    onProgress: nothing,
  });
  const splitter = new LineSplitter(start.offset, start.part);
  return {
    pusher,
    counts,
    written,
    push: async (text: string): Promise<void> => {
      for (const piece of splitter.push(Buffer.from(text))) await pusher.push(piece);
    },
    acknowledge: (through: number, duplicates = 0) => options.onAcknowledged?.(through, { duplicates, cursor: "c" }),
  };
}

test("the place is behind the last line that was answered, and behind blank lines that follow it", async () => {
  const { pusher, push, acknowledge, counts } = openPusher();
  await push("one\n\n\r\ntwo\r\nthree\n");
  expect(pusher.acknowledged).toMatchObject({ offset: 0, nextSequence: 1 });
  acknowledge(1);
  expect(pusher.acknowledged).toMatchObject({ offset: 7, part: 0, nextSequence: 2 });
  acknowledge(2, 1);
  expect(pusher.acknowledged).toEqual({
    offset: 12,
    part: 0,
    nextSequence: 3,
    tail: tailFingerprint(Buffer.from("two"), 10),
  });
  await push("\n");
  acknowledge(3);
  // By the last line that has anything on it the file is recognised.
  const tail = tailFingerprint(Buffer.from("three"), 17);
  expect(pusher.acknowledged).toMatchObject({ offset: 19, nextSequence: 4, tail });
  expect(counts).toMatchObject({ lines: 3, acknowledged: 3, duplicates: 1, blank: 3, bytes: 19 });
});

test("blank lines before any other, and after all were answered, are behind us at once", async () => {
  const { pusher, push, acknowledge } = openPusher({ offset: 100, part: 0, nextSequence: 7 });
  await push("\n\n");
  expect(pusher.acknowledged).toMatchObject({ offset: 102, nextSequence: 7 });
  await push("x\n");
  acknowledge(7);
  await push("\n");
  expect(pusher.acknowledged).toMatchObject({ offset: 105, nextSequence: 8 });
});

test("in the middle of a long line the place says how many pieces of it lie behind", async () => {
  const { pusher, push, acknowledge, written } = openPusher();
  await push(`${"x".repeat(2 * LINE_BYTES_MAX + 5)}\n`);
  expect(written).toHaveLength(3);
  acknowledge(2);
  expect(pusher.acknowledged).toMatchObject({ offset: 2 * LINE_BYTES_MAX, part: 2, nextSequence: 3 });
  acknowledge(3);
  expect(pusher.acknowledged).toMatchObject({ offset: 2 * LINE_BYTES_MAX + 6, part: 0, nextSequence: 4 });
});
