// The same over HTTP/1.1, where one connection is one request at a time and TCP the only flow control.
import { setTimeout as pause } from "node:timers/promises";
import { fatesOf, openHttp1, openMany } from "../foe.ts";
import { KIB, MIB, countRequest, messageStart } from "./parts.ts";

function head(method: string, ...fields: readonly string[]): Buffer {
  const lines = [
    `POST /sluice.test.v1.EchoService/${method} HTTP/1.1`,
    "host: x",
    "content-type: application/grpc-web",
    ...fields,
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

function request(method: string, body: Uint8Array): Buffer {
  return Buffer.concat([head(method, `content-length: ${body.length}`), body]);
}

/** Slowloris: 1,000 requests of which a field comes now and then, and never the last. */
export async function http1SlowHeaders(port: number): Promise<string> {
  const foes = await openMany(1000, () => openHttp1(port));
  const drip = async (foe: (typeof foes)[number]): Promise<void> => {
    await foe.send(Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n"));
    while (!foe.isClosed) {
      await foe.send(Buffer.from("a: b\r\n"));
      await pause(50);
    }
  };
  await Promise.all(foes.map(drip));
  return fatesOf(foes);
}

/** 200 requests with one field of 4 MiB, with 100,000 fields, or with a target of 4 MiB. */
export async function http1LargeHeaders(port: number): Promise<string> {
  const foes = await openMany(200, () => openHttp1(port));
  const parts = [
    ["GET / HTTP/1.1\r\nhost: x\r\na: ", "b".repeat(64 * KIB)],
    ["GET / HTTP/1.1\r\nhost: x\r\n", "a: b\r\n".repeat(10_000)],
    ["GET /", "x".repeat(64 * KIB)],
  ].map((each) => each.map((text) => Buffer.from(text, "latin1")));
  await Promise.all(
    foes.map(async (foe, at) => {
      const [start = Buffer.alloc(0), more = start] = parts[at % 3] ?? [];
      await foe.send(start);
      for (let sent = 0; sent < 64 && !foe.isClosed; sent++) await foe.send(more);
      await foe.closed();
    }),
  );
  return fatesOf(foes);
}

/** 200 uploads of 4 MiB of which the last byte never comes. */
export async function http1SlowBodies(port: number): Promise<string> {
  const foes = await openMany(200, () => openHttp1(port));
  const body = messageStart(4 * MIB, Buffer.alloc(4 * MIB - 1));
  await Promise.all(
    foes.map(async (foe, at) => {
      await foe.send(head(at % 2 === 0 ? "Echo" : "Sum", `content-length: ${body.length + 1}`));
      for (let sent = 0; sent < body.length && foe.statuses.length === 0; sent += 64 * KIB) {
        await foe.send(body.subarray(sent, sent + 64 * KIB));
      }
    }),
  );
  const refused = (): number => foes.filter((foe) => foe.statuses.length > 0).length;
  for (let looks = 0; refused() < 150 && looks < 200; looks++) await pause(100);
  return refused() < 150 ? "few refused" : "most refused";
}

/** Requests of 60 KiB that no handler reads, sent ahead of their answers: 200 on each of 50 connections. */
export async function http1UnreadRequests(port: number): Promise<string> {
  const foes = await openMany(50, () => openHttp1(port));
  const message = messageStart(1000, Buffer.concat([Buffer.of(0x0a, 0xe5, 0x07), Buffer.alloc(997, 97)]));
  const upload = request("Chat", Buffer.concat(Array.from({ length: 60 }, () => message)));
  await Promise.all(
    foes.map(async (foe) => {
      for (let count = 0; count < 200 && !foe.isClosed; count++) {
        await Promise.race([foe.send(upload), pause(1000)]);
        if (foe.socket.writableNeedDrain) return;
      }
    }),
  );
  return fatesOf(foes);
}

/** Answers of 256 KiB that nobody reads, 100 asked for ahead of each other on each of 20 connections. */
export async function http1NeverReading(port: number): Promise<string> {
  const foes = await openMany(20, () => openHttp1(port));
  const ask = request("Count", countRequest(1, 256 * KIB));
  await Promise.all(
    foes.map(async (foe) => {
      foe.socket.pause();
      // Who is not read any more has done what it could.
      await Promise.race([foe.send(Buffer.concat(Array.from({ length: 100 }, () => ask))), pause(2000)]);
      await pause(500);
    }),
  );
  return fatesOf(foes);
}

/** An answered request whose body goes on for ever, a byte at a time: 500 of them. */
export async function http1EndlessBodies(port: number): Promise<string> {
  const foes = await openMany(500, () => openHttp1(port));
  await Promise.all(
    foes.map(async (foe) => {
      await foe.send(head("NoSuchMethod", "transfer-encoding: chunked"));
      await foe.answered(1);
      while (!foe.isClosed) {
        await foe.send(Buffer.from("1\r\nx\r\n"));
        await pause(50);
      }
    }),
  );
  return fatesOf(foes);
}
