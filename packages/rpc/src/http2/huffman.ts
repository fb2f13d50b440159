// The Huffman code of HPACK (RFC 7541 §5.2, appendix B), four bits at a time.
//
// The code is canonical: symbols ordered by (length, value) take consecutive codes, so the lengths are the whole table.
import { ConnectionError, ErrorCode } from "./frame.ts";

// prettier-ignore
const CODE_BITS = Uint8Array.of(
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
);
const EOS = 256;
const CODES = canonicalCodes();

function canonicalCodes(): Uint32Array {
  const codes = new Uint32Array(CODE_BITS.length);
  let code = 0;
  for (let bits = 5; bits <= 30; bits += 1, code *= 2) {
    for (let symbol = 0; symbol < CODE_BITS.length; symbol += 1) {
      if (CODE_BITS[symbol] === bits) codes[symbol] = code++;
    }
  }
  return codes;
}

// An entry of the decoding table: what four more bits do in a state (an inner node of the code's tree; 0 is the root).
// Bits 0–7 next state, 8–15 symbol, then flags. The shortest code has five bits: no step completes two symbols.
const EMITS = 1 << 16;
/** The string may end here: fewer than eight bits since the last symbol, all ones (a prefix of EOS). */
const ENDS = 1 << 17;
const FAILS = 1 << 18;
const STEPS = decodingTable();

/** The code's tree: two children per inner node; a child ≥ 0 is an inner node, `-1 - symbol` a leaf. */
function codeTree(): number[] {
  const tree = [0, 0];
  for (let symbol = 0; symbol < CODE_BITS.length; symbol += 1) {
    let node = 0;
    for (let bit = CODE_BITS[symbol]! - 1; bit >= 0; bit -= 1) {
      const child = 2 * node + ((CODES[symbol]! >>> bit) & 1);
      if (bit === 0) {
        tree[child] = -1 - symbol;
      } else {
        if (tree[child] === 0) {
          tree[child] = tree.length / 2;
          tree.push(0, 0);
        }
        node = tree[child]!;
      }
    }
  }
  return tree;
}

function decodingTable(): Uint32Array {
  const tree = codeTree();
  const endings = new Set<number>();
  for (let node = 0, ones = 0; ones < 8; ones += 1) {
    endings.add(node);
    node = tree[2 * node + 1]!;
  }
  const steps = new Uint32Array((tree.length / 2) * 16);
  for (let state = 0; state < tree.length / 2; state += 1) {
    for (let nibble = 0; nibble < 16; nibble += 1) steps[state * 16 + nibble] = stepOf(tree, endings, state, nibble);
  }
  return steps;
}

function stepOf(tree: readonly number[], endings: ReadonlySet<number>, state: number, nibble: number): number {
  let node = state;
  let step = 0;
  for (let bit = 3; bit >= 0; bit -= 1) {
    const child = tree[2 * node + ((nibble >>> bit) & 1)]!;
    if (child >= 0) {
      node = child;
      continue;
    }
    const symbol = -1 - child;
    if (symbol === EOS) return FAILS;
    step = EMITS | (symbol << 8);
    node = 0;
  }
  return step | node | (endings.has(node) ? ENDS : 0);
}

/** One scratch for all: what is decoded is turned into a string before anything else can decode. */
let scratch = Buffer.allocUnsafeSlow(4096);

/**
 * Decodes `bytes[start..end)` to a string with one latin1 character per byte.
 * @throws ConnectionError COMPRESSION_ERROR on an EOS symbol, or padding that is too long or not all ones.
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  const lengthMax = Math.floor(((end - start) * 8) / 5);
  if (lengthMax > scratch.length) scratch = Buffer.allocUnsafeSlow(2 * lengthMax);
  const out = scratch;
  let length = 0;
  let step = ENDS;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at]!;
    step = STEPS[((step & 0xff) << 4) | (byte >>> 4)]!;
    if ((step & EMITS) !== 0) out[length++] = (step >>> 8) & 0xff;
    if ((step & FAILS) !== 0) break;
    step = STEPS[((step & 0xff) << 4) | (byte & 15)]!;
    if ((step & EMITS) !== 0) out[length++] = (step >>> 8) & 0xff;
    if ((step & FAILS) !== 0) break;
  }
  if ((step & ENDS) === 0) throw new ConnectionError(ErrorCode.COMPRESSION_ERROR, "a Huffman string that ends wrongly");
  return out.toString("latin1", 0, length);
}

/** How many bytes `text` (latin1) takes in Huffman code. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let at = 0; at < text.length; at += 1) bits += CODE_BITS[text.charCodeAt(at) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Writes `text` (latin1) in Huffman code to `out` from `at`; returns the place after it. */
export function encodeHuffman(text: string, out: Uint8Array, at: number): number {
  let place = at;
  // Up to 7 bits are left over and a code has up to 30: more than the 32 of integer arithmetic, so the top comes first.
  let held = 0;
  let heldBits = 0;
  for (let index = 0; index < text.length; index += 1) {
    const symbol = text.charCodeAt(index) & 0xff;
    let bits = CODE_BITS[symbol]!;
    const code = CODES[symbol]!;
    while (bits > 0) {
      const taken = Math.min(bits, 8 - heldBits);
      held = (held << taken) | ((code >>> (bits - taken)) & ((1 << taken) - 1));
      heldBits += taken;
      bits -= taken;
      if (heldBits === 8) {
        out[place++] = held;
        held = 0;
        heldBits = 0;
      }
    }
  }
  if (heldBits > 0) out[place++] = (held << (8 - heldBits)) | (0xff >>> heldBits);
  return place;
}
