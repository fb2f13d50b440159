// The Huffman code of HPACK (RFC 7541 §5.2, appendix B), a byte at a time.
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

/** Two children per inner node, 0 being the root; a child ≥ 0 is an inner node, `-1 - symbol` a leaf. */
const TREE = codeTree();

function codeTree(): readonly number[] {
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

// What a byte does at a node: bits 0–7 the node after it, 8–15 and 16–23 the symbols it completes (the shortest code has
// five bits, so at most two), 24–25 how many, then flags.
const COUNT_SHIFT = 24;
/** The string may end here: fewer than eight bits since the last symbol, all ones (a prefix of EOS). */
const ENDS = 1 << 26;
const FAILS = 1 << 27;
/** By node and byte. Made entry by entry as strings come by (0: not yet), since text uses few of them. */
const STEPS = new Int32Array((TREE.length / 2) * 256);
const ENDINGS = endings();

/** The nodes that up to seven ones lead to. */
function endings(): ReadonlySet<number> {
  const nodes = new Set<number>();
  for (let node = 0; nodes.size < 8; node = TREE[2 * node + 1]!) nodes.add(node);
  return nodes;
}

function stepOf(from: number, byte: number): number {
  let node = from;
  let symbols = 0;
  let count = 0;
  for (let bit = 7; bit >= 0; bit -= 1) {
    const child = TREE[2 * node + ((byte >>> bit) & 1)]!;
    if (child >= 0) {
      node = child;
      continue;
    }
    const symbol = -1 - child;
    if (symbol === EOS) return FAILS;
    symbols |= symbol << (8 + 8 * count);
    count += 1;
    node = 0;
  }
  return symbols | node | (count << COUNT_SHIFT) | (ENDINGS.has(node) ? ENDS : 0);
}

/** One scratch for all: what is decoded is turned into a string before anything else can decode. */
let scratch = Buffer.allocUnsafeSlow(4096);

/**
 * Decodes `bytes[start..end)` to a string with one latin1 character per byte.
 * @throws ConnectionError COMPRESSION_ERROR on an EOS symbol, or padding that is too long or not all ones.
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number): string {
  const lengthMax = Math.floor(((end - start) * 8) / 5) + 1;
  if (lengthMax > scratch.length) scratch = Buffer.allocUnsafeSlow(2 * lengthMax);
  const out = scratch;
  let length = 0;
  let step = ENDS;
  for (let at = start; at < end; at += 1) {
    const place = ((step & 0xff) << 8) | bytes[at]!;
    step = STEPS[place]!;
    if (step === 0) step = STEPS[place] = stepOf(place >>> 8, place & 0xff) | 0;
    // Both places are written whatever the count: a branch on it would be guessed wrongly every other time.
    out[length] = step >>> 8;
    out[length + 1] = step >>> 16;
    length += (step >>> COUNT_SHIFT) & 3;
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
