// gRPC-Web's text form: base64 in segments, cut anywhere.
//
// B1. What comes out is what the segments hold, however they were cut; everything else is a SyntaxError.
import { Base64Stream, base64Of } from "../../../packages/rpc/src/web/base64-stream.ts";
import { frameOf } from "../../../packages/rpc/src/grpc/frames.ts";
import { changeBytes, type Grammar } from "../grammar.ts";
import { Random } from "../random.ts";
import type { Input, Target } from "../target.ts";
import { piecesOf } from "./pieces.ts";

const groups: Grammar = {
  cut: (bytes) => Array.from({ length: Math.ceil(bytes.length / 4) }, (_, at) => bytes.subarray(4 * at, 4 * at + 4)),
  change: changeBytes,
};

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = Int8Array.from({ length: 256 }, (_, code) => ALPHABET.indexOf(String.fromCharCode(code)));
const PAD = 0x3d;

/** RFC 4648 §4, a group at a time; undefined: no base64. */
function decodePlainly(text: Buffer): Buffer | undefined {
  if (text.length % 4 !== 0) return undefined;
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at += 4) {
    const padding = text[at + 3] !== PAD ? 0 : text[at + 2] !== PAD ? 1 : 2;
    let bits = 0;
    for (let index = 0; index < 4; index++) {
      const value = index < 4 - padding ? VALUES[text[at + index]!]! : 0;
      if (value < 0) return undefined;
      bits = bits * 64 + value;
    }
    for (let index = 0; index < 3 - padding; index++) bytes.push((bits >>> (16 - 8 * index)) & 0xff);
  }
  return Buffer.from(bytes);
}

function run({ bytes, salt }: Input): void {
  const expected = decodePlainly(bytes);
  const stream = new Base64Stream();
  const parts: Buffer[] = [];
  try {
    for (const piece of piecesOf(bytes, new Random(salt))) {
      // Between other bytes, as pieces lie in a socket's buffer.
      const around = Buffer.concat([Buffer.from("=A"), piece, Buffer.from("B=")]);
      parts.push(stream.push(around, 2, 2 + piece.length));
    }
    stream.finish();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    if (expected !== undefined) throw new Error("base64 was refused", { cause: error });
    return;
  }
  if (expected === undefined) throw new Error("what is no base64 was taken");
  const actual = Buffer.concat(parts);
  if (!actual.equals(expected)) throw new Error(`${actual.toString("hex")}, not ${expected.toString("hex")}`); // B1
}

export const webText: Target = {
  name: "web-text",
  about: "gRPC-Web's text form: base64 in segments",
  weight: 10,
  open: async () => {
    const frame = frameOf(Buffer.from("a message of some length, ✓"));
    const segments = [1, 2, 3, 7].map((size) =>
      Buffer.concat(
        Array.from({ length: Math.ceil(frame.length / size) }, (_, at) =>
          Buffer.from(base64Of(frame.subarray(at * size, (at + 1) * size))),
        ),
      ),
    );
    return { grammar: groups, corpus: [Buffer.from(base64Of(frame)), ...segments], run };
  },
};
