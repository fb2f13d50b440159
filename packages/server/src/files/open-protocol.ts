// What an opening thread is asked for, and what it answers. Both go in batches: a message wakes a thread, and that costs more than
// to open a file.
import type { FileVersion } from "./file-version.ts";

/** Linux' open(2), not among Node's constants; the same number on all architectures that Node runs on. */
export const O_PATH = 0o10000000;

export type OpenOrder =
  | {
      readonly kind: "open";
      readonly id: number;
      /** Absolute path. */
      readonly place: string;
      /** A file with no more bytes is read as well. */
      readonly contentsMax: number;
    }
  | { readonly kind: "close"; readonly id: number; readonly fd: number }
  /** The last one: the thread ends, and that is its answer. */
  | { readonly kind: "end"; readonly id: number };

export type OpenAnswer =
  | {
      readonly kind: "opened";
      readonly id: number;
      /** -1: closed, since all of it is in `contents`. */
      readonly fd: number;
      readonly isFolder: boolean;
      readonly version: FileVersion;
      /** Of this very version. */
      readonly contents: Uint8Array | undefined;
    }
  | { readonly kind: "closed"; readonly id: number }
  /** The path leads to something, but not to itself. */
  | { readonly kind: "elsewhere"; readonly id: number }
  | { readonly kind: "failed"; readonly id: number; readonly code: string; readonly reason: string };
