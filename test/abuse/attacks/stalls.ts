// Stalls: what is begun and never goes on, so that the server has to hold it.
import { FrameType, PREFACE } from "../../../packages/rpc/src/http2/frame.ts";
import { Setting } from "../../../packages/rpc/src/http2/settings.ts";
import {
  dataFrame,
  frame,
  headersFrame,
  settingsFrame,
  uint32,
  windowUpdate,
} from "../../../packages/rpc/src/http2/testing/frames.ts";
import { callFields } from "../../rpc/support.ts";
import { fatesOf, openFoe, openMany, openSilent } from "../foe.ts";
import {
  KIB,
  MIB,
  WINDOW_BYTES_MAX,
  streamIds,
  messageStart,
  bodyFrames,
  call,
  countRequest,
  repeat,
} from "./parts.ts";

/** 2,000 connections that say nothing, or half of the preface, or half of a frame, and wait. */
export async function silence(port: number): Promise<string> {
  const parts = [Buffer.alloc(0), PREFACE.subarray(0, 10), Buffer.concat([PREFACE, settingsFrame().subarray(0, 5)])];
  const foes = await openMany(2000, () => openSilent(port));
  await Promise.all(foes.map((foe, at) => foe.send(parts[at % 3] ?? PREFACE)));
  await Promise.all(foes.map((foe) => foe.closed()));
  return fatesOf(foes);
}

/** 1,000 connections whose one header block of 100 KiB never ends. */
export async function slowHeaders(port: number): Promise<string> {
  const foes = await openMany(1000, () => openFoe(port));
  const start = frame(FrameType.HEADERS, 0, 1, Buffer.alloc(16 * KIB));
  const more = frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(16 * KIB));
  await Promise.all(foes.map((foe) => foe.send(start, more, more, more, more, more)));
  await Promise.all(foes.map((foe) => foe.closed()));
  return fatesOf(foes);
}

/** 200 uploads of 4 MiB of which the last byte never comes. */
export async function slowBodies(port: number): Promise<string> {
  const foes = await openMany(10, () => openFoe(port));
  const body = messageStart(4 * MIB, Buffer.alloc(4 * MIB - 1));
  for (const id of streamIds(20)) {
    await Promise.all(
      foes.map(async (foe) => {
        await foe.send(headersFrame(id, callFields(id % 4 === 1 ? "Echo" : "Sum")));
        // As fast as the window allows: an attacker keeps to the rules where that serves it.
        const frames = bodyFrames(id, body);
        for (let at = 0; at < frames.length && foe.goaway === undefined; at += 4) {
          await foe.send(...frames.slice(at, at + 4));
          await foe.heard();
        }
      }),
    );
  }
  return fatesOf(foes);
}

/** 500 connections that begin a TLS handshake and do not go on. */
export async function slowTls(port: number): Promise<string> {
  const foes = await openMany(500, () => openSilent(port));
  // A record that says it has 512 bytes, and the beginning of a ClientHello.
  await Promise.all(foes.map((foe) => foe.send(Buffer.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3))));
  await Promise.all(foes.map((foe) => foe.closed()));
  return fatesOf(foes);
}

/** Answers of 60 KiB on 1,000 streams of each of ten connections that never open a window. */
export async function zeroWindow(port: number): Promise<string> {
  const foes = await openMany(10, () => openFoe(port, Setting.INITIAL_WINDOW_SIZE, 0));
  const request = countRequest(1, 60 * KIB);
  await Promise.all(
    foes.map((foe) => repeat(foe, 10, (round) => streamIds(100).map((id) => call(200 * round + id, "Count", request)))),
  );
  return fatesOf(foes);
}

/** 1,000 endless streams on each of ten connections that grant every window and read nothing from the socket. */
export async function neverReading(port: number): Promise<string> {
  const foes = await openMany(10, () => openFoe(port, Setting.INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX));
  await Promise.all(
    foes.map(async (foe) => {
      foe.socket.pause();
      await foe.send(windowUpdate(0, WINDOW_BYTES_MAX - 65_535));
      const request = countRequest(1_000_000, 16 * KIB);
      for (let round = 0; round < 10; round++) {
        await foe.send(...streamIds(100).map((id) => call(200 * round + id, "Count", request)));
      }
    }),
  );
  return fatesOf(foes);
}

/** Requests of 60 KiB that no handler reads: 1,000 on each of ten connections. */
export async function unreadRequests(port: number): Promise<string> {
  const foes = await openMany(10, () => openFoe(port));
  const message = messageStart(1000, Buffer.concat([Buffer.of(0x0a, 0xe5, 0x07), Buffer.alloc(997, 97)]));
  const body = Buffer.concat(Array.from({ length: 60 }, () => message));
  await Promise.all(
    foes.map((foe) =>
      repeat(foe, 100, (round) =>
        streamIds(10).flatMap((id) => {
          const streamId = 20 * round + id;
          return [headersFrame(streamId, callFields("Chat")), ...bodyFrames(streamId, body)];
        }),
      ),
    ),
  );
  return fatesOf(foes);
}

/** What is kept is little, but it lies in large reads: 2 KiB for a stream, then 62 KiB of PINGs that nobody keeps. */
export async function keptSlivers(port: number): Promise<string> {
  const foes = await openMany(4, () => openFoe(port, Setting.INITIAL_WINDOW_SIZE, 0));
  const filler = Buffer.concat(
    Array.from({ length: 3700 }, () => frame(FrameType.PRIORITY, 0, 1, uint32(0, 0).subarray(0, 5))),
  );
  await Promise.all(
    foes.map((foe) =>
      repeat(foe, 1000, (round) => {
        const id = 2 * (round % 500) + 1;
        const opening = round < 500 ? [headersFrame(id, callFields("Chat")), dataFrame(id, messageStart(4 * MIB))] : [];
        return [...opening, dataFrame(id, Buffer.alloc(2 * KIB)), filler];
      }),
    ),
  );
  return fatesOf(foes);
}

/** 10,000 connections that do nothing but be there. */
export async function idleConnections(port: number): Promise<string> {
  const foes = await openMany(10_000, () => openFoe(port));
  await Promise.all(foes.map((foe) => foe.heard()));
  return fatesOf(foes);
}
