// Puts a header block together from HEADERS and CONTINUATION frames (RFC 9113 §4.3, §6.10), within bounds.
import { ConnectionError, ErrorCode } from "./frame.ts";

export interface HeaderAssemblerLimits {
  readonly headerBlockBytesMax: number;
  readonly continuationFramesMax: number;
}

/** Between a HEADERS frame without END_HEADERS and its last CONTINUATION, no other frame may come. */
export class HeaderAssembler {
  readonly #limits: HeaderAssemblerLimits;
  /** The stream whose block is unfinished; 0 when there is none. */
  streamId = 0;
  /** Flags of the HEADERS frame. */
  flags = 0;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(limits: HeaderAssemblerLimits) {
    this.#limits = limits;
  }

  /** The parts so far, while there are any. */
  get unfinished(): object | undefined {
    return this.streamId === 0 ? undefined : this.#parts;
  }

  begin(streamId: number, flags: number, part: Buffer): void {
    this.streamId = streamId;
    this.flags = flags;
    this.#parts = [];
    this.#bytes = 0;
    this.add(part);
  }

  /** @throws ConnectionError ENHANCE_YOUR_CALM when the block is too large or in too many pieces. */
  add(part: Buffer): void {
    this.#bytes += part.length;
    // Copied: the socket's buffer around it may be much larger.
    this.#parts.push(Buffer.from(part));
    const { headerBlockBytesMax, continuationFramesMax } = this.#limits;
    if (this.#bytes > headerBlockBytesMax || this.#parts.length > continuationFramesMax + 1) {
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        `header block of more than ${headerBlockBytesMax} bytes or ${continuationFramesMax} CONTINUATION frames`,
      );
    }
  }

  /** The whole block; the assembler is empty afterwards. */
  finish(): Buffer {
    const block = Buffer.concat(this.#parts);
    this.streamId = 0;
    this.#parts = [];
    return block;
  }
}
