import fc from "fast-check";
import { expect, test } from "vitest";
import { ReceivedBytes } from "./received-bytes.ts";
import { BLOCK_BYTES, UploadBlocks } from "./upload-blocks.ts";

/** Takes what is appended when the test lets it. */
function createSlowUpload() {
  const pieces: Buffer[] = [];
  const waiting: (() => void)[] = [];
  return {
    pieces,
    get isAsked() {
      return waiting.length > 0;
    },
    append(memory: SharedArrayBuffer, byteCount: number): Promise<void> {
      return new Promise((resolve) => {
        waiting.push(() => {
          pieces.push(Buffer.from(new Uint8Array(memory, 0, byteCount)));
          resolve();
        });
      });
    },
    /** Lets the write that waits happen, and what follows from that. */
    async letOne(): Promise<void> {
      waiting.shift()?.();
      await turn();
    },
  };
}

const turn = () => new Promise((resolve) => void setImmediate(resolve));

async function letAll(...uploads: ReturnType<typeof createSlowUpload>[]): Promise<void> {
  for (await turn(); uploads.some(({ isAsked }) => isAsked); await turn()) {
    for (const upload of uploads) await upload.letOne();
  }
}

test("what is added is appended in order, whatever its pieces; then no block is held", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: 3000 }), { maxLength: 30 }), async (lengths) => {
      const blocks = new UploadBlocks();
      const upload = createSlowUpload();
      const bytes = new ReceivedBytes(upload, blocks, () => {});
      const sent = lengths.map((length, i) => Buffer.alloc(length, i + 1));
      const adding = (async () => {
        for (const each of sent) await bytes.add(each);
        await bytes.flush();
      })();
      await letAll(upload);
      await adding;
      expect(Buffer.concat(upload.pieces).equals(Buffer.concat(sent))).toBe(true);
      expect(blocks.held).toBe(0);
    }),
    { numRuns: 50 },
  );
});

test("one call holds two blocks at most, and whoever sends waits for the disk", async () => {
  const blocks = new UploadBlocks();
  const upload = createSlowUpload();
  const bytes = new ReceivedBytes(upload, blocks, () => {});
  let isAdded = false;
  const adding = bytes.add(Buffer.alloc(3 * BLOCK_BYTES, 7)).then(() => (isAdded = true));
  await turn();
  expect([blocks.held, isAdded]).toEqual([2, false]);
  await letAll(upload);
  await adding;
  await bytes.flush();
  expect(upload.pieces.map(({ length }) => length)).toEqual([BLOCK_BYTES, BLOCK_BYTES, BLOCK_BYTES]);
  expect(blocks.held).toBe(0);
});

test("all calls share the blocks: those that find none wait, and get their turn", async () => {
  const blocks = new UploadBlocks(2);
  const uploads = Array.from({ length: 5 }, createSlowUpload);
  const adding = uploads.map(async (upload, i) => {
    const bytes = new ReceivedBytes(upload, blocks, () => {});
    for (let count = 0; count < 3; count++) await bytes.add(Buffer.alloc(1000, i));
    await bytes.flush();
  });
  await turn();
  expect(blocks.held).toBe(2);
  expect(uploads.filter(({ isAsked }) => isAsked)).toHaveLength(2);
  await letAll(...uploads);
  await Promise.all(adding);
  for (const [i, { pieces }] of uploads.entries()) {
    expect(Buffer.concat(pieces).equals(Buffer.alloc(3000, i))).toBe(true);
  }
  expect(blocks.held).toBe(0);
});

test("a write that fails ends it, and gives back what it held", async () => {
  const blocks = new UploadBlocks();
  const upload = { append: () => turn().then(() => Promise.reject(new Error("no disk"))) };
  const bytes = new ReceivedBytes(upload, blocks, () => {});
  await bytes.add(Buffer.alloc(10));
  await bytes.add(Buffer.alloc(10));
  await expect(bytes.flush()).rejects.toThrow("no disk");
  await expect(bytes.add(Buffer.alloc(10))).rejects.toThrow("no disk");
  expect(blocks.held).toBe(0);
});
