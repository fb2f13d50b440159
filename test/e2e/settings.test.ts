// Settings act: what is configured is what the running server does.
import { Code } from "@sluice/rpc";
import { expect, test } from "vitest";
import { collect, openLogClient, takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

test("heartbeat: a stream that has nothing to send says that it lives", async () => {
  await using folder = await openTemporaryFolder("settings");
  await using server = await startServer(["--heartbeat", "50ms"], { folder: folder.path });
  await using client = openLogClient(server.address);
  const stream = client.logs.streamLogs({ application: "none", follow: true, tailLines: 0n });
  expect((await stream.next()).value?.control?.kind.case).toBe("sync");
  expect((await stream.next()).value?.control?.kind.case).toBe("heartbeat");
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

test("retentionBytes: whole segments go, the oldest first, and readers hear of the gap", async () => {
  await using folder = await openTemporaryFolder("settings");
  const words = ["--segment-bytes", "64KiB", "--limits-entry-bytes-max", "16KiB", "--retention-bytes", "256KiB"];
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
