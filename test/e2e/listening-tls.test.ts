// `sluice serve` with TLS: certificates that are renewed under way, clients that have to show one, and who comes without.
import { copyFile, readFile } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { LogService } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import { expect, test } from "vitest";
import { outcomeAt } from "../support/call-outcome.ts";
import { takeEntries } from "../support/log-client.ts";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { mutualTlsSettings, tlsFixture, tlsSettings } from "../support/tls-fixtures.ts";

const ca = await readFile(tlsFixture("localhost.crt"));

/** Whose certificate a new connection sees. */
async function commonNameAt(address: string): Promise<string> {
  const [host = "", port = ""] = address.split(":");
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  await once(socket, "close");
  return String(CN);
}

test("a renewed certificate is taken up, open streams go on; one that does not fit is not, and the log says so", async () => {
  await using folder = await openTemporaryFolder("listening");
  const use = async (cert: string, key: string): Promise<void> => {
    await copyFile(tlsFixture(`${cert}.crt`), join(folder.path, "tls.crt"));
    await copyFile(tlsFixture(`${key}.key`), join(folder.path, "tls.key"));
  };
  await use("localhost", "localhost");
  await using server = await startServer(["--tls-cert", "tls.crt", "--tls-key", "tls.key"], { folder: folder.path });
  await using before = openChannel(server.address, { tls: { ca } });
  const follower = createClient(LogService, before).streamLogs({ application: "a", follow: true });
  const first = takeEntries(follower, 1);
  await createClient(LogService, before).writeLogs({ entries: [{ application: "a", message: "before" }] });
  expect((await first)[0]?.message).toBe("before");

  await use("renewed", "renewed");
  await server.waitFor("stderr", /INFO  certificate renewed subject="CN=Sluice test.*, renewed"/u);
  await expect(commonNameAt(server.address)).resolves.toBe("Sluice test, renewed");
  await expect(outcomeAt(server.address, { tls: { ca } })).resolves.toBe("UNAVAILABLE");
  await using after = openChannel(server.address, { tls: { ca: await readFile(tlsFixture("renewed.crt")) } });
  await createClient(LogService, after).writeLogs({ entries: [{ application: "a", message: "after" }] });
  expect((await takeEntries(follower, 1))[0]?.message).toBe("after");

  await use("localhost", "renewed");
  await server.waitFor("stderr", /ERROR .*tls\.key is that of another; the one before stays in use/u);
  await expect(commonNameAt(server.address)).resolves.toBe("Sluice test, renewed");
  await follower.return?.();
});

test("clients must show a certificate of the named authority; probes and the Unix socket need none", async () => {
  await using folder = await openTemporaryFolder("listening");
  const path = join(folder.path, "s.sock");
  const words = [...mutualTlsSettings, "--health-listen", "127.0.0.1:0"];
  const places = ["--listen", "127.0.0.1:0", "--listen", `unix:${path}`];
  await using server = await startServer([...words, ...places], { folder: folder.path });
  const client = { cert: await readFile(tlsFixture("client.crt")), key: await readFile(tlsFixture("client.key")) };
  const stranger = { cert: await readFile(tlsFixture("renewed.crt")), key: await readFile(tlsFixture("renewed.key")) };
  await expect(outcomeAt(server.address, { tls: { ca, ...client } })).resolves.toBe("OK");
  await expect(outcomeAt(server.address, { tls: { ca } })).resolves.toBe("UNAVAILABLE");
  await expect(outcomeAt(server.address, { tls: { ca, ...stranger } })).resolves.toBe("UNAVAILABLE");
  await expect(outcomeAt(`unix:${path}`)).resolves.toBe("OK");
  const [, health = ""] = await server.waitFor("stderr", /^listening for health on (\S+)$/mu);
  expect((await fetch(`http://${health}/readyz`)).status).toBe(200);
});

test("who has to show a certificate has said who they are: others may reach the server", async () => {
  await using folder = await openTemporaryFolder("listening");
  const words = [...mutualTlsSettings, "--listen", "0.0.0.0:0"];
  await using server = await startServer(words, { folder: folder.path });
  expect(server.address).toMatch(/^0\.0\.0\.0:\d+$/u);
});

test("without TLS there is a sentence, or service where it is allowed", async () => {
  await using folder = await openTemporaryFolder("listening");
  {
    await using server = await startServer(tlsSettings, { folder: folder.path });
    const answer = await fetch(`http://${server.address}/healthz`);
    expect([answer.status, await answer.text()]).toEqual([400, "This port speaks TLS: use https.\n"]);
    await expect(outcomeAt(server.address)).resolves.toBe("UNAVAILABLE");
  }
  await using server = await startServer([...tlsSettings, "--allow-plaintext"], { folder: folder.path });
  await expect(outcomeAt(server.address)).resolves.toBe("OK");
  await expect(outcomeAt(server.address, { tls: { ca } })).resolves.toBe("OK");
});
