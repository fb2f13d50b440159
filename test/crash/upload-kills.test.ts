// Uploads by every protocol, while the server or the client is killed at one step after the other: what was acknowledged is kept,
// the file is the old one or the new one, whole, and whoever goes on gets it into its place.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { rootFolder } from "../../scripts/command.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";
import { DRIVERS } from "../uploads/drivers.ts";
import { type KillableServer, type KillPoint, startKillableServer } from "../uploads/killable-server.ts";
import { type UploadDriver, UploadFault } from "../uploads/upload-driver.ts";

const CONTENT = randomBytes(600_000);
const OLD = "old";

/** Of one upload, in order. What is in the folder of uploads ends in these; the shared folder itself is "shared". */
const STEPS: readonly (KillPoint & { readonly name: string })[] = [
  { name: "before the upload has a name", when: "before", operation: "rename", path: ".json.part" },
  { name: "when it has one", when: "after", operation: "rename", path: ".json.part" },
  { name: "in the midst of its bytes", when: "within", operation: "write", path: ".data" },
  { name: "between its bytes and their mark", when: "before", operation: "write", path: ".marks" },
  { name: "behind the mark", when: "after", operation: "write", path: ".marks" },
  { name: "before it is to be placed", when: "before", operation: "rename", path: ".json.part", skip: 1 },
  { name: "when it is to be placed", when: "after", operation: "rename", path: ".json.part", skip: 1 },
  { name: "before it is in its place", when: "before", operation: "rename", path: ".data" },
  { name: "when it is in its place", when: "after", operation: "rename", path: ".data" },
  { name: "between all of that and the answer", when: "after", operation: "remove", path: ".marks" },
];

let place: TemporaryFolder;
let shared: string;
beforeEach(async () => {
  place = await openTemporaryFolder("upload-kills");
  shared = join(place.path, "shared");
  await mkdir(shared);
  await writeFile(join(shared, "a"), OLD);
});
afterEach(() => place[Symbol.asyncDispose]());

/** The old one, or the new one: whole. */
async function versionNow(): Promise<"old" | "new"> {
  const bytes = await readFile(join(shared, "a"));
  if (bytes.equals(Buffer.from(OLD))) return "old";
  expect(bytes.equals(CONTENT)).toBe(true);
  return "new";
}

/** Begins or goes on, as far as it gets. Returns true when the file is in its place. `known` is what the client remembers. */
async function goOn(
  driver: UploadDriver,
  known: { upload: string | undefined; acknowledged: number },
): Promise<boolean> {
  try {
    known.upload ??= await driver.start("a", { size: CONTENT.length });
    const status = await driver.status(known.upload);
    if (status === "gone") throw new Error("An upload whose start was answered is gone");
    expect(status.offset).toBeGreaterThanOrEqual(known.acknowledged);
    known.acknowledged = status.offset;
    if (!status.isCommitted) {
      for (let at = status.offset; at < CONTENT.length;) {
        const next = Math.min(CONTENT.length, at + 200_000);
        const sending = driver.send(known.upload, at);
        await sending.write(CONTENT.subarray(at, next));
        at = await sending.end();
        expect(at).toBe(next);
        known.acknowledged = at;
      }
    }
    await driver.commit(known.upload);
    return true;
  } catch (error) {
    if (error instanceof UploadFault && error.kind === "interrupted") return false;
    throw error;
  }
}

describe.each(Object.entries(DRIVERS))("%s: a server that dies", (_name, openDriver) => {
  test.each(STEPS)("$name", async (killPoint) => {
    await using first = await startKillableServer({ folder: place.path, listen: "127.0.0.1:0", killPoint });
    const known = { upload: undefined, acknowledged: 0 };
    {
      await using driver = openDriver(first.address);
      expect(await goOn(driver, known)).toBe(false);
    }
    expect(await first.ended).toBe("SIGKILL");
    await versionNow();
    await using second = await startKillableServer({ folder: place.path, listen: first.address });
    await using driver = openDriver(second.address);
    expect(await goOn(driver, known)).toBe(true);
    expect(await versionNow()).toBe("new");
    expect(await driver.status(known.upload ?? "")).toEqual({ offset: CONTENT.length, isCommitted: true });
  });
});

const CLIENT_STEPS = ["started", "half-sent", "all-but-one-sent", "sent", "committing", "committed"];

describe("a client that dies", () => {
  let server: KillableServer;
  let folder: TemporaryFolder;
  let target: string;
  beforeAll(async () => {
    folder = await openTemporaryFolder("upload-client-kills");
    target = join(folder.path, "shared");
    await mkdir(target);
    await writeFile(join(folder.path, "content"), CONTENT);
    server = await startKillableServer({ folder: folder.path, listen: "127.0.0.1:0" });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  describe.each(Object.entries(DRIVERS))("%s", (name, openDriver) => {
    test.each(CLIENT_STEPS)("when it has %s", async (last) => {
      const path = `${name}-${last}`;
      await writeFile(join(target, path), OLD);
      const script = join(rootFolder, "test/uploads/upload-client.ts");
      const words = ["--conditions=sluice-source", script, name, server.address, path, join(folder.path, "content")];
      const client = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "inherit"] });
      const upload = await leadTo(client, last);
      client.kill("SIGKILL");
      await once(client, "close");

      await using driver = openDriver(server.address);
      const now = await readFile(join(target, path));
      expect(now.equals(Buffer.from(OLD)) || now.equals(CONTENT)).toBe(true);
      const finish = async (): Promise<string> => {
        try {
          const status = await driver.status(upload);
          if (status === "gone") return "gone";
          if (!status.isCommitted && status.offset < CONTENT.length) {
            const sending = driver.send(upload, status.offset);
            await sending.write(CONTENT.subarray(status.offset));
            await sending.end();
          }
          await driver.commit(upload);
          return "committed";
        } catch (error) {
          // Until the server has seen that its client is gone.
          if (error instanceof UploadFault && ["in-use", "offset"].includes(error.kind)) return error.kind;
          throw error;
        }
      };
      await expect.poll(finish).toBe("committed");
      expect((await readFile(join(target, path))).equals(CONTENT)).toBe(true);
      const left = (await readdir(join(target, ".sluice-uploads"))).filter((each) => !each.endsWith(".json"));
      expect(left).toEqual([]);
    });
  });
});

/** Lets a client go on to a step. Returns the upload that it has begun. */
async function leadTo(client: ChildProcess, last: string): Promise<string> {
  for await (const line of createInterface({ input: client.stdout! })) {
    const [step, upload = ""] = line.split(" ");
    if (step === last) return upload;
    client.stdin!.write("\n");
  }
  throw new Error(`The client ended before it had ${last}`);
}
