import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatCount,
  formatSeconds,
  openProgress,
  type OutputStream,
  paintFor,
  plural,
} from "./terminal.ts";

function createStream(options: { isTTY?: boolean; columns?: number }): OutputStream & { text: () => string } {
  const stream = new PassThrough();
  let text = "";
  stream.on("data", (chunk: Buffer) => void (text += chunk.toString()));
  return Object.assign(stream, options, { text: () => text });
}

describe("colours", () => {
  const terminal = () => createStream({ isTTY: true });

  test("are for terminals", () => {
    expect(paintFor(terminal(), {})("red", "x")).toBe("\u001b[31mx\u001b[39m");
    expect(paintFor(createStream({}), {})("red", "x")).toBe("x");
  });

  test("are off with NO_COLOR and on a dumb terminal; an empty NO_COLOR says nothing", () => {
    expect(paintFor(terminal(), { NO_COLOR: "1" })("red", "x")).toBe("x");
    expect(paintFor(terminal(), { TERM: "dumb" })("red", "x")).toBe("x");
    expect(paintFor(terminal(), { NO_COLOR: "" })("red", "x")).not.toBe("x");
  });
});

test.each([
  [0.2, "1 s"],
  [59, "59 s"],
  [61, "1 min 1 s"],
  [3700, "1 h 1 min"],
])("%d seconds read as %s", (seconds, expected) => {
  expect(formatSeconds(seconds)).toBe(expected);
});

describe("a progress bar", () => {
  const setUp = (options: { isTTY?: boolean; columns?: number }) => {
    const stream = createStream(options);
    const time = { ms: 1000 };
    const environment = { NO_COLOR: "1" };
    return {
      stream,
      time,
      progress: openProgress(stream, { label: "Verifying", environment, format: formatBytes, nowMs: () => time.ms }),
    };
  };

  test("shows share, amount and rate, and is gone at its end", () => {
    const { stream, time, progress } = setUp({ isTTY: true, columns: 100 });
    time.ms += 500;
    progress.update(1024 * 1024, 4 * 1024 * 1024);
    expect(stream.text()).toBe(
      `\r\u001b[2KVerifying ${"━".repeat(7)}${"╌".repeat(21)}  25 % 1.0 MiB of 4.0 MiB 2.0 MiB/s, 2 s left`,
    );
    progress.end();
    progress.end();
    expect(stream.text().endsWith("2 s left\r\u001b[2K")).toBe(true);
  });

  test("is drawn at most ten times a second, and at its end", () => {
    const { stream, time, progress } = setUp({ isTTY: true });
    for (let i = 1; i <= 100; i += 1) {
      time.ms += 10;
      progress.update(i, 100);
    }
    expect(stream.text().match(/Verifying/gu)?.length).toBe(11);
  });

  test("never wraps", () => {
    const { stream, time, progress } = setUp({ isTTY: true, columns: 20 });
    time.ms += 500;
    progress.update(1, 2);
    expect(stream.text().replace("\r\u001b[2K", "")).toHaveLength(19);
  });

  test("is nothing in a pipe", () => {
    const { stream, progress } = setUp({});
    progress.update(1, 2);
    progress.end();
    expect(stream.text()).toBe("");
  });
});

test("amounts read well", () => {
  expect([0, 1023, 1024, 1536, 5 * 1024 ** 3].map(formatBytes)).toEqual([
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "5.0 GiB",
  ]);
  expect(formatCount(1_234_567n)).toBe("1,234,567");
  expect([plural(1, "file"), plural(2, "file"), plural(0, "entry", "entries")]).toEqual([
    "1 file",
    "2 files",
    "0 entries",
  ]);
});
