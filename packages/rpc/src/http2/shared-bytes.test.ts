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

  test("is bounded: the connection that holds most gives way, whoever it was that asked for more", () => {
    const resources = testResources(0, { unread: 100_000 });
    const greedy = unread(resources, 50_000);
    const modest = [1, 2].map(() => unread(resources, 20_000));
    expect(resources.unread.bytes).toBe(90_000);
    modest[0]!.receive(dataFrame(1, Buffer.alloc(10_001)));
    expect(greedy.server.streams[0]!.end).toMatchObject({ by: "stream-error", code: ErrorCode.ENHANCE_YOUR_CALM });
    expect(resources.unread.bytes).toBe(50_001);
    expect(modest.map(({ server }) => server.streams[0]!.end)).toEqual([undefined, undefined]);
    expect(isServing(greedy, 3)).toBe(true);
  });

  test("is bounded also when those who came first took what there was", () => {
    const resources = testResources(0, { unread: 100_000 });
    for (let at = 0; at < 10; at++) unread(resources, 60_000);
    expect(resources.unread.bytes).toBeLessThanOrEqual(100_000);
  });

  test("is forgotten with its connection", () => {
    const resources = testResources(0, { unread: 100_000 });
    const connections = [unread(resources, 60_000), unread(resources, 10_000)];
    for (const { connection } of connections) connection.disconnected("gone");
    expect(resources.unread.bytes).toBe(0);
    expect(unread(resources, 60_000).server.streams[0]!.end).toBeUndefined();
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

  test("is bounded: streams of the connection with most are reset, those of others go on", () => {
    const resources = testResources(0, { queued: 10_000_000 });
    const modest = waiting(resources, 10, 100_000);
    const greedy = waiting(resources, 200, 100_000);
    expect(greedy.connection.openStreams).toBeGreaterThan(85);
    expect(greedy.connection.openStreams).toBeLessThan(100);
    expect(greedy.server.streams[0]!.end).toMatchObject({ by: "stream-error", code: ErrorCode.ENHANCE_YOUR_CALM });
    for (const { stream } of modest.server.streams) stream!.write(Buffer.alloc(100_000));
    expect(modest.connection.openStreams).toBe(10);
    expect(resources.queued.bytes).toBeLessThanOrEqual(10_000_000);
  });

  test("is bounded between a connection's turns, and when those who came first took what there was", () => {
    const resources = testResources(0, { queued: 10_000_000 });
    for (let round = 0; round < 5; round++) {
      const driven = waiting(resources, 60, 100_000);
      for (const { stream } of driven.server.streams) {
        driven.connection.flush();
        stream!.write(Buffer.alloc(100_000));
      }
    }
    expect(resources.queued.bytes).toBeLessThanOrEqual(10_000_000);
  });

  test("is forgotten when it has left, and with its connection", () => {
    const resources = testResources(0, { queued: 10_000_000 });
    const [sent, gone] = [waiting(resources, 20, 50_000), waiting(resources, 20, 50_000)];
    expect(resources.queued.bytes).toBeGreaterThan(1_000_000);
    gone.connection.disconnected("gone");
    sent.receive(grant, windowUpdate(0, 10_000_000));
    sent.allSent();
    expect(resources.queued.bytes).toBe(0);
  });
});
