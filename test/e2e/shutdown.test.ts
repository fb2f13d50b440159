// How a server ends: cleanly, in its grace, or at once when it is told twice.
import { Code, createClient, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { Health } from "../../packages/rpc/src/gen/grpc/health/v1/health_pb.ts";
import { collect, createRequests, openLogClient, takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s: a follow is ended with UNAVAILABLE, exit code 0, nothing is lost",
  async (signal) => {
    await using folder = await openTemporaryFolder("shutdown");
    {
      await using server = await startServer([], { folder: folder.path });
      await using client = openLogClient(server.address);
      await client.write({ application: "a", message: "kept" });
      const stream = client.logs.streamLogs({ application: "a", follow: true });
      await takeEntries(stream, 1);
      const rest = collect(stream);
      server.kill(signal);
      await expect(rest).rejects.toMatchObject({ code: Code.UNAVAILABLE });
      expect(await server.ended()).toMatchObject({ exitCode: 0, signal: null });
      expect(server.stderr()).toContain("draining");
    }
    await using server = await startServer([], { folder: folder.path });
    await using client = openLogClient(server.address);
    const entries = await collect(client.seed.streamLogs({ application: "a" }));
    expect(entries.map((each) => each.message)).toEqual(["kept"]);
    expect(server.stderr()).not.toContain("cut a torn end");
  },
);

test("a writer that is under way may finish within the grace; health says NOT_SERVING meanwhile", async () => {
  await using folder = await openTemporaryFolder("shutdown");
  await using server = await startServer(["--drain-grace", "1h"], { folder: folder.path });
  await using client = openLogClient(server.address);
  const health = createClient(Health, client.channel).watch({ service: "sluice.logs.v1.LogService" });
  expect((await health.next()).value).toMatchObject({ status: 1 });

  const requests = createRequests<{ entries: { message: string }[] }>();
  const answers = client.logs.writeLogStream(requests);
  requests.send({ entries: [{ message: "before" }] });
  await answers.next();
  server.kill("SIGTERM");
  expect((await health.next()).value).toMatchObject({ status: 2 });
  await health.return?.();
  requests.send({ entries: [{ message: "within the grace" }] });
  requests.end();
  const acknowledged = (await collect(answers)).map((each) => each.acknowledged);
  expect(acknowledged.at(-1)).toBe(2n);
  expect(await server.ended()).toMatchObject({ exitCode: 0 });
});

test("when the grace is over, calls are ended with UNAVAILABLE and a time to retry", async () => {
  await using folder = await openTemporaryFolder("shutdown");
  await using server = await startServer(["--drain-grace", "50ms"], { folder: folder.path });
  await using client = openLogClient(server.address);
  const answers = client.logs.writeLogStream(createRequests());
  await answers.next();
  const rest = collect(answers);
  server.kill("SIGTERM");
  const error: unknown = await rest.catch((each: unknown) => each);
  expect(error).toBeInstanceOf(RpcError);
  expect(error).toMatchObject({ code: Code.UNAVAILABLE });
  expect(await server.ended()).toMatchObject({ exitCode: 0 });
});

test("a second signal ends it at once, with its own exit code", async () => {
  await using folder = await openTemporaryFolder("shutdown");
  await using server = await startServer(["--drain-grace", "1h"], { folder: folder.path });
  await using client = openLogClient(server.address);
  const answers = client.logs.writeLogStream(createRequests());
  await answers.next();
  const rest = collect(answers).catch((error: unknown) => error);
  server.kill("SIGTERM");
  await server.waitFor("stderr", /draining/u);
  server.kill("SIGTERM");
  expect(await server.ended()).toMatchObject({ exitCode: 130, signal: null });
  expect(await rest).toMatchObject({ code: Code.UNAVAILABLE });
});
