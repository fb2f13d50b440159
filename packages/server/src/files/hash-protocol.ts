// What the hashing thread is told, and what it answers. Everything about one hash carries its id.
import type { Hash } from "node:crypto";

/** Done in the order in which they were sent; files in turn with everything else. */
export type HashOrder =
  | { readonly kind: "update"; readonly id: number; readonly memory: SharedArrayBuffer; readonly spans: Uint32Array }
  | { readonly kind: "digest"; readonly id: number }
  /** Answered by `failed`: then nothing of it is used any more. */
  | { readonly kind: "forget"; readonly id: number }
  /** All of a file, by its descriptor, which stays open until the answer. */
  | { readonly kind: "file"; readonly id: number; readonly fd: number; readonly size: number };

export type HashAnswer =
  /** One for each `update`: its memory may be used again. */
  | { readonly kind: "updated"; readonly id: number }
  /** SHA-256, in hex. */
  | { readonly kind: "digest"; readonly id: number; readonly digest: string }
  | { readonly kind: "failed"; readonly id: number; readonly reason: string };

/** @param spans start, end, start, end, … in `memory` */
export function updateHash(hash: Hash, memory: SharedArrayBuffer, spans: Uint32Array): void {
  for (let i = 0; i < spans.length; i += 2) {
    const start = spans[i] ?? 0;
    hash.update(new Uint8Array(memory, start, (spans[i + 1] ?? start) - start));
  }
}
