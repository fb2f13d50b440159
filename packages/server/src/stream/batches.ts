// A stream of entries, given out in batches: messages whose field 1 repeats the entries of another message's stream.
//
// A1. No entry is encoded again: a frame's message becomes the bytes of one element, behind a tag and a length. Those take
//     no more than the frame's header took.
// A2. Nothing waits here between two pulls: what is not sent yet is still in front of the follow's position, so an
//     interruption names the right place. Entries that wait for others wait in the log.
// A3. Followers at the head, who all get the same bytes, share one batch.
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream, type RpcError } from "@sluice/rpc";
import type { ControlFrames } from "./control.ts";
import type { Follow } from "./follow.ts";

/** A message has no more than this, or one entry: far below the 4 MiB that gRPC's clients take. */
export const BATCH_BYTES_MAX = 256 * 1024;
/** What a batch may have although the transport wants less now: else the last bytes of a window made batches of one. */
const BATCH_BYTES_MIN = 32 * 1024;
/** Field 1, length-delimited. */
const ELEMENT_TAG = (1 << 3) | 2;

/** Turns frames into the bytes of a message's field 1, and remembers the last result (A3). */
export class BatchEncoder {
  #lastFrames: Uint8Array | undefined = undefined;
  #lastBatch: Uint8Array = new Uint8Array(0);

  /** One frame that holds the entries of all `pieces`, which hold whole frames. */
  encode(pieces: readonly Uint8Array[]): Uint8Array {
    const [only] = pieces;
    if (pieces.length > 1 || only === undefined) return encodeBatch(pieces);
    if (only !== this.#lastFrames) {
      this.#lastBatch = encodeBatch(pieces);
      this.#lastFrames = only;
    }
    return this.#lastBatch;
  }
}

/** One frame: the message whose field 1 repeats the messages of the frames in `pieces`, and then has `rest`. */
export function encodeBatch(pieces: readonly Uint8Array[], rest: Uint8Array = new Uint8Array(0)): Uint8Array {
  let room = FRAME_HEADER_BYTES + rest.length;
  for (const piece of pieces) room += piece.length;
  const batch = Buffer.allocUnsafe(room);
  let at = FRAME_HEADER_BYTES;
  for (const piece of pieces) at = appendElements(batch, at, piece);
  batch.set(rest, at);
  at += rest.length;
  batch[0] = 0;
  batch.writeUInt32BE(at - FRAME_HEADER_BYTES, 1);
  return batch.subarray(0, at);
}

/** Copies each frame's message as an element. Answers where the next one begins. */
function appendElements(batch: Buffer, start: number, frames: Uint8Array): number {
  const source = Buffer.from(frames.buffer, frames.byteOffset, frames.byteLength);
  let at = start;
  for (let next = 0; next < source.length;) {
    const length = source.readUInt32BE(next + 1);
    const message = next + FRAME_HEADER_BYTES;
    next = message + length;
    batch[at++] = ELEMENT_TAG;
    let left = length;
    for (; left > 0x7f; left >>>= 7) batch[at++] = (left & 0x7f) | 0x80;
    batch[at++] = left;
    source.copy(batch, at, message, next);
    at += length;
  }
  return at;
}

/** Makes frames of the message that is streamed, one or more, of frames of entries. */
export type EncodesBatches = Pick<BatchEncoder, "encode">;

export interface BatchOptions {
  /** Entries of a batch, at most. */
  readonly entriesMax: number;
  readonly encoder: EncodesBatches;
  /** Of the follow's messages, and of batches. */
  readonly entryControls: ControlFrames;
  readonly batchControls: ControlFrames;
}

/** Gives out a follow in batches. The follow must have a manner with a batch. */
export class BatchSource implements FrameSource, FrameStream {
  readonly #follow: Follow;
  readonly #options: BatchOptions;
  #stream: FrameStream | undefined = undefined;
  /** How the follow ended while a batch was made of what it had given before. */
  #ending: ((stream: FrameStream) => void) | undefined = undefined;
  #isPulling = false;

  constructor(follow: Follow, options: BatchOptions) {
    this.#follow = follow;
    this.#options = options;
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
    this.#follow.attach(this);
  }

  pull(maxBytes: number): Uint8Array | undefined {
    const answer = this.#ending === undefined ? this.#gather(maxBytes) : undefined;
    const ending = this.#ending;
    if (answer === undefined && ending !== undefined && this.#stream !== undefined) {
      this.#ending = undefined;
      ending(this.#stream);
    }
    return answer;
  }

  wake(): void {
    this.#stream?.wake();
  }

  end(): void {
    this.#finish((stream) => {
      stream.end();
    });
  }

  fail(error: unknown): void {
    this.#finish((stream) => {
      stream.fail(error);
    });
  }

  farewell(error: RpcError): unknown {
    return this.#follow.farewell(error);
  }

  #finish(ending: (stream: FrameStream) => void): void {
    if (this.#isPulling || this.#stream === undefined) this.#ending = ending;
    else ending(this.#stream);
  }

  /** All that is there now, up to a full batch and the control behind it. */
  #gather(maxBytes: number): Uint8Array | undefined {
    const { entriesMax, encoder, entryControls, batchControls } = this.#options;
    const bytesMax = Math.min(BATCH_BYTES_MAX, Math.max(BATCH_BYTES_MIN, maxBytes));
    const answer: Uint8Array[] = [];
    let pieces: Uint8Array[] = [];
    let bytes = 0;
    let entries = 0;
    this.#isPulling = true;
    while (entries < entriesMax && bytes < bytesMax) {
      const piece = this.#follow.pullSome(bytesMax - bytes, entriesMax - entries);
      if (piece === undefined) break;
      const isControl = entryControls.isControl(piece);
      if (pieces.length > 0 && (isControl || bytes + piece.length > BATCH_BYTES_MAX)) {
        answer.push(encoder.encode(pieces));
        pieces = [];
      }
      if (isControl) {
        answer.push(entryControls.translate(piece, batchControls));
        break;
      }
      pieces.push(piece);
      bytes += piece.length;
      entries += countFrames(piece);
    }
    this.#isPulling = false;
    if (pieces.length > 0) answer.push(encoder.encode(pieces));
    if (entries > 0) this.#follow.sent();
    if (answer.length === 0) return undefined;
    return answer.length === 1 ? answer[0] : Buffer.concat(answer);
  }
}

function countFrames(frames: Uint8Array): number {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
  let count = 0;
  for (let at = 0; at < frames.length; at += FRAME_HEADER_BYTES + view.getUint32(at + 1)) count++;
  return count;
}
