// Writers to a model of a server.
import { ManualClock } from "@sluice/rpc/testing";
import { LogWriter, type LogWriterOptions } from "../log-writer.ts";
import { STREAM_RETRY } from "../retry.ts";
import { constantRandom } from "./chance.ts";
import { type ModelCall, ModelLog, ModelServer } from "./model-log.ts";

/** A writer to a model of a server, on a clock that stands still. */
export function openWriter(server: ModelServer, options: LogWriterOptions = {}) {
  const clock = new ManualClock();
  const closed = new AbortController();
  const context = {
    call: server.writeLogStream,
    clock,
    random: constantRandom(0),
    retry: STREAM_RETRY,
    closed: closed.signal,
  };
  return { clock, closed, writer: new LogWriter(context, options) };
}

/** The messages of each request of a call. */
export const messagesOf = (call: ModelCall): string[][] =>
  call.requests.map((each) => each.entries.map(({ message }) => message));

/** "m1" … "mN". */
export const names = (count: number, from = 1): string[] => Array.from({ length: count }, (_, i) => `m${from + i}`);

export async function writeAll(writer: LogWriter, messages: readonly string[]): Promise<void> {
  for (const message of messages) await writer.write({ message });
}

/** A server that takes everything into a log at once. */
export function faithful(log = new ModelLog()) {
  const server = new ModelServer((request, call, taken) => {
    call.answer(log.append(request, call.requests[0]?.producer ?? "", taken));
  });
  return { log, server };
}
