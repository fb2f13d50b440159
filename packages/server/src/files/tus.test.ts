import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PermissionDenied } from "../errors.ts";
import { BODY_TYPE, metadata, SentBody, TusPlace } from "./testing/tus-place.ts";

let place: TusPlace;
beforeAll(async () => {
  place = await TusPlace.open();
});
afterAll(() => place[Symbol.asyncDispose]());

const fileOf = (path: string): Promise<Buffer> => readFile(join(place.shared, path));
const there = (path: string): Promise<string | undefined> =>
  fileOf(path).then(
    (bytes) => bytes.toString(),
    () => undefined,
  );
const stagedOf = async (id: string): Promise<string[]> =>
  (await readdir(join(place.shared, ".sluice-uploads"))).filter((name) => name.startsWith(id));
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("an upload", () => {
  test("grows by what each request brings, and the last byte puts the file in its place", async () => {
    const bytes = randomBytes(300_000);
    const said = metadata({ path: "grown.bin", filetype: "x/y", empty: "" });
    const created = await place.ask("POST", "", { headers: { "upload-length": "300000", "upload-metadata": said } });
    expect(created).toMatchObject({ status: 201, headers: { "tus-resumable": "1.0.0" } });
    expect(created.headers["upload-offset"]).toBeUndefined();
    const id = /^\/uploads\/([\w-]{22})$/u.exec(created.headers["location"]!)![1]!;
    const first = await place.patch(id, 0, { body: bytes.subarray(0, 100_001) });
    expect(first).toMatchObject({ status: 204, headers: { "upload-offset": "100001", "tus-resumable": "1.0.0" } });
    expect(await there("grown.bin")).toBeUndefined();
    expect(await place.ask("HEAD", id)).toMatchObject({
      status: 200,
      headers: {
        "upload-offset": "100001",
        "upload-length": "300000",
        "upload-metadata": said,
        "cache-control": "no-store",
        "tus-resumable": "1.0.0",
      },
    });
    await place.restart();
    expect(await place.offsetOf(id)).toBe(100_001);
    const last = await place.patch(id, 100_001, { body: bytes.subarray(100_001) });
    expect(last).toMatchObject({ status: 204, headers: { "upload-offset": "300000" } });
    expect(last.headers["upload-expires"]).toBeUndefined();
    expect((await fileOf("grown.bin")).equals(bytes)).toBe(true);
    // A client whose answer was lost asks again, also a server that was started anew.
    expect(await place.offsetOf(id)).toBe(300_000);
    await place.restart();
    expect(await place.ask("HEAD", id)).toMatchObject({
      headers: { "upload-offset": "300000", "upload-length": "300000" },
    });
    expect(await place.patch(id, 300_000, {})).toMatchObject({ status: 204 });
    expect(await place.patch(id, 300_000, { body: bytes })).toMatchObject({ status: 413 });
  });

  test("of nothing is there at once", async () => {
    await place.create({ "upload-length": "0" }, "empty");
    expect(await there("empty")).toBe("");
  });

  test("whose last byte could not put it in its place is put there by whoever asks", async () => {
    const id = await place.create({ "upload-length": "3" }, "later/there");
    expect((await place.patch(id, 0, { body: Buffer.from("abc") })).status).toBe(403);
    expect((await place.ask("HEAD", id)).status).toBe(403);
    await mkdir(join(place.shared, "later"));
    await place.restart();
    expect(await place.offsetOf(id)).toBe(3);
    expect(await there("later/there")).toBe("abc");
  });

  test("that was begun by gRPC is committed by gRPC", async () => {
    const id = await place.createByGrpc({ filePath: "of-grpc", size: 0n });
    for (const method of ["HEAD", "DELETE"]) {
      expect(await place.ask(method, id)).toMatchObject({
        status: 404,
        text: `Cannot find the upload "${id}": it was not begun by tus\n`,
      });
    }
    expect(await there("of-grpc")).toBeUndefined();
  });

  test("keeps what it has when the disk is full", async () => {
    const id = await place.create({ "upload-length": "6" }, "full");
    await place.patch(id, 0, { body: Buffer.from("abc") });
    place.isDiskFull = true;
    const refused = await place.patch(id, 3, { body: Buffer.from("def") });
    place.isDiskFull = false;
    expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "5" } });
    expect(refused.text).toMatch(/at 3: the disk is full/u);
    expect((await place.patch(id, 3, { body: Buffer.from("def") })).status).toBe(204);
    expect(await there("full")).toBe("abcdef");
  });

  test("may bring its first bytes along, all of them, too", async () => {
    const begin = (text: string) =>
      place.ask("POST", "", {
        headers: { ...BODY_TYPE, "upload-length": "6", "upload-metadata": metadata({ filename: "first" }) },
        body: Buffer.from(text),
      });
    const some = await begin("abc");
    expect(some).toMatchObject({ status: 201, headers: { "upload-offset": "3" } });
    expect(await place.patch(some.headers["location"]!.slice(9), 3, { body: Buffer.from("def") })).toMatchObject({
      status: 204,
    });
    expect(await there("first")).toBe("abcdef");
    expect(await begin("uvwxyz")).toMatchObject({ status: 201, headers: { "upload-offset": "6" } });
    expect(await there("first")).toBe("uvwxyz");
    // With a checksum, too: all of them count, or there is no upload.
    const withSum = (text: string) => ({
      ...BODY_TYPE,
      "upload-length": "3",
      "upload-metadata": metadata({ path: "summed" }),
      "upload-checksum": `sha1 ${createHash("sha1").update(text).digest("base64")}`,
    });
    const damaged = await place.ask("POST", "", { headers: withSum("abc"), body: Buffer.from("abd") });
    expect([damaged.status, damaged.headers["location"], await there("summed")]).toEqual([460, undefined, undefined]);
    expect(await place.ask("POST", "", { headers: withSum("abc"), body: Buffer.from("abc") })).toMatchObject({
      status: 201,
    });
    expect(await there("summed")).toBe("abc");
    // What cannot be answered for is not kept: nobody would know its name.
    const before = place.uploads;
    expect((await begin("too much")).status).toBe(413);
    expect(place.uploads).toBe(before);
  });

  test("may say how long it is when it knows", async () => {
    const id = await place.create({ "upload-defer-length": "1" }, "late");
    await place.patch(id, 0, { body: Buffer.from("abc") });
    expect((await place.ask("HEAD", id)).headers).toMatchObject({ "upload-defer-length": "1", "upload-offset": "3" });
    await place.restart();
    expect(await place.patch(id, 3, { headers: { "upload-length": "2" } })).toMatchObject({ status: 400 });
    expect(await place.patch(id, 3, { headers: { "upload-length": "5" } })).toMatchObject({ status: 204 });
    expect((await place.ask("HEAD", id)).headers).toMatchObject({ "upload-length": "5", "upload-offset": "3" });
    await place.restart();
    expect(await place.patch(id, 3, { headers: { "upload-length": "6" } })).toMatchObject({ status: 400 });
    expect(await place.patch(id, 3, { headers: { "upload-length": "5" }, body: Buffer.from("de") })).toMatchObject({
      status: 204,
    });
    expect(await there("late")).toBe("abcde");
  });

  test("goes where the metadata say, on their conditions", async () => {
    const put = async (path: string, more: Record<string, string> = {}): Promise<number> => {
      const headers = { ...BODY_TYPE, "upload-length": "1", "upload-metadata": metadata({ path, ...more }) };
      return (await place.ask("POST", "", { headers, body: Buffer.from("x") })).status;
    };
    expect(await put("no/such/folder")).toBe(403);
    expect(await put("new/deep/folder", { makeDirectories: "true" })).toBe(201);
    expect(await put("once", { ifNoneMatch: "*" })).toBe(201);
    expect(await put("once", { ifNoneMatch: "*" })).toBe(412);
    expect(await put("once", { ifMatch: "other" })).toBe(412);
    expect(await put("right", { sha256: sha256(Buffer.from("x")) })).toBe(201);
    expect(await put("wrong", { sha256: sha256(Buffer.from("y")) })).toBe(460);
    expect([await there("right"), await there("wrong")]).toEqual(["x", undefined]);
  });

  test("can be given up; the file of one that is done stays", async () => {
    const id = await place.create({ "upload-length": "3" }, "given-up");
    expect(await place.ask("DELETE", id)).toMatchObject({ status: 204, headers: { "tus-resumable": "1.0.0" } });
    for (const method of ["HEAD", "DELETE"]) expect((await place.ask(method, id)).status).toBe(404);
    expect((await place.patch(id, 0, {})).status).toBe(404);
    const done = await place.create({ "upload-length": "0" }, "done");
    expect((await place.ask("DELETE", done)).status).toBe(204);
    expect((await place.ask("HEAD", done)).status).toBe(404);
    expect(await there("done")).toBe("");
    expect(await stagedOf(id)).toEqual([]);
  });

  test("is kept for a day after its last bytes", async () => {
    const dayMs = 24 * 3600 * 1000;
    await using own = await TusPlace.open();
    const { clock } = own;
    const leftMs = (expires = ""): number => Date.parse(expires) - Number(clock.nowNs() / 1_000_000n);
    const said = metadata({ path: "old" });
    const created = await own.ask("POST", "", { headers: { "upload-length": "9", "upload-metadata": said } });
    expect(leftMs(created.headers["upload-expires"])).toBeCloseTo(dayMs, -4);
    const id = created.headers["location"]!.slice(9);
    await clock.advanceInTurns(dayMs - 60_000);
    const { headers } = await own.patch(id, 0, { body: Buffer.from("abc") });
    expect(leftMs(headers["upload-expires"])).toBeCloseTo(dayMs, -4);
    await clock.advanceInTurns(dayMs - 60_000);
    expect(own.uploads).toBe(1);
    await clock.advanceInTurns(120_000);
    await expect.poll(() => own.uploads).toBe(0);
    expect((await own.ask("HEAD", id)).status).toBe(404);
  });
});

describe("a checksum", () => {
  const bytes = randomBytes(200_000);
  const digest = (algorithm: string) => createHash(algorithm).update(bytes).digest("base64");
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(bytes));

  test.each([
    ["sha1", digest("sha1")],
    ["sha256", digest("sha256")],
    ["crc32", crc.toString("base64")],
  ])("%s is verified before any byte of its request counts", async (algorithm, right) => {
    const id = await place.create({ "upload-length": "400000" }, algorithm);
    const send = (sent: Uint8Array, offset: number) =>
      place.patch(id, offset, { headers: { "upload-checksum": `${algorithm} ${right}` }, body: sent });
    expect(await send(bytes, 0)).toMatchObject({ status: 204, headers: { "upload-offset": "200000" } });
    const damaged = Buffer.from(bytes);
    damaged[123_456]! ^= 1;
    const refused = await send(damaged, 200_000);
    expect([refused.status, refused.text]).toEqual([460, expect.stringContaining(right)]);
    expect(await place.offsetOf(id)).toBe(200_000);
    await place.restart();
    expect(await place.offsetOf(id)).toBe(200_000);
    expect((await send(bytes, 200_000)).status).toBe(204);
    expect((await fileOf(algorithm)).equals(Buffer.concat([bytes, bytes]))).toBe(true);
  });

  test("none of a request's bytes count that breaks off before its checksum can be verified", async () => {
    const id = await place.create({ "upload-length": "200000" }, "broken");
    const body = new SentBody();
    const writing = place.patch(id, 0, { headers: { "upload-checksum": `sha1 ${digest("sha1")}` }, body });
    await body.send(bytes.subarray(0, 100_000));
    body.breakOff();
    await expect(writing).rejects.toThrow("The request is over");
    expect(await place.offsetOf(id)).toBe(0);
    expect((await place.patch(id, 0, { body: bytes })).status).toBe(204);
    expect((await fileOf("broken")).equals(bytes)).toBe(true);
  });
});

describe("a request", () => {
  test("that breaks off leaves what it brought, and the next one waits until that is written", async () => {
    const id = await place.create({ "upload-length": "100000" }, "cut");
    const bytes = randomBytes(100_000);
    const client = new AbortController();
    const body = new SentBody();
    const writing = place.patch(id, 0, { body }, { isOver: client.signal });
    await body.send(bytes.subarray(0, 60_000));
    client.abort();
    body.breakOff();
    const [offset] = await Promise.all([place.offsetOf(id), expect(writing).rejects.toThrow("The request is over")]);
    expect(offset).toBe(60_000);
    expect((await place.patch(id, 60_000, { body: bytes.subarray(60_000) })).status).toBe(204);
    expect((await fileOf("cut")).equals(bytes)).toBe(true);
  });

  test("that stands still is ended; a slow one is not", async () => {
    const id = await place.create({ "upload-length": "100" }, "slow");
    const body = new SentBody();
    const writing = place.patch(id, 0, { body });
    const durable = async (count: number): Promise<void> => {
      await expect.poll(() => place.offsetOf(id)).toBe(count);
    };
    for (const count of [1, 2, 3, 4, 5]) {
      await body.send(Buffer.from("x"));
      await durable(count);
      place.clock.advance(place.stallMs - 1);
    }
    place.clock.advance(1);
    const { status, headers, text } = await writing;
    expect([status, headers["retry-after"]]).toEqual([503, "1"]);
    expect(text).toMatch(/stood still for 1000 ms.*go on at 5/u);
    expect((await place.patch(id, 5, { body: Buffer.alloc(95) })).status).toBe(204);
  });

  test("that comes while another one writes is refused", async () => {
    const id = await place.create({ "upload-length": "6" }, "locked");
    const body = new SentBody();
    const writing = place.patch(id, 0, { body });
    await body.send(Buffer.from("abc"));
    for (const refused of [place.patch(id, 3, { body: Buffer.from("def") }), place.ask("DELETE", id)]) {
      const { status, text } = await refused;
      expect([status, text]).toEqual([423, expect.stringContaining("another request is writing")]);
    }
    expect(await place.ask("HEAD", id)).toMatchObject({ status: 200 });
    await body.send(Buffer.from("def"));
    body.end();
    expect((await writing).status).toBe(204);
    expect(await there("locked")).toBe("abcdef");
  });

  test("takes no more of its body than fits into two blocks while the disk is busy", async () => {
    const id = await place.create({ "upload-defer-length": "1" }, "large");
    let pulled = 0;
    const piece = new Uint8Array(64 * 1024);
    // All at once: what is pulled before a write can have returned is what is held in memory.
    const body = {
      [Symbol.asyncIterator]: () => ({
        next: () =>
          Promise.resolve(
            pulled++ < 1600 ? { done: false as const, value: piece } : { done: true as const, value: undefined },
          ),
      }),
    };
    const writing = place.patch(id, 0, { body: body as unknown as SentBody });
    await turn();
    expect(pulled * piece.length).toBeLessThanOrEqual(2 * 4 * 1024 * 1024 + piece.length);
    expect(await writing).toMatchObject({ headers: { "upload-offset": String(1600 * piece.length) } });
  });
});

test("OPTIONS says what is served, whatever version asks", async () => {
  for (const path of ["", "an-id"]) {
    expect(await place.ask("OPTIONS", path, { headers: { "tus-resumable": "9" } })).toMatchObject({
      status: 204,
      headers: {
        "tus-resumable": "1.0.0",
        "tus-version": "1.0.0",
        "tus-extension": "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination",
        "tus-max-size": String(1024 ** 4),
        "tus-checksum-algorithm": "sha1,sha256,crc32",
      },
    });
  }
});

test("who cannot send PATCH, HEAD or DELETE says so in a header", async () => {
  const id = await place.create({ "upload-length": "6" }, "overridden");
  const as = (method: string) => ({ "x-http-method-override": method });
  const headers = { ...BODY_TYPE, ...as("PATCH"), "upload-offset": "0" };
  expect(await place.ask("POST", id, { headers, body: Buffer.from("abc") })).toMatchObject({ status: 204 });
  expect(await place.ask("POST", id, { headers: as("HEAD") })).toMatchObject({ headers: { "upload-offset": "3" } });
  expect(await place.ask("POST", id, { headers: as("delete") })).toMatchObject({ status: 204 });
  expect((await place.ask("HEAD", id)).status).toBe(404);
});

test("uploads are counted, and asked for like all others", async () => {
  const asked: string[] = [];
  await using strict = await TusPlace.open({
    uploadsMax: 1,
    authorize({ address }, action, { name }) {
      asked.push(`${address} ${action} ${name}`);
      if (name === "forbidden") throw new PermissionDenied();
    },
  });
  const id = await strict.create({ "upload-length": "1" }, "mine");
  const headers = { "upload-length": "1", "upload-metadata": metadata({ path: "second" }) };
  expect(await strict.ask("POST", "", { headers })).toMatchObject({ status: 429, headers: { "retry-after": "60" } });
  await expect(strict.create({ "upload-length": "1" }, "forbidden")).rejects.toThrow("403");
  for (const method of ["HEAD", "DELETE"]) await strict.ask(method, id);
  expect(asked).toEqual(["mine", "second", "forbidden", "mine", "mine"].map((name) => `127.0.0.1:1 write ${name}`));
});

test("one upload is bounded, whether its size is said first, later or never", async () => {
  await using small = await TusPlace.open({ uploadBytesMax: 10 });
  const told = (await small.ask("OPTIONS", "")).headers["tus-max-size"];
  expect(told).toBe("10");
  const headers = { "upload-length": "11", "upload-metadata": metadata({ path: "first" }) };
  const refused = await small.ask("POST", "", { headers });
  expect([refused.status, refused.text]).toEqual([
    413,
    'Cannot take 11 bytes for "first": the limit of one upload is 10\n',
  ]);
  const id = await small.create({ "upload-defer-length": "1" });
  expect((await small.patch(id, 0, { body: Buffer.alloc(10) })).status).toBe(204);
  for (const more of [{ body: Buffer.alloc(1) }, { headers: { "upload-length": "11" } }]) {
    expect((await small.patch(id, 10, more)).status).toBe(413);
  }
  await expect(small.createByGrpc({ filePath: "by-grpc", size: 11n })).rejects.toThrow("the limit of one upload is 10");
  expect((await small.patch(id, 10, { headers: { "upload-length": "10" } })).status).toBe(204);
});
