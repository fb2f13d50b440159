// gRPC's length-prefixed messages that arrive cut anywhere.
//
// R1. What comes out is what a reader gets that has all bytes at once, whatever the cuts and whenever it asks.
// R2. It counts right what it holds, and refuses a bad flag or a length over the limit as soon as it knows of it.
import { frameOf, MessageReader } from "../../../packages/rpc/src/grpc/frames.ts";
import { Code, RpcError } from "../../../packages/rpc/src/grpc/status.ts";
import { grpcMessages } from "../grammar.ts";
import { Random } from "../random.ts";
import type { Input, Target } from "../target.ts";
import { piecesOf } from "./pieces.ts";

const LIMIT = 6000;

interface Expected {
  readonly messages: readonly Buffer[];
  readonly flags: readonly number[];
  /** Why it goes no further. */
  readonly refusal: Code | undefined;
}

function readAtOnce(bytes: Buffer): Expected {
  const messages: Buffer[] = [];
  const flags: number[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const length = bytes.readUInt32BE(at + 1);
    if (bytes[at]! > 1) return { messages, flags, refusal: Code.INTERNAL };
    if (length > LIMIT) return { messages, flags, refusal: Code.RESOURCE_EXHAUSTED };
    if (at + 5 + length > bytes.length) break;
    flags.push(bytes[at]!);
    messages.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return { messages, flags, refusal: undefined };
}

function run({ bytes, salt }: Input): void {
  const random = new Random(salt);
  const expected = readAtOnce(bytes);
  const reader = new MessageReader(LIMIT);
  const taken: Uint8Array[] = [];
  let pushedBytes = 0;
  let takenBytes = 0;
  const takeAll = (): Code | undefined => {
    try {
      for (let message = reader.take(); message !== undefined; message = reader.take()) {
        if (reader.flag !== expected.flags[taken.length]) throw new Error(`message ${taken.length}: another flag`);
        taken.push(message);
        takenBytes += 5 + message.length;
      }
    } catch (error) {
      if (error instanceof RpcError) return error.code;
      throw error;
    }
    if (reader.available !== pushedBytes - takenBytes) throw new Error(`it says that it holds ${reader.available}`); // R2
    return undefined;
  };
  let refusal: Code | undefined;
  for (const piece of piecesOf(bytes, random)) {
    reader.push(piece, 0, piece.length);
    pushedBytes += piece.length;
    if (random.oneIn(2)) refusal = takeAll();
    if (refusal !== undefined) break;
  }
  refusal ??= takeAll();
  if (refusal !== expected.refusal) throw new Error(`refused with ${refusal}, not ${expected.refusal}`); // R2
  if (taken.length !== expected.messages.length) {
    throw new Error(`${taken.length} messages, not ${expected.messages.length}`);
  }
  for (const [at, message] of taken.entries()) {
    if (Buffer.compare(message, expected.messages[at]!) !== 0) throw new Error(`message ${at} is another one`); // R1
  }
  reader.clear();
  if (reader.available !== 0 || reader.take() !== undefined) throw new Error("something is left after clear");
}

function recordingOf(...sizes: readonly number[]): Buffer {
  return Buffer.concat(sizes.map((size, at) => frameOf(Buffer.alloc(size, at + 1), at % 2)));
}

export const messages: Target = {
  name: "messages",
  about: "gRPC's messages, cut anywhere",
  weight: 15,
  open: async () => ({
    grammar: grpcMessages,
    corpus: [
      recordingOf(0, 1, 2, 3, 0, 0, 100),
      recordingOf(1023, 1024, 1025, 4090),
      recordingOf(5000, 1, LIMIT, 7),
      recordingOf(...Array.from({ length: 80 }, (_, at) => at)),
    ],
    run,
  }),
};
