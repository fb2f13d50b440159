// Bytes as a socket might have cut them.
import type { Random } from "../random.ts";

/** About so many at most, so that a long input takes no longer than a short one. */
const PIECES_MAX = 200;

/** The same bytes in pieces: of one byte here and there, of any size elsewhere, never the whole when there are two. */
export function piecesOf(bytes: Buffer, random: Random): Buffer[] {
  const pieces: Buffer[] = [];
  // Small pieces throughout, or a few cuts: what goes wrong at a border needs it at one certain place.
  const size = random.pick([1, 3, 16, 64, 1024, Math.max(2, bytes.length)]);
  const sizeMax = Math.max(size, Math.ceil((2 * bytes.length) / PIECES_MAX));
  for (let at = 0; at < bytes.length;) {
    const end = at + Math.min(1 + random.below(sizeMax), Math.max(1, bytes.length - 1));
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}
