// Uploads on a file system that is really full, by every protocol: refused with a time to retry, kept, and gone on with when there is room.
import { randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startServer } from "../support/server-process.ts";
import { mountSmallDisk } from "../support/small-disk.ts";
import { DRIVERS } from "../uploads/drivers.ts";
import { UploadFault } from "../uploads/upload-driver.ts";

const CONTENT = randomBytes(3_000_000);
const PIECE_BYTES = 100_000;

test.for(Object.entries(DRIVERS))("%s", async ([, openDriver], context) => {
  await using disk = await mountSmallDisk(context);
  await writeFile(join(disk.mount, "other"), Buffer.alloc(2 * 1024 * 1024));
  await using server = await startServer(["--files", "small:rw"], { folder: disk.folder });
  await using driver = openDriver(server.address);
  const upload = await driver.start("a", { size: CONTENT.length });

  /** Sends from where the server is. */
  async function sendRest(): Promise<number> {
    const status = await driver.status(upload);
    if (status === "gone") throw new Error("It is gone");
    const sending = driver.send(upload, status.offset);
    for (let at = status.offset; at < CONTENT.length; at += PIECE_BYTES) {
      await sending.write(CONTENT.subarray(at, Math.min(CONTENT.length, at + PIECE_BYTES)));
    }
    return sending.end();
  }

  const failure: unknown = await sendRest().catch((error: unknown) => error);
  if (!(failure instanceof UploadFault)) throw failure;
  expect(failure).toMatchObject({ kind: "disk-full", retryAfterMs: 5000 });
  const kept = await driver.status(upload);
  expect(kept).toMatchObject({ isCommitted: false });
  await rm(join(disk.mount, "other"));
  expect(await sendRest()).toBe(CONTENT.length);
  await driver.commit(upload);
  expect((await readFile(join(disk.mount, "a"))).equals(CONTENT)).toBe(true);
});
