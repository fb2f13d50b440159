// What tus refuses, each with its status and a sentence.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BODY_TYPE, metadata, SentBody, TusPlace } from "./testing/tus-place.ts";

let place: TusPlace;
beforeAll(async () => {
  place = await TusPlace.open();
});
afterAll(() => place[Symbol.asyncDispose]());

const good = { "upload-length": "5", "upload-metadata": metadata({ path: "x" }) };
test.each([
  ["another version", { ...good, "tus-resumable": "0.2.2" }, 412, 'is "0.2.2"'],
  ["no length", { "upload-metadata": good["upload-metadata"] }, 400, "Upload-Length: says how many"],
  ["two lengths", { ...good, "upload-defer-length": "1" }, 400, "Upload-Length: says how many"],
  ["a negative length", { ...good, "upload-length": "-1" }, 400, '"-1" is no number of bytes'],
  ["a length that is none", { ...good, "upload-length": "1e3" }, 400, '"1e3" is no number of bytes'],
  ["an unsafe length", { ...good, "upload-length": "9007199254740993" }, 400, "is no number of bytes"],
  [
    "a deferred length that is not 1",
    { "upload-defer-length": "2", "upload-metadata": "filename eA==" },
    400,
    '"2" is not 1',
  ],
  ["no metadata", { "upload-length": "5" }, 400, 'by "path" or "filename"'],
  ["an empty path", { ...good, "upload-metadata": "path" }, 400, 'by "path" or "filename"'],
  ["metadata that are no base64", { ...good, "upload-metadata": "path !" }, 400, "no UTF-8 in base64"],
  ["metadata that are no UTF-8", { ...good, "upload-metadata": "path /w==" }, 400, "no UTF-8 in base64"],
  ["a key twice", { ...good, "upload-metadata": "path eA==,path eA==" }, 400, '"path" twice'],
  ["a pair of three", { ...good, "upload-metadata": "path eA== eA==" }, 400, "takes pairs"],
  ["a bad SHA-256", { ...good, "upload-metadata": metadata({ path: "x", sha256: "12" }) }, 400, "64 hexadecimal"],
  ["a concatenation", { ...good, "upload-concat": "partial" }, 400, "Upload-Concat"],
  ["a path outside", { ...good, "upload-metadata": metadata({ path: "../x" }) }, 403, "no right to it"],
  ["a hidden name", { ...good, "upload-metadata": metadata({ path: ".sluice-uploads/x" }) }, 403, "no right to it"],
  ["a folder to be read only", { ...good, "upload-metadata": metadata({ path: "fixed/x" }) }, 403, "no right to it"],
  [
    "a body of another type",
    { ...good, "content-type": "text/plain", "content-length": "5" },
    415,
    'type "text/plain"',
  ],
  [
    "a checksum of another kind",
    { ...good, ...BODY_TYPE, "upload-checksum": "md4 AAAA" },
    400,
    "none of sha1, sha256, crc32",
  ],
])("POST with %s", async (_what, headers, status, text) => {
  const before = place.uploads;
  const answer = await place.ask("POST", "", { headers });
  expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(text)]);
  expect(answer.headers["tus-resumable"]).toBe("1.0.0");
  expect(place.uploads).toBe(before);
});

test("a version that is not spoken is told which one is", async () => {
  const { headers } = await place.ask("PATCH", "x", { headers: { "tus-resumable": "2.0.0" } });
  expect(headers["tus-version"]).toBe("1.0.0");
});

test.each([
  ["no offset", { "upload-offset": "" }, 400, "Upload-Offset"],
  ["an offset that is none", { "upload-offset": "0x3" }, 400, '"0x3" is no number'],
  ["an offset before the end", { "upload-offset": "2" }, 409, "go on there"],
  ["an offset behind the end", { "upload-offset": "4" }, 409, "end at 3"],
  ["another type", { "content-type": "application/octet-stream" }, 415, "application/offset+octet-stream"],
  ["a checksum that is none", { "upload-checksum": "sha1 AAAA" }, 400, "takes the 20 bytes of sha1"],
  ["a checksum without a digest", { "upload-checksum": "sha256" }, 400, "takes the 32 bytes of sha256"],
  ["another length", { "upload-length": "7" }, 400, "it is 5 bytes"],
  ["too many bytes", { "content-length": "3" }, 413, "ends at 6, behind the 5 bytes"],
])("PATCH with %s", async (_what, headers, status, text) => {
  const id = await place.create({ "upload-length": "5" }, "patched");
  await place.patch(id, 0, { body: Buffer.from("abc") });
  const answer = await place.patch(id, 3, { headers });
  expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(text)]);
  expect(answer.headers["upload-offset"]).toBe(status === 409 ? "3" : undefined);
  expect(await place.offsetOf(id)).toBe(3);
});

test("more bytes than were said, when nothing says how many come", async () => {
  const id = await place.create({ "upload-length": "5" }, "chunked");
  const body = new SentBody();
  const writing = place.patch(id, 0, { body });
  await body.send(Buffer.from("abc"));
  await body.send(Buffer.from("def"));
  expect(await writing).toMatchObject({ status: 413 });
  expect(await place.offsetOf(id)).toBe(3);
});

test("methods that are none of it", async () => {
  expect(await place.ask("GET", "")).toMatchObject({ status: 405, headers: { allow: "OPTIONS, POST" } });
  expect(await place.ask("PUT", "x")).toMatchObject({
    status: 405,
    headers: { allow: "OPTIONS, HEAD, PATCH, DELETE" },
  });
});

test("what is in the way is told when it would be put there", async () => {
  await mkdir(join(place.shared, "a-folder"), { recursive: true });
  const headers = { "upload-length": "0", "upload-metadata": metadata({ path: "a-folder" }) };
  expect(await place.ask("POST", "", { headers })).toMatchObject({ status: 400 });
  await writeFile(join(place.shared, "a-file"), "");
  const below = { "upload-length": "0", "upload-metadata": metadata({ path: "a-file/x" }) };
  expect(await place.ask("POST", "", { headers: below })).toMatchObject({ status: 403 });
});
