import { PassThrough, Writable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addOutputOption, addServerOption, type CommandContext, createOutput, toJsonLine } from "./output.ts";

/** A pipe that is read at once. */
function createPipe(): PassThrough & { text: string } {
  const pipe = Object.assign(new PassThrough(), { text: "" });
  pipe.setEncoding("utf8").on("data", (chunk: string) => void (pipe.text += chunk));
  return pipe;
}

function createContext(stdout: Writable, stop = new AbortController().signal) {
  const stderr = createPipe();
  return {
    stdin: new PassThrough(),
    stdout,
    stderr,
    environment: {},
    folder: "/",
    stop,
  } satisfies CommandContext;
}

describe("a result", () => {
  const forms = { text: () => "two words", json: () => ({ words: 2n, raw: new Uint8Array([1, 2]) }) };

  test("is a line of text, or one object", async () => {
    const stdout = createPipe();
    await createOutput(createContext(stdout), "text").result(forms);
    await createOutput(createContext(stdout), "json").result(forms);
    expect(stdout.text).toBe('two words\n{"words":"2","raw":"AQI="}\n');
  });

  test("waits for a reader that is behind, and no longer than the command goes on", async () => {
    let takeOne = (): void => {};
    const stdout = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void (takeOne = done) });
    const stopping = new AbortController();
    const output = createOutput(createContext(stdout, stopping.signal), "text");
    let isWritten = false;
    const written = Promise.resolve(output.result(forms)).then(() => (isWritten = true));
    await turn();
    expect(isWritten).toBe(false);
    takeOne();
    await written;
    const second = output.result(forms);
    stopping.abort("SIGINT");
    await expect(second).resolves.toBeUndefined();
  });

  test("is dropped when the reader has gone", async () => {
    const stdout = new PassThrough();
    stdout.destroy();
    expect(createOutput(createContext(stdout), "text").result(forms)).toBeUndefined();
  });
});

test("a note goes to stderr, as text or as an object", () => {
  const context = createContext(new PassThrough());
  createOutput(context, "text").note("reconnecting");
  createOutput(context, "json").note("reconnecting");
  expect(context.stderr.text).toBe('reconnecting\n{"note":"reconnecting"}\n');
});

test("JSON stays on one line", () => {
  expect(toJsonLine({ text: "a\nb" })).toBe('{"text":"a\\nb"}');
});

describe("options that many commands share", () => {
  const parse = (...words: string[]) =>
    addServerOption(addOutputOption(new Command().exitOverride().configureOutput({ writeErr: () => {} })))
      .parse(words, { from: "user" })
      .opts();

  test("have defaults", () => {
    expect(parse()).toEqual({ output: "text", server: "localhost:8080" });
  });

  test.each(["localhost:1", "10.0.0.1:65535", "[::1]:8080", "logs.example:443"])("take the server %s", (server) => {
    expect(parse("--server", server)).toMatchObject({ server });
  });

  test.each(["localhost", "localhost:", "localhost:0", "localhost:65536", "::1:8080", "http://localhost:8080"])(
    "refuse the server %s",
    (server) => {
      expect(() => parse("--server", server)).toThrow(/is no HOST:PORT, for example localhost:8080/u);
    },
  );

  test("refuse an unknown form of output", () => {
    expect(() => parse("--output", "xml")).toThrow(/Allowed choices are text, json/u);
  });
});
