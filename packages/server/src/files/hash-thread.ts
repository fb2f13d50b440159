// The hashing thread: SHA-256 of memory that the server shares with it, and of whole files.
//
// HT1. Files are read a piece at a time, in turn with what else is asked for: a download never waits for a file of 500 GB.
import { createHash, type Hash } from "node:crypto";
import { readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { type HashAnswer, type HashOrder, updateHash } from "./hash-protocol.ts";

const PIECE_BYTES = 1024 * 1024;

interface FileHash {
  readonly id: number;
  readonly fd: number;
  readonly size: number;
  readonly hash: Hash;
  offset: number;
}

const port = parentPort!;
const hashes = new Map<number, Hash>();
/** In turn, HT1. */
const files = new Map<number, FileHash>();
const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

port.on("message", (order: HashOrder) => {
  switch (order.kind) {
    case "update":
      updateHash(hashOf(order.id), order.memory, order.spans);
      answer({ kind: "updated", id: order.id });
      return;
    case "digest":
      answer({ kind: "digest", id: order.id, digest: hashOf(order.id).digest("hex") });
      hashes.delete(order.id);
      return;
    case "forget":
      hashes.delete(order.id);
      files.delete(order.id);
      answer({ kind: "failed", id: order.id, reason: "nobody wants it any more" });
      return;
    case "file":
      files.set(order.id, { ...order, hash: createHash("sha256"), offset: 0 });
      if (files.size === 1) setImmediate(readOn);
      return;
    default:
      order satisfies never;
  }
});

function answer(message: HashAnswer): void {
  port.postMessage(message);
}

function hashOf(id: number): Hash {
  let hash = hashes.get(id);
  if (hash === undefined) hashes.set(id, (hash = createHash("sha256")));
  return hash;
}

/** One piece of the file whose turn it is. */
function readOn(): void {
  const [file] = files.values();
  if (file === undefined) return;
  files.delete(file.id);
  try {
    const count = readSync(file.fd, piece, 0, Math.min(PIECE_BYTES, file.size - file.offset), file.offset);
    file.hash.update(piece.subarray(0, count));
    file.offset += count;
    if (file.offset === file.size) answer({ kind: "digest", id: file.id, digest: file.hash.digest("hex") });
    else if (count === 0) answer({ kind: "failed", id: file.id, reason: "the file became shorter" });
    else files.set(file.id, file);
  } catch (error) {
    answer({ kind: "failed", id: file.id, reason: String(error) });
  }
  if (files.size > 0) setImmediate(readOn);
}
