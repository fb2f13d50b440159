import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { nodeFileSystem } from "../../store/file-system-node.ts";
import { Changes } from "../change.ts";
import { Hasher } from "../hasher.ts";
import { Uploads } from "./uploads.ts";

test("closing while old uploads are swept leaves no timer", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-uploads-"));
  const clock = new ManualClock();
  await using hasher = new Hasher();
  const roots = [{ name: "", folder, isWritable: true }];
  const changes = new Changes(nodeFileSystem);
  const uploads = await Uploads.open({ roots, fileSystem: nodeFileSystem, changes, hasher, clock, uploadsMax: 10 });
  expect(clock.timers).toBe(1);
  clock.advance(60_000);
  await uploads[Symbol.asyncDispose]();
  await turn();
  expect(clock.timers).toBe(0);
  await rm(folder, { recursive: true });
});
