// Frames that recordings of friendly peers lack.
import { FrameType } from "../../../packages/rpc/src/http2/frame.ts";
import {
  dataFrame,
  frame,
  goawayFrame,
  headersFrame,
  literalBlock,
  REQUEST,
  resetFrame,
  RESPONSE,
  SETTINGS_ACK,
  settingsFrame,
  uint32,
  windowUpdate,
} from "../../../packages/rpc/src/http2/testing/frames.ts";

const END_STREAM = 1;
const END_HEADERS = 4;
const PADDED = 8;
const PRIORITY = 0x20;

const block = literalBlock([...REQUEST, "x-extra", "yes"]);

export const frameExtras: readonly Buffer[] = [
  SETTINGS_ACK,
  settingsFrame(),
  ...[0, 1, 100, 65_535, 0x7fffffff, 0x80000000].map((bytes) => settingsFrame(4, bytes)),
  ...[0, 100, 4096, 65_536].map((bytes) => settingsFrame(1, bytes)),
  settingsFrame(5, 16_384, 5, 0xffffff, 6, 10, 0xabcd, 7),
  settingsFrame(3, 0),
  settingsFrame(2, 1),
  windowUpdate(0, 1),
  windowUpdate(0, 0x7fffffff),
  ...[1, 3, 5].flatMap((id) => [
    windowUpdate(id, 1),
    windowUpdate(id, 0x7fffffff),
    windowUpdate(id, 0),
    resetFrame(id, 8),
    resetFrame(id, 0xffffffff),
    dataFrame(id, ""),
    dataFrame(id, "", { endStream: true }),
    dataFrame(id, Buffer.alloc(3000, 7)),
    frame(FrameType.DATA, PADDED, id, Buffer.concat([Buffer.of(9), Buffer.from("ab"), Buffer.alloc(9)])),
    frame(FrameType.PRIORITY, 0, id, Buffer.concat([uint32(0), Buffer.of(15)])),
    frame(FrameType.PRIORITY, 0, id, Buffer.concat([uint32(id), Buffer.of(15)])),
    headersFrame(id, ["grpc-status", "0"], { endStream: true }),
    headersFrame(id, ["grpc-status", "0"]),
    headersFrame(id, RESPONSE),
    headersFrame(id, [":status", "103", "link", "x"]),
  ]),
  ...[7, 9, 11, 13, 101].map((id) => headersFrame(id, REQUEST, { endStream: id % 4 === 3 })),
  headersFrame(15, [...REQUEST, "content-length", "5"]),
  dataFrame(15, "12345", { endStream: true }),
  headersFrame(17, [...REQUEST, "cookie", "a".repeat(900)], { endStream: true }),
  frame(FrameType.HEADERS, END_STREAM | END_HEADERS | PRIORITY, 19, Buffer.concat([uint32(19), Buffer.of(3), block])),
  frame(FrameType.HEADERS, END_HEADERS | PADDED, 21, Buffer.concat([Buffer.of(4), block, Buffer.alloc(4)])),
  Buffer.concat([
    frame(FrameType.HEADERS, END_STREAM, 23, block.subarray(0, 5)),
    frame(FrameType.CONTINUATION, 0, 23),
    frame(FrameType.CONTINUATION, END_HEADERS, 23, block.subarray(5)),
  ]),
  frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([uint32(2), block])),
  frame(FrameType.PING, 0, 0, Buffer.from("12345678")),
  frame(FrameType.PING, 1, 0, Buffer.from("\0\0\0\0\0\0\0\u0001", "latin1")),
  goawayFrame(0, 0),
  goawayFrame(1, 0),
  goawayFrame(0x7fffffff, 0),
  goawayFrame(0x7fffffff, 11),
  // Longer than a stream's first window.
  ...[1, 3, 15].map((id) => Buffer.concat(Array.from({ length: 5 }, () => dataFrame(id, Buffer.alloc(16_384, 1))))),
  // Blocks that push one another out of the caches.
  Buffer.concat(
    Array.from({ length: 40 }, (_, at) => headersFrame(25 + 2 * at, [...REQUEST, "x", "y".repeat(20 * at)])),
  ),
  frame(0xfa, 0xff, 77, Buffer.from("an extension")),
];
