// Where `sluice serve` listens: several addresses, Unix sockets, one for health alone, sockets that systemd passed; and
// what it says of a place that cannot be. TLS is in listening-tls.test.ts.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { createServer as createNetServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { outcomeAt } from "../support/call-outcome.ts";
import { runCli, startCli } from "../support/cli-process.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { tlsFixture, tlsSettings } from "../support/tls-fixtures.ts";

test("several addresses and a Unix socket serve everything, one more health alone", async () => {
  await using folder = await openTemporaryFolder("listening");
  const path = join(folder.path, "s.sock");
  const words = ["serve", "--listen", "127.0.0.1:0", "--listen", `unix:${path}`, "--health-listen", "127.0.0.1:0"];
  await using server = startCli(words, { folder: folder.path });
  // The last line: whoever has seen it may call all of them.
  const [, health = ""] = await server.waitFor("stderr", /^listening for health on (\S+)$/mu);
  const addresses = Array.from(server.stderr().matchAll(/^listening on (\S+)$/gmu), ([, address = ""]) => address);
  expect(addresses).toEqual([expect.stringMatching(/^127\.0\.0\.1:\d+$/u), `unix:${path}`]);
  for (const address of addresses) await expect(outcomeAt(address)).resolves.toBe("OK");
  await expect(outcomeAt(health)).resolves.toBe("UNIMPLEMENTED");
  for (const address of [addresses[0], health]) {
    const ask = (name: string) => fetch(`http://${address}/${name}`).then(({ status }) => status);
    expect(await Promise.all(["healthz", "readyz", "nothing"].map(ask))).toEqual([200, 200, 404]);
  }
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  server.kill("SIGTERM");
  expect((await server.ended()).exitCode).toBe(0);
  await expect(stat(path)).rejects.toThrow("ENOENT");
});

test("with --log-format json each address is an object; a Unix socket's mode and health's place are settings", async () => {
  await using folder = await openTemporaryFolder("listening");
  const path = join(folder.path, "shared.sock");
  await using server = startCli(["serve", "--log-format", "json", "--socket-mode", "660"], {
    folder: folder.path,
    environment: { SLUICE_LISTEN: `unix:${path},127.0.0.1:0`, SLUICE_HEALTH_LISTEN: "127.0.0.1:0" },
  });
  await server.waitFor("stderr", /"event":"listening-health".*\n/u);
  const records = server.stderr().trimEnd().split("\n");
  const listening = records.map((line) => JSON.parse(line) as { event: string; address: string });
  expect(listening.flatMap(({ event, address }) => (event.startsWith("listening") ? [[event, address]] : []))).toEqual([
    ["listening", `unix:${path}`],
    ["listening", expect.stringMatching(/^127\.0\.0\.1:\d+$/u)],
    ["listening-health", expect.stringMatching(/^127\.0\.0\.1:\d+$/u)],
  ]);
  expect((await stat(path)).mode & 0o777).toBe(0o660);
});

test("pages of listed origins may call, others are told that they may not", async () => {
  await using folder = await openTemporaryFolder("listening");
  const listed = ["https://console.example", "http://localhost:5173"];
  await using server = await startServer(["--web-origins", listed.join(",")], { folder: folder.path });
  const ask = (origin: string) => fetch(`http://${server.address}/healthz`, { headers: { origin } });
  for (const origin of listed) {
    const answer = await ask(origin);
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, origin]);
  }
  const refused = await ask("https://evil.example");
  expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  await expect(refused.text()).resolves.toBe(
    "Pages of https://evil.example may not call this server: it does not list their origin.\n",
  );
});

/** A listening socket, and the descriptor to hand on. */
async function openPassedSocket(): Promise<{ server: Server; port: number; fd: number }> {
  const server = createNetServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  return { server, port: (server.address() as AddressInfo).port, fd };
}

test("sockets that a service manager passed are served", async () => {
  await using folder = await openTemporaryFolder("listening");
  const { server: given, port, fd } = await openPassedSocket();
  const launcher = fileURLToPath(new URL("../../packages/cli/bin/sluice.js", import.meta.url));
  // As systemd does it: the process's own id is known only in the process.
  const script = 'LISTEN_PID=$$ exec "$0" "$@"';
  const child = spawn("sh", ["-c", script, process.execPath, launcher, "serve", "--listen", "systemd"], {
    cwd: folder.path,
    env: { PATH: process.env["PATH"] ?? "", HOME: folder.path, LISTEN_FDS: "1" },
    stdio: ["ignore", "ignore", "pipe", fd],
  });
  const ended = once(child, "close");
  try {
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
    await expect.poll(() => stderr, { timeout: 15_000 }).toContain(`listening on 127.0.0.1:${port}\n`);
    given.close();
    await once(given, "close");
    await expect(outcomeAt(`127.0.0.1:${port}`)).resolves.toBe("OK");
    child.kill("SIGTERM");
    await expect(ended).resolves.toEqual([0, null]);
  } finally {
    given.close();
    child.kill("SIGKILL");
    await ended;
  }
});

const pair = (cert: string, key: string) => ["--tls-cert", tlsFixture(cert), "--tls-key", tlsFixture(key)];

test.each([
  [
    "systemd that passed nothing",
    ["--listen", "systemd"],
    /systemd: LISTEN_FDS names none; start the service by its socket unit, or give an address/u,
  ],
  [
    "others reach it",
    ["--listen", "0.0.0.0:0"],
    /Cannot listen on 0\.0\.0\.0: others can reach it .* allow it with --insecure-listen/u,
  ],
  [
    "an unknown name",
    ["--listen", "nowhere.invalid:0"],
    /Cannot listen on nowhere\.invalid: this machine knows no address of that name/u,
  ],
  [
    "not this machine's",
    ["--listen", "192.0.2.1:0", "--insecure-listen"],
    /Cannot listen on 192\.0\.2\.1:0: this machine has no such address/u,
  ],
  [
    "no folder for the socket",
    ["--listen", "unix:none/s.sock"],
    /Cannot listen on unix:none\/s\.sock: there is no folder none; make it/u,
  ],
  [
    "a file where the socket goes",
    ["--listen", "unix:file"],
    /Cannot listen on unix:file: a file that is no socket is there; remove it/u,
  ],
  [
    "no certificate file",
    ["--tls-cert", "a.crt", "--tls-key", "a.key"],
    /Cannot read the certificate \S+a\.crt: there is no such file/u,
  ],
  [
    "no key file",
    ["--tls-cert", tlsFixture("localhost.crt"), "--tls-key", "a.key"],
    /Cannot read the private key \S+a\.key: there is no such file/u,
  ],
  [
    "a folder as key",
    ["--tls-cert", tlsFixture("localhost.crt"), "--tls-key", "folder"],
    /Cannot read the private key \S+folder: it is a folder/u,
  ],
  [
    "another's key",
    pair("localhost.crt", "renewed.key"),
    /Cannot use the certificate \S+localhost\.crt: the key \S+renewed\.key is that of another/u,
  ],
  [
    "a key as certificate",
    pair("localhost.key", "localhost.key"),
    /Cannot use \S+localhost\.key: it holds no certificate \(PEM\)/u,
  ],
  [
    "no authority",
    [...tlsSettings, "--tls-client-ca", tlsFixture("README.md")],
    /Cannot use \S+README\.md: it holds no certificate \(PEM\)/u,
  ],
])("%s: refused with a sentence", async (_what, words, sentence) => {
  await using folder = await openTemporaryFolder("listening");
  await mkdir(join(folder.path, "folder"));
  await writeFile(join(folder.path, "file"), "");
  const where = words.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const { exitCode, stderr } = await runCli(["serve", ...where, ...words], { folder: folder.path });
  expect(stderr).toMatch(sentence);
  expect(stderr).not.toMatch(/^listening|^ {4}at /mu);
  expect(exitCode).toBe(1);
});

test.each([
  [["--tls-cert", "a.crt"], "tlsCert needs tlsKey beside it"],
  [["--tls-client-ca", "a.crt"], "tlsClientCa needs tlsCert beside it"],
  [["--allow-plaintext"], "allowPlaintext needs tlsCert beside it"],
  [["--web-origins", "*"], '"*" is no origin; allowed is https://HOST'],
  [["--listen", "8080"], '"8080" is no address; allowed is HOST:PORT'],
  [["--health-listen", "unix:/h.sock"], '"unix:/h.sock" is no address; allowed is HOST:PORT'],
  [["--socket-mode", "rw"], '"rw" is none; allowed are three octal digits'],
])("%j makes no sense, and the sentence says what does", async (words, sentence) => {
  await using folder = await openTemporaryFolder("listening");
  const { exitCode, stderr } = await runCli(["serve", ...words], { folder: folder.path });
  expect(stderr).toContain(sentence);
  expect(exitCode).toBe(2);
});

test("when health's place is taken, nothing is served", async () => {
  await using folder = await openTemporaryFolder("listening");
  await using other = await startServer([], { folder: folder.path });
  const words = ["serve", "--listen", "127.0.0.1:0", "--data", "second", "--health-listen", other.address];
  const { exitCode, stderr } = await runCli(words, { folder: folder.path });
  expect(stderr).toContain(
    `Cannot listen on ${other.address}: another program listens there; stop it or choose another address`,
  );
  expect(stderr).not.toContain("listening");
  expect(exitCode).toBe(1);
});
