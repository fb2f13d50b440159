// Floods: little work for who sends, much for who answers, if nothing bounds it.
import { connect } from "node:net";
import { FrameType, PREFACE } from "../../../packages/rpc/src/http2/frame.ts";
import { Setting } from "../../../packages/rpc/src/http2/settings.ts";
import {
  frame,
  headersFrame,
  literalBlock,
  literalText,
  resetFrame,
  settingsFrame,
  windowUpdate,
} from "../../../packages/rpc/src/http2/testing/frames.ts";
import { callFields } from "../../rpc/support.ts";
import { fatesOf, openFoe, openMany } from "../foe.ts";
import { KIB, CANCEL, STREAMS_MAX, WINDOW_BYTES_MAX, PING, streamIds, call, repeat } from "./parts.ts";

/** CVE-2023-44487: 100,000 streams on each of four connections, each reset as soon as it is opened. */
export async function rapidReset(port: number): Promise<string> {
  const foes = await openMany(4, () => openFoe(port));
  await Promise.all(
    foes.map((foe) =>
      repeat(foe, 100, (round) =>
        streamIds(1000).map((id) => {
          const streamId = 2000 * round + id;
          return Buffer.concat([headersFrame(streamId, callFields("Chat")), resetFrame(streamId, CANCEL)]);
        }),
      ),
    ),
  );
  return fatesOf(foes);
}

/** CVE-2024-27316: header blocks that go on for ever, in frames of 16 KiB, of one byte, and of none. */
export async function continuationFlood(port: number): Promise<string> {
  const foes = await openMany(30, () => openFoe(port));
  await Promise.all(
    foes.map(async (foe, at) => {
      const part = frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc([16 * KIB, 1, 0][at % 3] ?? 0));
      await foe.send(frame(FrameType.HEADERS, 0, 1, literalBlock(callFields("Echo"))));
      for (let count = 0; count < 1000 && !foe.isClosed; count++) await foe.send(part, part, part, part);
      await foe.closed();
    }),
  );
  return fatesOf(foes);
}

/** CVE-2019-9515: settings that change the window of 1,000 streams, again and again. */
export async function settingsFlood(port: number): Promise<string> {
  const foe = await openFoe(port);
  await foe.send(...streamIds(STREAMS_MAX).map((id) => call(id, "Count")));
  await repeat(foe, 1000, (round) =>
    Array.from({ length: 100 }, (_, at) => settingsFrame(Setting.INITIAL_WINDOW_SIZE, 1000 + ((round + at) % 2))),
  );
  return fatesOf([foe]);
}

/** CVE-2019-9512: PINGs without end from those who never read the answers, and as many from one who does. */
export async function pingFlood(port: number): Promise<string> {
  const foes = await openMany(10, () => openFoe(port));
  const pings = Buffer.concat(Array.from({ length: 1000 }, () => PING));
  for (const foe of foes.slice(1)) foe.socket.pause();
  await Promise.all(
    foes.map(async (foe) => {
      for (let count = 0; count < 2000 && !foe.isClosed; count++) {
        await foe.send(pings);
        if (!foe.socket.isPaused()) await foe.heard();
      }
    }),
  );
  for (const foe of foes) foe.socket.resume();
  await Promise.all(foes.map((foe) => foe.heard()));
  return fatesOf(foes);
}

/** A large field in the compression table, and blocks that name it 16,000 times: 64 MiB in 16 KiB, 500 times. */
export async function hpackBomb(port: number): Promise<string> {
  const foe = await openFoe(port);
  const indexed = Buffer.concat([Buffer.of(0x40), literalText("x"), literalText("y".repeat(4000))]);
  await foe.send(frame(FrameType.HEADERS, 5, 1, Buffer.concat([literalBlock(callFields("Echo")), indexed])));
  const bomb = Buffer.concat([literalBlock(callFields("Echo")), Buffer.alloc(16_000, 0x80 + 62)]);
  await repeat(foe, 500, (round) => [frame(FrameType.HEADERS, 5, 2 * round + 3, bomb)]);
  return fatesOf([foe]);
}

/** Metadata of 100 KiB, where 16 are allowed: 1,000 requests on each of ten connections. */
export async function largeMetadata(port: number): Promise<string> {
  const foes = await openMany(10, () => openFoe(port));
  const block = literalBlock([...callFields("Echo"), "large", "m".repeat(100 * KIB)]);
  const cut = [0, 1, 2, 3, 4, 5, 6].map((at) => block.subarray(at * 16 * KIB, (at + 1) * 16 * KIB));
  await Promise.all(
    foes.map((foe) =>
      repeat(foe, 1000, (round) =>
        cut.map((part, at) => {
          const type = at === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
          return frame(type, (at === 0 ? 1 : 0) | (at === 6 ? 4 : 0), 2 * round + 1, part);
        }),
      ),
    ),
  );
  return fatesOf(foes);
}

/** Windows beyond 2³¹-1, of streams and of connections. */
export async function windowOverflow(port: number): Promise<string> {
  const foes = await openMany(100, () => openFoe(port));
  await Promise.all(
    foes.map(async (foe, at) => {
      const streams = streamIds(100).map((id) =>
        Buffer.concat([call(id, "Count"), windowUpdate(id, WINDOW_BYTES_MAX)]),
      );
      await foe.send(...streams, at % 2 === 0 ? windowUpdate(0, WINDOW_BYTES_MAX) : PING);
      await foe.heard();
    }),
  );
  return fatesOf(foes);
}

/** 1,000 streams that stay, and 9,000 more that may not. */
export async function tooManyStreams(port: number): Promise<string> {
  const foe = await openFoe(port);
  await repeat(foe, 100, (round) => streamIds(100).map((id) => call(200 * round + id, "Count")));
  return `${foe.count(FrameType.RST_STREAM)} refused, ${foe.fate}`;
}

/** 100,000 streams on 100 connections that are dropped with them, ten at a time. */
export async function droppedStreams(port: number): Promise<string> {
  const openAndDrop = async (): Promise<number> => {
    const foe = await openFoe(port);
    await foe.send(...streamIds(STREAMS_MAX).map((id) => call(id, "Count")));
    while (foe.count(FrameType.HEADERS) < STREAMS_MAX && !foe.isClosed) await foe.heard();
    foe.socket.resetAndDestroy();
    return foe.count(FrameType.HEADERS);
  };
  let opened = 0;
  for (let round = 0; round < 10; round++) {
    for (const streams of await Promise.all(Array.from({ length: 10 }, openAndDrop))) opened += streams;
  }
  return `${opened} streams opened`;
}

/** 5,000 connections that say the preface and go. */
export async function connectAndGo(port: number): Promise<string> {
  const opened = await openMany(5000, async () => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.write(PREFACE);
    await new Promise<void>((resolve) => socket.once("connect", resolve));
    socket.resetAndDestroy();
  });
  return `${opened.length} connections made and dropped`;
}
