// Hidden files at every entrance: where a folder does not show them they are not there, where it does they are files.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { FileService, type Upload } from "@sluice/api";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PermissionDenied } from "../errors.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";
import { OpenedService } from "./testing/opened-service.ts";

let files: OpenedService;
afterEach(() => files[Symbol.asyncDispose]());

async function put(name: string): Promise<void> {
  const path = join(files.named, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, name);
}

/** Calls a handler that takes one message. */
async function ask(
  method: "startUpload" | "commitUpload" | "deleteFile" | "moveFile" | "makeDirectory",
  request: Record<string, unknown>,
): Promise<unknown> {
  const handler = files.service.handlers[method] as (request: unknown, call: FakeCall) => unknown;
  const call = new FakeCall();
  try {
    const answer = await handler(create(FileService.method[method].input, request), call);
    const isStream = typeof answer === "object" && answer !== null && Symbol.asyncIterator in answer;
    return isStream ? await Array.fromAsync(answer as AsyncIterable<unknown>) : answer;
  } finally {
    call.end();
  }
}

async function fetchFile(path: string): Promise<number> {
  const over = new AbortController();
  try {
    const { status } = await files.service.httpHandler({
      method: "GET",
      isHead: true,
      path: `/files/${path}`,
      query: new URLSearchParams(),
      headers: new Map(),
      peer: { address: "127.0.0.1:1", isEncrypted: false },
      body: (async function* () {})(),
      signal: over.signal,
    });
    return status;
  } finally {
    over.abort();
  }
}

async function upload(filePath: string): Promise<unknown> {
  const started = (await ask("startUpload", { filePath, size: 0n })) as { upload: Upload };
  return await ask("commitUpload", { uploadId: started.upload.uploadId });
}

/** What each entrance does with a path; all of them change nothing that the next one needs. */
const entrances: readonly (readonly [string, (path: string) => Promise<unknown>])[] = [
  ["GetFileInfo", (filePath) => files.info({ filePath })],
  ["DownloadFile", (filePath) => files.download({ filePath })],
  ["GET", fetchFile],
  ["ListFiles of the folder above", (path) => files.list({ path: dirname(path) })],
  ["WatchFiles of the folder above", (path) => files.watch({ path: dirname(path) })],
  ["an upload", upload],
  ["MoveFile, from", (filePath) => ask("moveFile", { filePath, newPath: "named/moved" })],
  ["MoveFile, to", (newPath) => ask("moveFile", { filePath: "named/moved", newPath })],
  ["MakeDirectory", (path) => ask("makeDirectory", { path: `${dirname(path)}/.new` })],
  ["DeleteFile", (filePath) => ask("deleteFile", { filePath })],
];

describe("a folder that shows them", () => {
  beforeEach(async () => {
    files = await OpenedService.open({ named: { isWritable: true, showsHidden: true } });
  });

  test("all entrances have them", async () => {
    await put(".config/.file");
    for (const [name, use] of entrances) await expect(use("named/.config/.file"), name).resolves.toBeDefined();
    expect(await readdir(join(files.named, ".config"))).toEqual([".new"]);
  });

  test("lists and watches name them, but not what the server keeps for itself", async () => {
    await put(".config/.file");
    await put("seen");
    await upload("named/.uploaded");
    expect(await readdir(files.named)).toContain(".sluice-uploads");
    const listed = (await files.list({ path: "named", recursive: true })).flatMap((answer) => answer.files);
    const paths = ["named/.config", "named/.config/.file", "named/.uploaded", "named/seen"];
    expect(listed.map(({ filePath }) => filePath)).toEqual(paths);
    const { watcher } = await files.watch({ path: "named", recursive: true, includeExisting: true });
    await expect.poll(() => watcher.paths).toEqual(paths);
    await expect(files.info({ filePath: "named/.sluice-uploads" })).rejects.toThrow(new PermissionDenied());
  });
});

describe("a folder that says nothing of them", () => {
  beforeEach(async () => {
    files = await OpenedService.open({ named: { isWritable: true } });
  });

  test.each(entrances)("%s: there is none", async (_name, use) => {
    await put(".config/.file");
    await put("moved");
    await expect(use("named/.config/.file")).rejects.toThrow(new PermissionDenied());
    expect(await readFile(join(files.named, ".config", ".file"), "utf8")).toBe(".config/.file");
    expect((await readdir(files.named)).toSorted()).toEqual([".config", "moved"]);
  });

  test("lists and watches leave them out", async () => {
    await put(".config/.file");
    await put("seen");
    expect(
      (await files.list({ path: "named" })).flatMap((answer) => answer.files).map(({ filePath }) => filePath),
    ).toEqual(["named/seen"]);
    const { watcher } = await files.watch({ path: "named", recursive: true, includeExisting: true });
    await expect.poll(() => watcher.told).toEqual(["exists named/seen", "sync"]);
    await put(".config/.other");
    await put("other");
    await expect.poll(() => watcher.paths).toEqual(["named/other", "named/seen"]);
    expect(watcher.told.filter((each) => each.includes(".config"))).toEqual([]);
  });
});
