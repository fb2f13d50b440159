// The contract of uploads, by every protocol that they come by: FileService, ByteStream, tus. The server is a real one in this
// process, so that its clock and its disk are the test's.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import { createLogger, loadConfig, openServer, type Server } from "@sluice/server";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createFullableDisk } from "../support/failing-file-system.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";
import { DRIVERS } from "../uploads/drivers.ts";
import { type UploadDriver, UploadFault, type UploadStatus } from "../uploads/upload-driver.ts";

const resources = new AsyncDisposableStack();
const clock = new ManualClock();
const disk = createFullableDisk();
let server: Server;
let shared: string;

beforeAll(async () => {
  const folder = resources.use(await openTemporaryFolder("upload-contract")).path;
  shared = join(folder, "shared");
  await mkdir(shared);
  const flags = new Map([
    ["listen", "127.0.0.1:0"],
    ["data", join(folder, "data")],
    ["files", `${shared}:rw`],
    // A day of the clock would be 5,760 measurements of the machine.
    ["metrics.history", "off"],
  ]);
  const { config } = await loadConfig({ flags, environment: {}, folder });
  const logger = createLogger({ format: "text", level: "error", clock, write: () => {} });
  server = resources.use(await openServer(config, { clock, fileSystem: disk.fileSystem, logger }));
});
afterAll(() => resources.disposeAsync());

const CONTENT = randomBytes(400_000);
const HALF = 170_000;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const kindOf = (error: unknown): string => (error instanceof UploadFault ? error.kind : String(error));

async function failureOf(work: Promise<unknown>): Promise<UploadFault> {
  const error = await work.then(
    () => new UploadFault("other", "it went well"),
    (each: unknown) => each,
  );
  if (!(error instanceof UploadFault)) throw error;
  return error;
}

describe.each(Object.entries(DRIVERS))("%s", (_name, openDriver) => {
  let driver: UploadDriver;
  beforeEach(async () => {
    driver = openDriver(server.address);
    await writeFile(join(shared, "a"), "old");
  });
  afterEach(async () => {
    await driver[Symbol.asyncDispose]();
    disk.isFull = false;
    for (const name of await readdir(shared)) if (!name.startsWith(".")) await rm(join(shared, name));
  });

  const start = (more: { sha256?: string } = {}) => driver.start("a", { size: CONTENT.length, ...more });

  /** Sends a part in pieces. */
  async function send(upload: string, from: number, to: number, checksum?: "right" | "wrong"): Promise<number> {
    const sending = driver.send(upload, from, checksum === undefined ? {} : { checksum });
    for (let at = from; at < to; at += 60_000) await sending.write(CONTENT.subarray(at, Math.min(to, at + 60_000)));
    return sending.end();
  }

  /** Not yet: the old file is whole. */
  const expectOld = async () => expect(await readFile(join(shared, "a"), "utf8")).toBe("old");
  const expectNew = async () => expect((await readFile(join(shared, "a"))).equals(CONTENT)).toBe(true);
  /** Of an upload that is there. */
  async function statusOf(upload: string): Promise<UploadStatus> {
    const status = await driver.status(upload);
    if (status === "gone") throw new Error("It is gone");
    return status;
  }

  test("puts the file into its place when all is committed", async () => {
    const upload = await start();
    expect(await driver.status(upload)).toEqual({ offset: 0, isCommitted: false });
    expect(await send(upload, 0, HALF)).toBe(HALF);
    expect(await driver.status(upload)).toEqual({ offset: HALF, isCommitted: false });
    await expectOld();
    expect(await send(upload, HALF, CONTENT.length)).toBe(CONTENT.length);
    await driver.commit(upload);
    await expectNew();
    // Again, as after a lost answer.
    await driver.commit(upload);
    expect(await driver.status(upload)).toEqual({ offset: CONTENT.length, isCommitted: true });
  });

  test("keeps what arrived when the client breaks off, and goes on there", async () => {
    const upload = await start();
    const sending = driver.send(upload, 0);
    await sending.write(CONTENT.subarray(0, HALF));
    await expect.poll(async () => (await statusOf(upload)).offset).toBeGreaterThan(0);
    sending.cut();
    await using other = openDriver(server.address);
    await expect
      .poll(async () => {
        const { offset } = await statusOf(upload);
        const rest = other.send(upload, offset);
        await rest.write(CONTENT.subarray(offset));
        return rest.end().catch(kindOf);
      })
      .toBe(CONTENT.length);
    await other.commit(upload);
    await expectNew();
  });

  test("never takes bytes behind a hole, nor those that it has a second time", async () => {
    const upload = await start();
    await send(upload, 0, HALF);
    expect(await failureOf(send(upload, HALF + 1, CONTENT.length))).toMatchObject({ kind: "offset" });
    const again = send(upload, HALF - 50_000, HALF + 10_000);
    if (driver.abilities.skipsDuplicates) expect(await again).toBe(HALF + 10_000);
    else expect(await failureOf(again)).toMatchObject({ kind: "offset" });
    const { offset } = await statusOf(upload);
    expect(offset).toBe(driver.abilities.skipsDuplicates ? HALF + 10_000 : HALF);
    await send(upload, offset, CONTENT.length);
    await driver.commit(upload);
    await expectNew();
  });

  test("a piece with a wrong checksum is not taken", async (context) => {
    if (!driver.abilities.checksPieces) return context.skip("the protocol has no checksums of pieces");
    const upload = await start();
    expect(await send(upload, 0, HALF, "right")).toBe(HALF);
    expect(await failureOf(send(upload, HALF, HALF + 50_000, "wrong"))).toMatchObject({ kind: "checksum" });
    expect(await statusOf(upload)).toEqual({ offset: HALF, isCommitted: false });
    await send(upload, HALF, CONTENT.length, "right");
    await driver.commit(upload);
    await expectNew();
  });

  test("a whole with a wrong checksum never gets into its place", async (context) => {
    if (!driver.abilities.checksWhole) return context.skip("the protocol has no checksum of the whole");
    const upload = await start({ sha256: sha256(Buffer.from("other")) });
    const work = send(upload, 0, CONTENT.length).then(() => driver.commit(upload));
    expect(await failureOf(work)).toMatchObject({ kind: "checksum" });
    await expectOld();
    const right = await start({ sha256: sha256(CONTENT) });
    await send(right, 0, CONTENT.length);
    await driver.commit(right);
    await expectNew();
  });

  test("what lacks its end is not committed", async (context) => {
    if (!driver.abilities.knowsSize) return context.skip("the protocol does not say the size");
    const upload = await start();
    await send(upload, 0, HALF);
    expect(await failureOf(driver.commit(upload))).toMatchObject({ kind: "incomplete" });
    await expectOld();
    expect(await statusOf(upload)).toEqual({ offset: HALF, isCommitted: false });
  });

  test("has one writer at a time", async () => {
    const upload = await start();
    const first = driver.send(upload, 0);
    await first.write(CONTENT.subarray(0, HALF));
    await expect.poll(async () => (await statusOf(upload)).offset).toBe(HALF);
    await using other = openDriver(server.address);
    const second = other.send(upload, HALF);
    await second.write(Buffer.from("not these"));
    expect(await failureOf(second.end())).toMatchObject({ kind: "in-use" });
    await first.write(CONTENT.subarray(HALF));
    expect(await first.end()).toBe(CONTENT.length);
    await driver.commit(upload);
    await expectNew();
  });

  test("that is given up leaves nothing", async (context) => {
    if (!driver.abilities.aborts) return context.skip("the protocol cannot give an upload up");
    const upload = await start();
    await send(upload, 0, HALF);
    await driver.abort(upload);
    expect(await driver.status(upload)).toBe("gone");
    await expectOld();
  });

  test("that stands still is cut, and goes on with another call", async () => {
    const upload = await start();
    const sending = driver.send(upload, 0);
    await sending.write(CONTENT.subarray(0, HALF));
    await expect.poll(async () => (await statusOf(upload)).offset).toBe(HALF);
    // The end is not said: that would be a sign of life.
    const next = async (): Promise<string> => {
      clock.advance(61_000);
      await using other = openDriver(server.address);
      const rest = other.send(upload, HALF);
      await rest.write(CONTENT.subarray(HALF));
      return await rest.end().then(() => "went on", kindOf);
    };
    await expect.poll(next).toBe("went on");
    expect(["stalled", "interrupted"]).toContain((await failureOf(sending.end())).kind);
    await driver.commit(upload);
    await expectNew();
  });

  test("is kept while the disk is full, and goes on when it is not", async () => {
    const upload = await start();
    await send(upload, 0, HALF);
    disk.isFull = true;
    const full = await failureOf(send(upload, HALF, CONTENT.length));
    expect(full).toMatchObject({ kind: "disk-full", retryAfterMs: 5000 });
    expect(await statusOf(upload)).toEqual({ offset: HALF, isCommitted: false });
    expect(await failureOf(driver.start("b", { size: 1 }))).toMatchObject({ kind: "disk-full", retryAfterMs: 5000 });
    await expectOld();
    disk.isFull = false;
    await send(upload, HALF, CONTENT.length);
    await driver.commit(upload);
    await expectNew();
  });

  test("can be committed when the disk was full at that moment", async (context) => {
    if (driver.abilities.commitsWithLastByte) return context.skip("the last byte commits");
    const upload = await start();
    await send(upload, 0, CONTENT.length);
    disk.isFull = true;
    expect(await failureOf(driver.commit(upload))).toMatchObject({ kind: "disk-full", retryAfterMs: 5000 });
    await expectOld();
    disk.isFull = false;
    await driver.commit(upload);
    await expectNew();
  });

  test("expires when nobody works on it for a day", async () => {
    const upload = await start();
    await send(upload, 0, HALF);
    clock.advance(23 * 3600 * 1000);
    expect((await statusOf(upload)).offset).toBe(HALF);
    clock.advance(24 * 3600 * 1000);
    const left = async (): Promise<string[]> => {
      clock.advance(60_000);
      return readdir(join(shared, ".sluice-uploads"));
    };
    await expect.poll(left).toEqual([]);
    await expect.poll(() => driver.status(upload)).toBe("gone");
    await expectOld();
  });
});
