// Files over plain HTTP, on the port of everything else: with Node's own client, over HTTP/1.1, and curl where it is.
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer } from "../support/server-process.ts";
import { openTemporaryFolder } from "../support/temporary-folder.ts";

const run = promisify(execFile);
const LARGE = randomBytes(3_000_000);
const MODIFIED = new Date("2020-09-13T12:26:40Z");
const resources = new AsyncDisposableStack();
let folder: string;
let address: string;

beforeAll(async () => {
  folder = resources.use(await openTemporaryFolder("files-http")).path;
  const shared = join(folder, "shared");
  await mkdir(join(shared, "sub"), { recursive: true });
  for (const [name, bytes] of [
    ["large.bin", LARGE],
    ["digits.txt", "0123456789"],
    ["sub/ä b%.html", "<script>alert(1)</script>"],
    ["x.svg", "<svg/>"],
    ["a.png", "png"],
    ["empty", ""],
  ] as const) {
    await writeFile(join(shared, name), bytes);
    await utimes(join(shared, name), MODIFIED, MODIFIED);
  }
  await writeFile(join(folder, "secret"), "outside");
  await symlink("../secret", join(shared, "link"));
  ({ address } = resources.use(await startServer(["--files", "shared"], { folder })));
}, 60_000);
afterAll(() => resources.disposeAsync());

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** The path goes out as it is: no client of ours tidies it up. */
function ask(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> {
  const [host = "", port = ""] = address.split(":");
  return new Promise((resolve, reject) => {
    const asked = httpRequest({ host, port, path, headers, method, agent: false }, (response) => {
      buffer(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        reject,
      );
    });
    asked.on("error", reject);
    asked.end();
  });
}

test("a file comes whole, with what is known of it", async () => {
  const { status, headers, body } = await ask("/files/large.bin");
  expect(status).toBe(200);
  expect(body.equals(LARGE)).toBe(true);
  expect(headers).toMatchObject({
    "content-length": "3000000",
    "content-type": "application/octet-stream",
    "accept-ranges": "bytes",
    "last-modified": "Sun, 13 Sep 2020 12:26:40 GMT",
    "x-content-type-options": "nosniff",
  });
  expect(headers.etag).toMatch(/^"[\w-]{22}"$/u);
  const digest = createHash("sha256").update(LARGE).digest("base64");
  const asked = await ask("/files/large.bin", { "want-repr-digest": "sha-256=1", range: "bytes=0-3" });
  expect(asked.headers["repr-digest"]).toBe(`sha-256=:${digest}:`);
  expect(asked.headers["content-digest"]).toBeUndefined();
  expect((await ask("/files/large.bin")).headers["content-digest"]).toBe(`sha-256=:${digest}:`);
  expect(Date.parse(headers.date ?? "")).toBeGreaterThan(MODIFIED.getTime());
});

test("a digest that is asked for: of all of it, or of the part that is sent", async () => {
  const digestOf = (bytes: Uint8Array): string => `sha-256=:${createHash("sha256").update(bytes).digest("base64")}:`;
  await writeFile(join(folder, "shared", "fresh.bin"), LARGE);
  const fields = async (headers: Record<string, string>) => {
    const { "repr-digest": repr, "content-digest": content } = (await ask("/files/fresh.bin", headers)).headers;
    return [repr, content];
  };
  const [part, tooLong] = ["bytes=1000-2000", "bytes=0-999999"];
  const want = { "want-content-digest": "sha-256=1" };
  expect(await fields({})).toEqual([undefined, undefined]);
  expect(await fields({ "want-repr-digest": "sha-512=10, sha-256=0" })).toEqual([undefined, undefined]);
  // Of a part it is made of that part, if that is at hand.
  expect(await fields({ ...want, range: part })).toEqual([undefined, digestOf(LARGE.subarray(1000, 2001))]);
  expect(await fields({ ...want, range: tooLong })).toEqual([undefined, undefined]);
  expect(await fields(want)).toEqual([digestOf(LARGE), digestOf(LARGE)]);
  expect(await fields({ range: tooLong })).toEqual([digestOf(LARGE), undefined]);
});

test("HEAD says the same without the body; other methods are refused", async () => {
  const { status, headers, body } = await ask("/files/large.bin", {}, "HEAD");
  expect([status, headers["content-length"], body.length]).toEqual([200, "3000000", 0]);
  // A range of it means nothing.
  const ranged = await ask("/files/large.bin", { range: "bytes=0-9" }, "HEAD");
  expect([ranged.status, ranged.headers["content-length"]]).toEqual([200, "3000000"]);
  expect(await ask("/files/large.bin", {}, "POST")).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
  expect((await ask("/files/empty")).body.length).toBe(0);
});

test("ranges: one, several, from the end, beyond it", async () => {
  const digits = async (range: string): Promise<[number, string | undefined, string]> => {
    const { status, headers, body } = await ask("/files/digits.txt", { range });
    return [status, headers["content-range"], body.toString()];
  };
  expect(await digits("bytes=2-4")).toEqual([206, "bytes 2-4/10", "234"]);
  expect(await digits("bytes=-3")).toEqual([206, "bytes 7-9/10", "789"]);
  expect(await digits("bytes=8-")).toEqual([206, "bytes 8-9/10", "89"]);
  expect(await digits("bytes=10-")).toEqual([416, "bytes */10", "The file has 10 bytes, and none in that range.\n"]);
  expect(await digits("nonsense")).toEqual([200, undefined, "0123456789"]);
  const { status, headers, body } = await ask("/files/digits.txt", { range: "bytes=0-1,5-6" });
  const [, boundary = ""] = /^multipart\/byteranges; boundary=(.+)$/u.exec(headers["content-type"] ?? "") ?? [];
  const part = (range: string, text: string): string =>
    `--${boundary}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes ${range}/10\r\n\r\n${text}\r\n`;
  expect(status).toBe(206);
  expect(body.toString()).toBe(`${part("0-1", "01")}${part("5-6", "56")}--${boundary}--\r\n`);
  expect(headers["content-length"]).toBe(String(body.length));
  const large = await ask("/files/large.bin", { range: "bytes=1000000-2999999" });
  expect(large.body.equals(LARGE.subarray(1_000_000))).toBe(true);
});

test("preconditions", async () => {
  const { etag = "", "last-modified": modified = "" } = (await ask("/files/digits.txt")).headers;
  const statusOf = async (headers: Record<string, string>): Promise<number> =>
    (await ask("/files/digits.txt", headers)).status;
  expect(await statusOf({ "if-none-match": etag })).toBe(304);
  expect(await statusOf({ "if-none-match": `"other", W/${etag}` })).toBe(304);
  expect(await statusOf({ "if-none-match": '"other"' })).toBe(200);
  expect(await statusOf({ "if-none-match": '"other"', "if-modified-since": modified })).toBe(200);
  expect(await statusOf({ "if-modified-since": modified })).toBe(304);
  expect(await statusOf({ "if-modified-since": "Sun, 13 Sep 2020 12:26:39 GMT" })).toBe(200);
  expect(await statusOf({ "if-match": '"other"' })).toBe(412);
  expect((await ask("/files/digits.txt", { "if-match": '"other"' })).body.toString()).toContain(`now: ${etag}`);
  expect(await statusOf({ "if-match": etag })).toBe(200);
  expect(await statusOf({ "if-unmodified-since": "Sun, 13 Sep 2020 12:26:39 GMT" })).toBe(412);
  const range = "bytes=0-0";
  expect(await statusOf({ range, "if-range": etag })).toBe(206);
  expect(await statusOf({ range, "if-range": modified })).toBe(206);
  expect(await statusOf({ range, "if-range": '"other"' })).toBe(200);
});

test("what a browser would run is to be saved, and runs nowhere", async () => {
  const html = await ask(`/files/sub/${encodeURIComponent("ä b%.html")}`);
  expect(html.headers["content-disposition"]).toBe(
    `attachment; filename="_ b_.html"; filename*=UTF-8''%C3%A4%20b%25.html`,
  );
  expect(html.headers["content-security-policy"]).toContain("sandbox");
  expect((await ask("/files/x.svg")).headers["content-disposition"]).toMatch(/^attachment/u);
  expect((await ask("/files/a.png")).headers).toMatchObject({
    "content-type": "image/png",
    "content-disposition": /^inline/u,
  });
});

test("no spelling of a path leads outside: one answer for all", async () => {
  const paths = [
    "missing",
    "link",
    "../secret",
    "%2e%2e/secret",
    "..%2fsecret",
    "%2e%2e%2fsecret",
    "sub/..%5c..%5csecret",
    "%00",
    "sub/%2e%2e/%2e%2e/secret",
    "%252e%252e/secret",
    "sub%2f%c3%a4",
    "%ff",
    "%",
    ".hidden",
    `${folder}/secret`,
    "/etc/passwd",
  ];
  const answers = await Promise.all(paths.map((path) => ask(`/files/${path}`)));
  const [first] = answers;
  expect(first?.status).toBe(403);
  for (const [i, { status, body }] of answers.entries()) {
    expect([paths[i], status, body.toString()]).toEqual([paths[i], 403, first!.body.toString()]);
  }
  expect((await ask("/files/sub")).status).toBe(400);
});

test("over HTTP/2, too", async () => {
  const session = connectHttp2(`http://${address}`);
  try {
    const stream = session.request({ ":path": "/files/large.bin", range: "bytes=100-" });
    expect((await buffer(stream)).equals(LARGE.subarray(100))).toBe(true);
  } finally {
    session.close();
  }
});

test("a body that cannot be whole any more is cut, not filled up", async () => {
  const path = join(folder, "shared", "shrinking");
  await writeFile(path, "");
  await truncate(path, 2 * 1024 ** 3);
  const [host = "", port = ""] = address.split(":");
  const ended = await new Promise<string>((resolve) => {
    httpRequest({ host, port, path: "/files/shrinking", agent: false }, (response) => {
      response.once("data", () => {
        void truncate(path, 1000).then(() => response.resume());
        response.pause();
      });
      response.on("error", (error) => resolve(error.message));
      response.on("end", () => resolve("whole"));
    }).end();
  });
  expect(ended).toBe("aborted");
});

test("curl gets a file, and goes on with a part of one", async (context) => {
  const version = await run("curl", ["--version"]).catch(() => undefined);
  if (version === undefined) context.skip("there is no curl here");
  const target = join(folder, "got");
  await run("curl", ["-sf", "-o", target, "-r", "0-999999", `http://${address}/files/large.bin`]);
  expect((await readFile(target)).length).toBe(1_000_000);
  await run("curl", ["-sf", "-o", target, "-C", "-", `http://${address}/files/large.bin`]);
  expect((await readFile(target)).equals(LARGE)).toBe(true);
  // Under the name that the server gives it: curl knows the plain form only.
  const named = join(folder, "named");
  await mkdir(named);
  await run("curl", ["-sfOJ", `http://${address}/files/digits.txt?x`], { cwd: named });
  expect(await readFile(join(named, "digits.txt"), "utf8")).toBe("0123456789");
});
