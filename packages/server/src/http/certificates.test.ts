import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TlsOptions } from "node:tls";
import { expect, test } from "vitest";
import { ManualClock } from "@sluice/rpc/testing";
import { createLogger } from "../telemetry/logger.ts";
import { openCertificates } from "./certificates.ts";

const fixtures = join(import.meta.dirname, "../../../../test/fixtures/tls");

async function start() {
  const folder = await mkdtemp(join(tmpdir(), "sluice-certificates-"));
  const files = { cert: join(folder, "tls.crt"), key: join(folder, "tls.key"), clientCa: undefined };
  const use = async (cert: string, key: string): Promise<void> => {
    await copyFile(join(fixtures, `${cert}.crt`), files.cert);
    await copyFile(join(fixtures, `${key}.key`), files.key);
  };
  await use("localhost", "localhost");
  const clock = new ManualClock();
  const look = async (): Promise<void> => {
    clock.advance(1000);
    await expect.poll(() => clock.timers).toBe(1);
  };
  const lines: string[] = [];
  const logger = createLogger({ format: "text", level: "info", clock, write: (line) => lines.push(line) });
  const certificates = await openCertificates(files, { clock, logger });
  const renewed: TlsOptions[] = [];
  certificates.watch((tls) => renewed.push(tls));
  return {
    files,
    use,
    look,
    lines,
    renewed,
    certificates,
    async [Symbol.asyncDispose]() {
      certificates[Symbol.dispose]();
      expect(clock.timers).toBe(0);
      await rm(folder, { recursive: true });
    },
  };
}

test("a renewed pair is handed out once", async () => {
  await using tls = await start();
  await tls.look();
  expect(tls.renewed).toEqual([]);
  await tls.use("renewed", "renewed");
  await tls.look();
  await tls.look();
  expect(tls.renewed).toHaveLength(1);
  expect(tls.certificates.tls).toEqual(tls.renewed[0]);
  expect(tls.lines).toEqual([expect.stringContaining("certificate renewed")]);
});

test("a pair that does not fit replaces nothing, and is said once, at the second look", async () => {
  await using tls = await start();
  const before = tls.certificates.tls;
  await tls.use("renewed", "localhost");
  await tls.look();
  expect(tls.lines).toEqual([]);
  await tls.look();
  await tls.look();
  expect(tls.lines).toEqual([
    expect.stringMatching(
      /Cannot use the certificate \S+tls\.crt: the key \S+tls\.key is that of another; the one before stays in use/,
    ),
  ]);
  expect(tls.certificates.tls).toEqual(before);
  expect(tls.renewed).toEqual([]);
  await tls.use("renewed", "renewed");
  await tls.look();
  expect(tls.renewed).toHaveLength(1);
});

test("files that are written one after the other are no reason to complain", async () => {
  await using tls = await start();
  await copyFile(join(fixtures, "renewed.crt"), tls.files.cert);
  await tls.look();
  await copyFile(join(fixtures, "renewed.key"), tls.files.key);
  await tls.look();
  expect(tls.renewed).toHaveLength(1);
  expect(tls.lines).toEqual([expect.stringContaining("certificate renewed")]);
});

test("a file that has gone is said, and the certificate stays", async () => {
  await using tls = await start();
  await rm(tls.files.key);
  await tls.look();
  await tls.look();
  expect(tls.lines).toEqual([expect.stringMatching(/there is no such file; the one before stays in use/)]);
});

test("who opens with files that cannot be used hears why", async () => {
  await using tls = await start();
  const clock = new ManualClock();
  const logger = createLogger({ format: "text", level: "info", clock, write: () => {} });
  const open = (files: Partial<typeof tls.files> & { clientCa?: string }) =>
    openCertificates({ ...tls.files, ...files }, { clock, logger });
  await expect(open({ cert: "/nowhere/tls.crt" })).rejects.toThrow(
    "Cannot read the certificate /nowhere/tls.crt: there is no such file",
  );
  await writeFile(join(tls.files.key), "nonsense");
  await expect(open({})).rejects.toThrow(/^Cannot use \S+tls\.key: it holds no private key \(PEM\)/);
  const readme = join(fixtures, "README.md");
  await expect(open({ cert: readme })).rejects.toThrow(`Cannot use ${readme}: it holds no certificate (PEM)`);
});

test("client certificates are asked for where an authority is named", async () => {
  await using tls = await start();
  const clock = new ManualClock();
  const logger = createLogger({ format: "text", level: "info", clock, write: () => {} });
  const clientCa = join(fixtures, "client.crt");
  using certificates = await openCertificates({ ...tls.files, clientCa }, { clock, logger });
  expect(certificates.tls).toMatchObject({ requestCert: true, rejectUnauthorized: true });
});
