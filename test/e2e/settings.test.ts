// Settings act: what is configured is what the running server does.
import { connect } from "node:net";
import { Code, Metadata } from "@sluice/rpc";
import { expect, test } from "vitest";
import { FrameType, PREFACE } from "../../packages/rpc/src/http2/frame.ts";
import { parseFrames, settingsFrame } from "../../packages/rpc/src/http2/testing/frames.ts";
import { collect, openLogClient, takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

test("heartbeat: a stream that has nothing to send says that it lives", async () => {
  await using folder = await openTemporaryFolder("settings");
  await using server = await startServer(["--heartbeat", "50ms"], { folder: folder.path });
  await using client = openLogClient(server.address);
  const stream = client.logs.streamLogs({ application: "none", follow: true, tailLines: 0n });
  // The application has never written: that is said first.
  for (const kind of ["notice", "sync", "heartbeat"]) {
    expect((await stream.next()).value?.control?.kind.case).toBe(kind);
  }
  await stream.return?.();
});

test("limits.*: the entry, the filters, the message, the calls of a connection", async () => {
  await using folder = await openTemporaryFolder("settings");
  const words = [
    "--limits-entry-bytes-max",
    "1KiB",
    "--limits-filters-max",
    "1",
    "--limits-message-bytes-max",
    "64KiB",
  ];
  await using server = await startServer([...words, "--limits-calls-per-connection-max", "2"], { folder: folder.path });
  await using client = openLogClient(server.address);
  const { rejected } = await client.logs.writeLogs({ entries: [{ message: "x".repeat(1024) }] });
  expect(rejected).toMatchObject([{ reason: "ENTRY_TOO_LARGE" }]);
  await expect(collect(client.logs.streamLogs({ filters: ["a", "b"] }))).rejects.toMatchObject({
    code: Code.INVALID_ARGUMENT,
  });
  const entries = Array.from({ length: 100 }, () => ({ message: "x".repeat(1000) }));
  await expect(client.logs.writeLogs({ entries })).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });

  // Two follows fill the connection; a third call waits at the client until one of them ends.
  const follows = [1, 2].map(() => client.logs.streamLogs({ application: "none", follow: true }));
  for (const follow of follows) await follow.next();
  const third = client.logs.listApplications({});
  const first = await Promise.race([third.then(() => "answered"), follows[0]?.return?.().then(() => "ended")]);
  expect(first).toBe("ended");
  await third;
  await follows[1]?.return?.();
});

test("limits.connectionsMax: one connection too many is closed, the others go on", async () => {
  await using folder = await openTemporaryFolder("settings");
  await using server = await startServer(["--limits-connections-max", "1"], { folder: folder.path });
  await using first = openLogClient(server.address);
  await first.logs.listApplications({});
  await using second = openLogClient(server.address);
  await expect(second.logs.listApplications({})).rejects.toMatchObject({ code: Code.UNAVAILABLE });
  await first.logs.listApplications({});
});

test("connections.*, grpc.*, http1.*, http2.*: they reach the address that is served", async () => {
  await using folder = await openTemporaryFolder("settings");
  const words = [
    ["--http2-handshake-timeout", "100ms"],
    ["--http2-header-list-bytes-max", "2KiB"],
    ["--http1-idle-timeout", "1s"],
    ["--connections-keepalive", "1s"],
    ["--connections-keepalive-timeout", "100ms"],
    ["--grpc-held-bytes-max", "1MiB"],
  ];
  await using server = await startServer(words.flat(), { folder: folder.path });
  const [host = "", port = ""] = server.address.split(":");
  /** What a connection hears that says only this, until it is closed. */
  const hear = async (...said: Uint8Array[]): Promise<Buffer> => {
    const socket = connect({ host, port: Number(port) });
    for (const bytes of said) socket.write(bytes);
    return Buffer.concat(await socket.toArray());
  };
  await expect(hear()).resolves.toHaveLength(0);
  const answer = await hear(Buffer.from("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"));
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /u);
  const silent = await hear(PREFACE, settingsFrame());
  expect(parseFrames(silent).map(({ type }) => type)).toContain(FrameType.PING);

  await using client = openLogClient(server.address);
  const metadata = new Metadata({ large: "x".repeat(3000) });
  await expect(client.logs.listApplications({}, { metadata })).rejects.toThrow("431");
  // A message of 2 MB is held until it is whole.
  const entries = Array.from({ length: 2000 }, () => ({ message: "x".repeat(1000) }));
  await expect(client.logs.writeLogs({ entries })).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
});

test("retainBytes: whole segments go, the oldest first, and readers hear of the gap", async () => {
  await using folder = await openTemporaryFolder("settings");
  const words = ["--segment-bytes", "64KiB", "--limits-entry-bytes-max", "16KiB", "--retain-bytes", "256KiB"];
  await using server = await startServer(words, { folder: folder.path });
  await using client = openLogClient(server.address);
  await client.write({ application: "first", message: "gone before long" });
  const stream = client.logs.streamLogs({ follow: true });
  const [entry] = await takeEntries(stream, 1);
  await stream.return?.();
  for (let i = 0; i < 30; i += 1) {
    await client.write(...Array.from({ length: 50 }, () => ({ application: "bulk", message: "x".repeat(1000) })));
  }
  await expect.poll(() => server.stderr(), { timeout: 10_000 }).toMatch(/removed a segment.* first=1 .*reason=bytes/u);
  const resumed = client.logs.streamLogs({ resumeAfter: entry?.cursor ?? "" });
  const { value } = await resumed.next();
  expect(value?.control?.kind).toMatchObject({ case: "gap", value: { reason: 3 } });
  await resumed.return?.();
});
