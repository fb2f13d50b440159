// Plain typed calls to a server: no retry, no resume, so that a test sees what the server says.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type LogEntry, type LogEntrySchema, LogService, SeedLogService } from "@sluice/api";
import { type Channel, type Client, createClient, openChannel } from "@sluice/rpc";

export interface LogClient extends AsyncDisposable {
  readonly channel: Channel;
  readonly logs: Client<typeof LogService>;
  /** The unversioned service. */
  readonly seed: Client<typeof SeedLogService>;
  /** Writes entries in one batch; throws when one is rejected. */
  write(...entries: MessageInitShape<typeof LogEntrySchema>[]): Promise<void>;
}

/** Opens a connection of its own. */
export function openLogClient(address: string): LogClient {
  const channel = openChannel(address);
  const logs = createClient(LogService, channel);
  return {
    channel,
    logs,
    seed: createClient(SeedLogService, channel),
    async write(...entries) {
      const { rejected } = await logs.writeLogs({ entries });
      const [first] = rejected;
      if (first !== undefined) throw new Error(`Entry ${first.index} was rejected: ${first.reason}: ${first.text}`);
    },
    [Symbol.asyncDispose]: () => channel.close(),
  };
}

/** All that a stream brings until it ends. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** The next `count` entries of a stream, controls left out. The stream stays open. */
export async function takeEntries(stream: AsyncIterator<LogEntry>, count: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  while (entries.length < count) {
    const next = await stream.next();
    if (next.done === true) throw new Error(`The stream ended after ${entries.length} of ${count} entries`);
    if (next.value.control === undefined) entries.push(next.value);
  }
  return entries;
}

/** Requests of a stream that are sent when the test says so. */
export interface Requests<T> extends AsyncIterable<T> {
  send(request: T): void;
  /** No more will come. */
  end(): void;
}

export function createRequests<T>(): Requests<T> {
  const { readable, writable } = new TransformStream<T, T>(undefined, undefined, {
    highWaterMark: Number.POSITIVE_INFINITY,
  });
  const writer = writable.getWriter();
  return {
    // A call that has ended takes no more; why it ended is in its answer.
    send: (request) => void writer.write(request).catch(() => {}),
    end: () => void writer.close().catch(() => {}),
    [Symbol.asyncIterator]: () => readable[Symbol.asyncIterator](),
  };
}
