// Where a server can listen besides a port: Unix sockets, ports that are shared, sockets that were handed over.
import { statSync, writeFileSync } from "node:fs";
import { createClient, createServer, listen, openChannel, serve } from "@sluice/rpc";
import { expect, test } from "vitest";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { echoHandlers } from "./support.ts";

const echoServer = () => createServer({ services: [serve(EchoService, echoHandlers)] });

async function call(address: string): Promise<string> {
  await using channel = openChannel(address);
  return (await createClient(EchoService, channel).echo({ text: "here" })).text;
}

test("a Unix socket: for its user alone unless it says otherwise, and gone with its server", async () => {
  await using folder = await openTemporaryFolder("rpc");
  const path = `${folder.path}/s.sock`;
  const listener = await listen(echoServer(), { path });
  expect([listener.address, listener.port]).toEqual([`unix:${path}`, 0]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await expect(call(listener.address)).resolves.toBe("here");
  await listener.drain({ graceMs: 0 });
  expect(() => statSync(path)).toThrow("ENOENT");
  await using shared = await listen(echoServer(), { path, mode: 0o660 });
  expect(statSync(path).mode & 0o777).toBe(0o660);
  await expect(call(shared.address)).resolves.toBe("here");
});

test("a socket's file that a dead process left is taken over", async () => {
  await using folder = await openTemporaryFolder("rpc");
  const path = `${folder.path}/s.sock`;
  const { spawnSync } = await import("node:child_process");
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  expect(spawnSync(process.execPath, ["-e", script]).signal).toBe("SIGKILL");
  expect(statSync(path).isSocket()).toBe(true);
  await using listener = await listen(echoServer(), { path });
  await expect(call(listener.address)).resolves.toBe("here");
});

test("a socket that somebody answers at is left alone, and so is any other file", async () => {
  await using folder = await openTemporaryFolder("rpc");
  const path = `${folder.path}/s.sock`;
  await using first = await listen(echoServer(), { path });
  await expect(listen(echoServer(), { path })).rejects.toMatchObject({
    code: "EADDRINUSE",
    message: `Cannot listen on unix:${path}: another program listens there; stop it or choose another address`,
  });
  await expect(call(first.address)).resolves.toBe("here");
  const file = `${folder.path}/file`;
  writeFileSync(file, "precious");
  await expect(listen(echoServer(), { path: file })).rejects.toMatchObject({
    code: "EADDRINUSE",
    message: `Cannot listen on unix:${file}: a file that is no socket is there; remove it or choose another path`,
  });
  expect(statSync(file).size).toBe(8);
});

test("a path that cannot be says why", async () => {
  await using folder = await openTemporaryFolder("rpc");
  const reasonOf = (path: string) =>
    listen(echoServer(), { path }).then(
      () => "none",
      (error: unknown) => String(error).replace(`ListenError: Cannot listen on unix:${path}: `, ""),
    );
  await expect(reasonOf(`${folder.path}/none/s.sock`)).resolves.toBe(
    `there is no folder ${folder.path}/none; make it, or choose another`,
  );
  await expect(reasonOf(`${folder.path}/${"s".repeat(100)}.sock`)).resolves.toMatch(
    /^the path of a socket has at most \d+ bytes; choose a shorter one$/,
  );
});

test("several listeners share a port with reusePort, and none gets it without", async () => {
  await using first = await listen(echoServer(), { reusePort: true });
  await using second = await listen(echoServer(), { reusePort: true, port: first.port });
  expect(second.port).toBe(first.port);
  await expect(call(first.address)).resolves.toBe("here");
  await expect(listen(echoServer(), { port: first.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
});

test("a file descriptor that is none of ours is said in a sentence", async () => {
  await expect(listen(echoServer(), { fd: 987_654 })).rejects.toMatchObject({
    message: expect.stringMatching(/^Cannot listen on file descriptor 987654: /) as string,
  });
});
