import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { openProcessContext, type Surroundings } from "./process-context.ts";

/** A process that notes its exit instead of ending. */
function setUp() {
  const time = { ms: 5000 };
  const exits: (number | string | null | undefined)[] = [];
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const surroundings = Object.assign(new EventEmitter(), {
    stdin: new PassThrough(),
    stdout,
    stderr,
    env: {},
    cwd: () => "/",
    exit: (code?: number) => exits.push(code),
  }) as unknown as Surroundings & EventEmitter;
  const context = openProcessContext(surroundings, () => time.ms);
  return { time, exits, stdout, surroundings, context };
}

test("the first signal asks to finish, a second one ends the process at once", () => {
  const { surroundings, context, exits, time } = setUp();
  expect(context.stop.aborted).toBe(false);
  surroundings.emit("SIGTERM", "SIGTERM");
  expect(context.stop.reason).toBe("SIGTERM");
  expect(exits).toEqual([]);
  time.ms += 1;
  surroundings.emit("SIGTERM", "SIGTERM");
  expect(exits).toEqual([130]);
});

test("one Ctrl-C that arrives twice, from the terminal and from npm, is one; another one is not", () => {
  const { surroundings, exits, time } = setUp();
  surroundings.emit("SIGINT", "SIGINT");
  time.ms += 250;
  surroundings.emit("SIGINT", "SIGINT");
  expect(exits).toEqual([]);
  time.ms += 1;
  surroundings.emit("SIGINT", "SIGINT");
  expect(exits).toEqual([130]);
});

test("a closed pipe asks to finish; another error of the output is not hidden", () => {
  const { stdout, context, exits } = setUp();
  stdout.emit("error", Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  expect(context.stop.reason).toBe("EPIPE");
  expect(exits).toEqual([]);
  const other = Object.assign(new Error("write EIO"), { code: "EIO" });
  expect(() => stdout.emit("error", other)).toThrow(other);
});

test("when it is disposed the signals are the process's own again", () => {
  const { surroundings, context } = setUp();
  context[Symbol.dispose]();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) expect(surroundings.listenerCount(signal)).toBe(0);
});
