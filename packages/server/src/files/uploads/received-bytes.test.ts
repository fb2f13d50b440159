import fc from "fast-check";
import { expect, test } from "vitest";
import { ReceivedBytes, WINDOW_BYTES } from "./received-bytes.ts";
import { BLOCK_BYTES, UploadBlocks } from "./upload-blocks.ts";

/** Takes what is appended, and counts it, when the test lets it. */
function createSlowUpload() {
  const pieces: Buffer[] = [];
  const waiting: (() => void)[] = [];
  let appended = 0;
  const upload = {
    pieces,
    /** Bytes. */
    counted: 0,
    get isAsked() {
      return waiting.length > 0;
    },
    append(memory: SharedArrayBuffer, byteCount: number): Promise<void> {
      return new Promise((resolve) => {
        waiting.push(() => {
          pieces.push(Buffer.from(new Uint8Array(memory, 0, byteCount)));
          appended += byteCount;
          resolve();
        });
      });
    },
    count(): Promise<void> {
      const end = appended;
      return new Promise((resolve) => {
        waiting.push(() => {
          upload.counted = end;
          resolve();
        });
      });
    },
    /** Lets what waits longest happen, and what follows from that. */
    async letOne(): Promise<void> {
      waiting.shift()?.();
      await turn();
    },
  };
  return upload;
}

const COUNTS = { counts: true, onCounted() {} };

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
      const bytes = new ReceivedBytes(upload, blocks, COUNTS);
      const sent = lengths.map((length, i) => Buffer.alloc(length, i + 1));
      const adding = (async () => {
        for (const each of sent) await bytes.add(each);
        await bytes.flush();
      })();
      await letAll(upload);
      await adding;
      expect(Buffer.concat(upload.pieces).equals(Buffer.concat(sent))).toBe(true);
      expect(upload.counted).toBe(Buffer.concat(sent).length);
      expect(blocks.held).toBe(0);
    }),
    { numRuns: 50 },
  );
});

test("one call holds two blocks at most, and whoever sends waits for the disk", async () => {
  const blocks = new UploadBlocks();
  const upload = createSlowUpload();
  const bytes = new ReceivedBytes(upload, blocks, COUNTS);
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
    const bytes = new ReceivedBytes(upload, blocks, COUNTS);
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

test("more is written while what was written before is counted, up to a bound", async () => {
  const blocks = new UploadBlocks();
  const counting = Promise.withResolvers<void>();
  let [appended, counted, counts] = [0, 0, 0];
  const upload = {
    append: (_memory: SharedArrayBuffer, byteCount: number) =>
      Promise.resolve().then(() => void (appended += byteCount)),
    count() {
      const end = appended;
      counts++;
      return counting.promise.then(() => void (counted = end));
    },
  };
  const bytes = new ReceivedBytes(upload, blocks, COUNTS);
  const adding = bytes.add(Buffer.alloc(20 * BLOCK_BYTES)).then(() => bytes.flush());
  await expect.poll(() => appended).toBe(WINDOW_BYTES - 2 * BLOCK_BYTES);
  await turn();
  expect([appended, counted, counts, blocks.held]).toEqual([WINDOW_BYTES - 2 * BLOCK_BYTES, 0, 1, 1]);
  counting.resolve();
  await adding;
  expect([counted, blocks.held]).toEqual([20 * BLOCK_BYTES, 0]);
  expect(counts).toBeLessThan(20);
});

test("while the disk syncs, pieces gather to whole blocks", async () => {
  const upload = createSlowUpload();
  const bytes = new ReceivedBytes(upload, new UploadBlocks(), COUNTS);
  await bytes.add(Buffer.alloc(10));
  await upload.letOne(); // Written, and being counted.
  for (let i = 0; i < 7; i++) await bytes.add(Buffer.alloc(BLOCK_BYTES / 4));
  const flushed = bytes.flush();
  await letAll(upload);
  await flushed;
  expect(upload.pieces.map(({ length }) => length)).toEqual([10, BLOCK_BYTES, 0.75 * BLOCK_BYTES]);
  expect(upload.counted).toBe(1.75 * BLOCK_BYTES + 10);
});

test("what does not count waits for nobody, and is not counted", async () => {
  const upload = createSlowUpload();
  const bytes = new ReceivedBytes(upload, new UploadBlocks(), { ...COUNTS, counts: false });
  const adding = bytes.add(Buffer.alloc(1000)).then(() => bytes.flush());
  await letAll(upload);
  await adding;
  expect([upload.pieces.length, upload.counted]).toEqual([1, 0]);
});

test("a write that fails ends it, gives back what it held, and counts what was written before", async () => {
  const blocks = new UploadBlocks();
  let [appended, counted] = [0, 0];
  const upload = {
    append: async (_memory: SharedArrayBuffer, byteCount: number) => {
      await turn();
      if (appended > 0) throw new Error("no disk");
      appended += byteCount;
    },
    count: async () => {
      await turn();
      counted = appended;
    },
  };
  const bytes = new ReceivedBytes(upload, blocks, COUNTS);
  await bytes.add(Buffer.alloc(10));
  await bytes.add(Buffer.alloc(10));
  await expect(bytes.flush()).rejects.toThrow("no disk");
  await expect(bytes.add(Buffer.alloc(10))).rejects.toThrow("no disk");
  expect([counted, blocks.held]).toEqual([10, 0]);
});

test("a count that fails ends it, and nothing is counted any more", async () => {
  const blocks = new UploadBlocks();
  let counts = 0;
  const upload = {
    append: () => turn().then(() => {}),
    count: async () => {
      counts++;
      await turn();
      throw new Error("no disk");
    },
  };
  const bytes = new ReceivedBytes(upload, blocks, COUNTS);
  await bytes.add(Buffer.alloc(10));
  await bytes.add(Buffer.alloc(3 * BLOCK_BYTES)).catch(() => {});
  await expect(bytes.flush()).rejects.toThrow("no disk");
  expect([counts, blocks.held]).toEqual([1, 0]);
});
