import { expect, test } from "vitest";
import { ConnectionWatch, type WatchedConnection, type WatchOptions } from "./connection-watch.ts";
import { DEFAULT_HTTP2_LIMITS } from "./limits.ts";
import { ManualClock } from "./testing/manual-clock.ts";

/** A connection that writes down what becomes of it. */
class Fake implements WatchedConnection {
  isSettled = false;
  openStreams = 0;
  lastStreamId = 0;
  unfinished: object | undefined = undefined;
  readonly events: string[] = [];

  ping(): void {
    this.events.push("ping");
  }

  drain(): void {
    this.events.push("drain");
  }

  destroy(_code: number, reason: string): void {
    this.events.push(`destroy: ${reason}`);
  }
}

const limits = { ...DEFAULT_HTTP2_LIMITS, handshakeTimeoutMs: 1000, headersTimeoutMs: 2000, lingerMs: 100 };

/** @param life what is watched beside the handshake, which is over. */
function watching(life: Partial<WatchOptions>) {
  const clock = new ManualClock();
  const connection = new Fake();
  const options = { limits, clock, random: () => 0.5, role: "server" as const, ...life };
  const watch = new ConnectionWatch(connection, options);
  connection.isSettled = true;
  watch.onReceived();
  return { clock, connection, watch };
}

test("the handshake has its time, and leaves no timer when nothing else is watched", () => {
  const clock = new ManualClock();
  const connection = new Fake();
  const watch = new ConnectionWatch(connection, { limits, clock, random: Math.random, role: "server" });
  clock.advance(999);
  watch.onReceived();
  expect(connection.events).toEqual([]);
  clock.advance(1);
  expect(connection.events).toEqual(["destroy: no SETTINGS arrived in time"]);
  expect(watching({}).clock.timers).toBe(0);
});

test("what is unfinished has its time, and only what is the same all the while", () => {
  const { clock, connection, watch } = watching({});
  for (let round = 0; round < 10; round++) {
    connection.unfinished = {};
    watch.onReceived();
    expect(clock.timers).toBe(1);
    clock.advance(1000);
  }
  connection.unfinished = undefined;
  clock.advance(2000);
  expect([connection.events, clock.timers]).toEqual([[], 0]);
  connection.unfinished = {};
  watch.onReceived();
  clock.advance(2000);
  expect(connection.events).toEqual(["destroy: a header block or frame did not arrive in time"]);
});

test("a server asks a silent client whatever is open, a client only a server that owes it something", () => {
  const keepalive = { intervalMs: 50, timeoutMs: 10 };
  const server = watching({ keepalive });
  server.clock.advance(50);
  expect(server.connection.events).toEqual(["ping"]);
  const client = watching({ keepalive, role: "client" });
  client.clock.advance(5000);
  expect(client.connection.events).toEqual([]);
  client.connection.openStreams = 1;
  client.clock.advance(60);
  expect(client.connection.events).toEqual(["ping", "destroy: the peer did not answer a PING in time"]);
});

test("an idle connection is drained, at once if nobody was ever there, never while a stream is open", () => {
  const { clock, connection, watch } = watching({ idleMs: 1000 });
  connection.lastStreamId = 1;
  clock.advance(1000);
  connection.openStreams = 1;
  connection.lastStreamId = 3;
  clock.advance(10_000);
  connection.openStreams = 0;
  clock.advance(1000);
  expect(connection.events).toEqual([]);
  clock.advance(1000);
  expect(connection.events).toEqual(["drain"]);
  // A stream that was under way may end.
  connection.openStreams = 1;
  clock.advance(5000);
  expect(connection.events).toEqual(["drain"]);
  connection.openStreams = 0;
  clock.advance(2100);
  expect(connection.events).toEqual(["drain", "drain", "destroy: the connection was idle"]);
  watch.stop();
  const unused = watching({ idleMs: 1000 });
  unused.clock.advance(1000);
  expect(unused.connection.events).toEqual(["drain"]);
});

test.each([
  [0, 900],
  [0.5, 1000],
  [0.999_999, 1100],
])("ages differ by a tenth, so that clients do not come back all at once: %d → %i ms", (random, ageMs) => {
  const { clock, connection } = watching({ age: { maxMs: 1000, graceMs: 50 }, random: () => random });
  clock.advance(ageMs - 1);
  expect(connection.events).toEqual([]);
  clock.advance(1);
  expect(connection.events).toEqual(["drain"]);
});

test("an old connection that does not go is told, then closed; stopping leaves no timer", () => {
  const expired: string[] = [];
  const age = { maxMs: 1000, graceMs: 50 };
  const { clock, connection, watch } = watching({
    age,
    idleMs: 5000,
    keepalive: { intervalMs: 9000, timeoutMs: 9000 },
    onExpired: () => expired.push("expired"),
  });
  clock.advance(1049);
  expect(expired).toEqual([]);
  clock.advance(1);
  expect(expired).toEqual(["expired"]);
  clock.advance(100);
  expect(connection.events).toEqual(["drain", "destroy: the connection is too old"]);
  watch.stop();
  expect(clock.timers).toBe(0);
});
