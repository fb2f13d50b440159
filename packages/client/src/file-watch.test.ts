import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FileChangeKind, ResyncReason, type WatchFilesRequestSchema, WatchFilesResponseSchema } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { FileWatch, type FileWatchEvent, type FileWatchOptions, type FileWatchQuery } from "./file-watch.ts";
import { STREAM_RETRY } from "./retry.ts";
import { constantRandom } from "./testing/chance.ts";

type Message = MessageInitShape<typeof WatchFilesResponseSchema>;
type Request = MessageInitShape<typeof WatchFilesRequestSchema>;

const told = (kind: FileChangeKind, path: string, resumeToken: string): Message => ({
  changes: [{ kind, file: { filePath: path } }],
  resumeToken,
});
const sync = (cursor: string): Message => ({ control: { kind: { case: "sync", value: { cursor } } } });
const lost = new RpcError(Code.UNAVAILABLE, "lost");

/** A watch at a server that answers each call with its messages, and then with an error or with silence. */
function open(
  answers: readonly (readonly (Message | RpcError)[])[],
  { query = {}, options = {} }: { query?: FileWatchQuery; options?: FileWatchOptions } = {},
) {
  const clock = new ManualClock();
  const requests: Request[] = [];
  const closed = new AbortController();
  const watch = new FileWatch(
    {
      async *call(request, { signal }) {
        const answer = answers[requests.push(request) - 1] ?? [];
        for (const each of answer) {
          if (each instanceof RpcError) throw each;
          yield create(WatchFilesResponseSchema, each);
        }
        await new Promise((_resolve, reject) => {
          const stop = (): void => {
            reject(new RpcError(Code.CANCELLED, "cancelled"));
          };
          if (signal.aborted) stop();
          else signal.addEventListener("abort", stop, { once: true });
        });
      },
      clock,
      random: constantRandom(0),
      retry: STREAM_RETRY,
      closed: closed.signal,
    },
    query,
    options,
  );
  return { watch, requests, clock, closed };
}

const line = (event: FileWatchEvent): string => {
  switch (event.kind) {
    case "removed":
      return `removed ${event.path}`;
    case "resync":
      return `resync ${event.reason}`;
    case "sync":
    case "resumed":
    case "disconnected":
      return event.kind;
    default:
      return `${event.kind} ${event.file.filePath}`;
  }
};

test("events come one by one; the token moves on with the last of a message", async () => {
  const both: Message = {
    changes: [
      { kind: FileChangeKind.EXISTS, file: { filePath: "a" } },
      { kind: FileChangeKind.CREATED, file: { filePath: "b" } },
    ],
    resumeToken: "1",
  };
  const { watch, requests } = open([[both, sync("2"), told(FileChangeKind.REMOVED, "a", "3")]], {
    query: { path: "p", isRecursive: true, globs: ["*"], includeExisting: true },
  });
  const seen: string[] = [];
  for await (const event of watch) {
    seen.push(`${line(event)} <${watch.token}>`);
    if (event.kind === "removed") break;
  }
  expect(seen).toEqual(["exists a <>", "created b <1>", "sync <2>", "removed a <3>"]);
  expect(requests).toEqual([
    { path: "p", recursive: true, globs: ["*"], includeExisting: true, resumeToken: "", heartbeatMs: 15_000 },
  ]);
});

test("it goes on behind what was handed out, after each lost connection, and says what cannot be told", async () => {
  const { watch, requests, clock } = open([
    [told(FileChangeKind.CHANGED, "a", "1"), lost],
    [lost],
    [{ resync: { reason: ResyncReason.GENERATION_UNKNOWN } }, lost],
    [{ resync: { reason: ResyncReason.REMOVALS_FORGOTTEN } }, told(FileChangeKind.EXISTS, "b", "9"), sync("10"), lost],
    [told(FileChangeKind.CREATED, "c", "11")],
  ]);
  const seen: string[] = [];
  for await (const event of watch) {
    seen.push(line(event));
    if (line(event) === "created c") break;
    if (event.kind === "disconnected") setImmediate(() => clock.advance(event.retryInMs));
  }
  expect(seen).toEqual([
    "changed a",
    "disconnected",
    "disconnected",
    "resumed",
    "resync generation-unknown",
    "disconnected",
    "resumed",
    "resync removals-forgotten",
    "exists b",
    "sync",
    "disconnected",
    "resumed",
    "created c",
  ]);
  expect(requests.map(({ resumeToken }) => resumeToken)).toEqual(["", "1", "1", "1", "10"]);
});

test("a silent stream is given up; what will not pass by itself ends the watch", async () => {
  const refused = new RpcError(Code.PERMISSION_DENIED, "no");
  const { watch, clock } = open([[sync("1")], [refused]], { options: { heartbeatMs: 1000 } });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const event of watch) {
      seen.push(line(event));
      if (event.kind === "sync") setImmediate(() => clock.advance(2500));
      if (event.kind === "disconnected") {
        expect(event.error).toMatchObject({ code: Code.UNAVAILABLE });
        setImmediate(() => clock.advance(event.retryInMs));
      }
    }
  })();
  await expect(reading).rejects.toBe(refused);
  expect(seen).toEqual(["sync", "disconnected"]);
  expect(clock.timers).toBe(0);
});

test("who leaves while nothing happens leaves at once; a signal and the client's end throw their reason", async () => {
  const left = open([[sync("1")]]);
  const events = left.watch[Symbol.asyncIterator]();
  await events.next();
  const waiting = events.next();
  await events.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(left.clock.timers).toBe(0);

  const stop = new AbortController();
  const stopped = open([[]], { options: { signal: stop.signal } });
  const next = stopped.watch[Symbol.asyncIterator]().next();
  stop.abort(new Error("enough"));
  await expect(next).rejects.toThrow("enough");

  const closed = open([[]]);
  const last = closed.watch[Symbol.asyncIterator]().next();
  closed.closed.abort(new Error("closed"));
  await expect(last).rejects.toThrow("closed");
  expect(() => closed.watch[Symbol.asyncIterator]()).toThrow("twice");
});
