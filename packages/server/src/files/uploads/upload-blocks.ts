// Memory that what arrives for uploads is gathered in: a bounded number of blocks for all of them.
//
// UB1. A block is held only while bytes are on their way to disk: by what is being written, and by what gathers meanwhile. So
//      each that is held comes back, and who finds none waits without holding up anybody.

/** Bytes of a block: what gathers at most while a write is under way. */
export const BLOCK_BYTES = 4 * 1024 * 1024;
/** 256 MiB. */
const BLOCKS_MAX = 64;
/** Kept when nobody needs them: fresh pages cost more than the copy. */
const FREE_MAX = 8;

export interface UploadBlock {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  length: number;
}

export class UploadBlocks {
  readonly #max: number;
  readonly #free: UploadBlock[] = [];
  readonly #waiting: ((block: UploadBlock) => void)[] = [];
  #held = 0;

  constructor(max = BLOCKS_MAX) {
    this.#max = max;
  }

  /** How many are held. */
  get held(): number {
    return this.#held;
  }

  /** An empty one, when there is one: who asks first gets it first. */
  take(): Promise<UploadBlock> {
    if (this.#held === this.#max) {
      return new Promise((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    this.#held++;
    return Promise.resolve(this.#free.pop() ?? newBlock());
  }

  give(block: UploadBlock): void {
    block.length = 0;
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(block);
      return;
    }
    this.#held--;
    if (this.#free.length < FREE_MAX) this.#free.push(block);
  }
}

function newBlock(): UploadBlock {
  const memory = new SharedArrayBuffer(BLOCK_BYTES);
  return { memory, bytes: new Uint8Array(memory), length: 0 };
}
