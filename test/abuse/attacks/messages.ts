// Messages that are not what they seem.
import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { FrameType } from "../../../packages/rpc/src/http2/frame.ts";
import { dataFrame, frame, headersFrame } from "../../../packages/rpc/src/http2/testing/frames.ts";
import { callFields } from "../../rpc/support.ts";
import { fatesOf, openFoe, openMany } from "../foe.ts";
import { MIB, END, PING, streamIds, messageStart, bodyFrames, repeat } from "./parts.ts";

/** A message in DATA frames of one byte: bare, padded with 255, and 400,000 frames of none. */
export async function tinyData(port: number): Promise<string> {
  const foes = await openMany(3, () => openFoe(port));
  const tiny = [
    dataFrame(1, Buffer.of(0)),
    frame(FrameType.DATA, 8, 1, Buffer.concat([Buffer.of(255, 0), Buffer.alloc(255)])),
    dataFrame(1, ""),
  ];
  await Promise.all(
    foes.map(async (foe, at) => {
      await foe.send(headersFrame(1, callFields("Sum")), dataFrame(1, messageStart(4 * MIB)));
      const part = Buffer.concat(Array.from({ length: 200 }, () => tiny[at] ?? PING));
      await repeat(foe, 2000, () => [part]);
    }),
  );
  return fatesOf(foes);
}

/** 1 GiB of zeros in 1 MiB of gzip, 40 times at once. */
export async function decompressionBomb(port: number): Promise<string> {
  const layer = gzipSync(Buffer.alloc(64 * MIB));
  const bomb = Buffer.concat(Array.from({ length: 16 }, () => layer));
  const foes = await openMany(40, () => openFoe(port));
  await Promise.all(
    foes.map(async (foe, at) => {
      await foe.send(headersFrame(1, callFields(at % 2 === 0 ? "Echo" : "Sum", { "grpc-encoding": "gzip" })));
      for (const part of bodyFrames(1, messageStart(bomb.length, bomb, 1))) {
        await foe.send(part);
        await foe.heard();
      }
      await foe.send(dataFrame(1, "", END));
      while (foe.count(FrameType.HEADERS) === 0 && !foe.isClosed) await foe.heard();
    }),
  );
  return `${foes.filter((foe) => foe.count(FrameType.HEADERS) > 0).length} refused`;
}

/** Random bytes that are said to be gzip: 20,000 calls. */
export async function compressedGarbage(port: number): Promise<string> {
  const foe = await openFoe(port);
  const fields = callFields("Sum", { "grpc-encoding": "gzip" });
  await repeat(foe, 200, (round) =>
    streamIds(100).map((id) => {
      const message = messageStart(200, randomBytes(200), 1);
      return Buffer.concat([headersFrame(200 * round + id, fields), dataFrame(200 * round + id, message, END)]);
    }),
  );
  return fatesOf([foe]);
}

/** Messages that say they have 4 GiB: 20,000 calls. */
export async function hugeMessages(port: number): Promise<string> {
  const foe = await openFoe(port);
  await repeat(foe, 200, (round) =>
    streamIds(100).map((id) => {
      const streamId = 200 * round + id;
      const method = id % 4 === 1 ? "Echo" : "Sum";
      return Buffer.concat([headersFrame(streamId, callFields(method)), dataFrame(streamId, messageStart(0xffffffff))]);
    }),
  );
  return fatesOf([foe]);
}
