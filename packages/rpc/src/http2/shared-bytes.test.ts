// What all connections of a server may hold together: the greedy one gives way, the others go on.
import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import type { ConnectionResources } from "./connection-options.ts";
import { ErrorCode } from "./frame.ts";
import { Setting } from "./settings.ts";
import { dataFrame, headersFrame, REQUEST, RESPONSE, settingsFrame, windowUpdate } from "./testing/frames.ts";
import { type DrivenServer, drivenServer, isServing, testResources } from "./testing/machines.ts";

const OPEN = { endStream: false };
const response = new HeaderBlock(RESPONSE);

describe("what a server holds unread", () => {
  /** A connection whose streams nobody reads, after so many bytes. */
  function unread(resources: ConnectionResources, bytes: number): DrivenServer {
    const driven = drivenServer({ resources });
    driven.receive(headersFrame(1, REQUEST));
    driven.server.streams[0]!.isReading = false;
    for (let left = bytes; left > 0; left -= 10_000) driven.receive(dataFrame(1, Buffer.alloc(10_000)));
    return driven;
  }

  test("is bounded: streams of a connection with more than its share are reset, those of others go on", () => {
    const resources = testResources(0, { unread: 100_000 });
    const greedy = unread(resources, 60_000);
    const modest = [1, 2, 3].map(() => unread(resources, 20_000));
    expect(resources.unread.bytes).toBe(120_000);
    greedy.receive(dataFrame(1, "more"));
    expect(greedy.server.streams[0]!.end).toMatchObject({ by: "stream-error", code: ErrorCode.ENHANCE_YOUR_CALM });
    expect(resources.unread.bytes).toBe(60_000);
    expect(modest.map(({ server }) => server.streams[0]!.end)).toEqual([undefined, undefined, undefined]);
    expect(isServing(greedy, 3)).toBe(true);
  });

  test("is forgotten with its connection, and so is its share", () => {
    const resources = testResources(0, { unread: 100_000 });
    const connections = [unread(resources, 60_000), unread(resources, 10_000)];
    for (const { connection } of connections) connection.disconnected("gone");
    expect(resources.unread).toMatchObject({ connections: 0, bytes: 0 });
    const only = unread(resources, 60_000);
    expect(only.server.streams[0]!.end).toBeUndefined();
  });
});

describe("what waits to be sent at a server", () => {
  const grant = settingsFrame(Setting.INITIAL_WINDOW_SIZE, 1_000_000);

  /** A connection with streams that wait with so many bytes each, for a window that is never opened. */
  function waiting(resources: ConnectionResources, streams: number, bytes: number): DrivenServer {
    const driven = drivenServer({ resources, peerSettings: [Setting.INITIAL_WINDOW_SIZE, 0] });
    for (let id = 1; id < 2 * streams; id += 2) {
      driven.receive(headersFrame(id, REQUEST, { endStream: true }));
      driven.server.streams.at(-1)!.stream!.sendHeaders(response, OPEN);
      driven.server.streams.at(-1)!.stream!.write(Buffer.alloc(bytes));
    }
    return driven;
  }

  test("is bounded: a stream that adds to a connection with more than its share is reset, those of others go on", () => {
    const resources = testResources(0, { queued: 10_000_000 });
    const greedy = waiting(resources, 100, 100_000);
    const modest = waiting(resources, 10, 100_000);
    expect(resources.queued.bytes).toBeGreaterThan(10_000_000);
    const before = greedy.connection.openStreams;
    for (const { stream } of greedy.server.streams.slice(0, 20)) stream!.write(Buffer.alloc(100_000));
    expect(before - greedy.connection.openStreams).toBeGreaterThan(5);
    expect(greedy.server.streams[0]!.end ?? greedy.server.streams[1]!.end).toMatchObject({
      code: ErrorCode.ENHANCE_YOUR_CALM,
    });
    for (const { stream } of modest.server.streams) stream!.write(Buffer.alloc(100_000));
    expect(modest.connection.openStreams).toBe(10);
    expect(resources.queued.bytes).toBeLessThan(11_000_000);
  });

  test("is forgotten when it has left, and with its connection", () => {
    const resources = testResources(0, { queued: 10_000_000 });
    const [sent, gone] = [waiting(resources, 20, 50_000), waiting(resources, 20, 50_000)];
    expect(resources.queued.bytes).toBeGreaterThan(1_000_000);
    gone.connection.disconnected("gone");
    sent.receive(grant, windowUpdate(0, 10_000_000));
    sent.allSent();
    expect(resources.queued).toMatchObject({ connections: 1, bytes: 0 });
  });
});
