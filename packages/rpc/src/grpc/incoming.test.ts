import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { frameOf } from "./frames.ts";
import { Incoming, type IncomingOwner } from "./incoming.ts";
import { Code, RpcError } from "./status.ts";

/** An owner that writes down what it hears. */
function incoming(options: { isCompressed?: boolean; heldBytesMax?: number } = {}) {
  const heard = { credit: 0, held: 0, messages: 0, decoded: 0, returns: 0, invalid: [] as RpcError[] };
  const owner: IncomingOwner<number> = {
    messageBytesMax: 100_000,
    isCompressed: options.isCompressed ?? false,
    decode(bytes) {
      heard.decoded++;
      if (bytes.length === BROKEN) throw new Error("no message");
      return bytes.length;
    },
    onConsumed: (byteCount) => (heard.credit += byteCount),
    onHeld(change) {
      heard.held += change;
      if (heard.held > (options.heldBytesMax ?? Number.POSITIVE_INFINITY))
        throw new RpcError(Code.RESOURCE_EXHAUSTED, "");
    },
    onMessage: () => heard.messages++,
    onInvalid: (error) => heard.invalid.push(error),
    onReturn: () => heard.returns++,
  };
  const messages = new Incoming<number>(owner);
  const push = (...frames: Uint8Array[]): void => {
    const bytes = Buffer.concat(frames);
    messages.push(bytes, 0, bytes.length);
  };
  return { messages, heard, push };
}

/** What `decode` refuses. */
const BROKEN = 13;

function frame(bytes: number): Uint8Array {
  return frameOf(new Uint8Array(bytes));
}

describe("credit", () => {
  test("returns for what was taken, not for what waits", async () => {
    const { messages, heard, push } = incoming();
    const first = messages.next();
    push(frame(10_000), frame(20_000), frame(30_000));
    await expect(first).resolves.toEqual({ done: false, value: 10_000 });
    expect(heard.credit).toBe(10_005);
    await messages.next();
    expect(heard.credit).toBe(30_010);
    await messages.next();
    expect(heard.credit).toBe(60_015);
  });

  test("returns in steps while messages wait, and altogether when none does", async () => {
    const { messages, heard, push } = incoming();
    push(...Array.from({ length: 100 }, () => frame(1000)));
    for (let taken = 0; taken < 8; taken++) await messages.next();
    expect(heard.credit).toBe(0);
    await messages.next();
    expect(heard.credit).toBe(9045);
    for (let taken = 9; taken < 100; taken++) await messages.next();
    expect(heard.credit).toBe(100_500);
  });

  test("of a single small message returns with it", async () => {
    const { messages, heard, push } = incoming();
    push(frame(1));
    await messages.next();
    expect(heard.credit).toBe(6);
  });

  test("returns for the beginning of a message that is waited for, which then counts as held", async () => {
    const { messages, heard, push } = incoming();
    const whole = frame(50_000);
    push(whole.subarray(0, 20_000));
    expect(heard).toMatchObject({ credit: 0, held: 0 });
    const next = messages.next();
    expect(heard).toMatchObject({ credit: 20_000, held: 20_000 });
    push(whole.subarray(20_000, 40_000));
    expect(heard).toMatchObject({ credit: 40_000, held: 40_000 });
    push(whole.subarray(40_000));
    await next;
    expect(heard).toMatchObject({ credit: 50_005, held: 0 });
  });

  test("is not returned where no more may be held", async () => {
    const { messages, heard, push } = incoming({ heldBytesMax: 10_000 });
    const next = messages.next();
    push(frame(50_000).subarray(0, 20_000));
    await expect(next).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
    expect(heard.invalid).toHaveLength(1);
    expect(heard.credit).toBe(0);
  });

  test("of what comes after the reader left returns at once", async () => {
    const { messages, heard, push } = incoming();
    push(frame(1000));
    await messages.return();
    expect(heard).toMatchObject({ credit: 1005, returns: 1 });
    push(frame(2000));
    expect(heard.credit).toBe(3010);
    await expect(messages.next()).resolves.toEqual({ done: true, value: undefined });
    await messages.return();
    expect(heard.returns).toBe(1);
  });
});

describe("order and end", () => {
  test("several reads may wait at once, and are answered in order", async () => {
    const { messages, push } = incoming();
    const reads = Promise.all([messages.next(), messages.next(), messages.next()]);
    push(frame(1));
    push(frame(2));
    messages.finish();
    await expect(reads).resolves.toEqual([
      { done: false, value: 1 },
      { done: false, value: 2 },
      { done: true, value: undefined },
    ]);
  });

  test("what is compressed does not fall behind what follows it", async () => {
    const { messages, push } = incoming({ isCompressed: true });
    const reads = Promise.all([messages.next(), messages.next(), messages.next()]);
    push(frameOf(gzipSync(new Uint8Array(70_000)), 1), frame(2), frameOf(gzipSync(new Uint8Array(3)), 1));
    expect((await reads).map(({ value }) => value)).toEqual([70_000, 2, 3]);
  });

  test("an error of the end comes after what was received before it", async () => {
    const { messages, push } = incoming();
    push(frame(1));
    messages.finish(new RpcError(Code.ABORTED, "over"));
    await expect(messages.next()).resolves.toMatchObject({ value: 1 });
    await expect(messages.next()).rejects.toMatchObject({ code: Code.ABORTED });
    await expect(messages.next()).rejects.toMatchObject({ code: Code.ABORTED });
  });

  test("an abort drops what was received, also what is being decompressed", async () => {
    const { messages, heard, push } = incoming({ isCompressed: true });
    push(frameOf(gzipSync(new Uint8Array(70_000)), 1), frame(2));
    const reads = [messages.next(), messages.next()];
    messages.abort(new RpcError(Code.CANCELLED, "gone"));
    for (const read of reads) await expect(read).rejects.toMatchObject({ code: Code.CANCELLED });
    // The thread pool's answer comes later than that of a second message.
    const other = incoming({ isCompressed: true });
    other.push(frameOf(gzipSync(new Uint8Array(200_000).fill(7, 0, 100_000).subarray(0, 90_000)), 1));
    await other.messages.next();
    expect(heard.decoded).toBe(0);
    await expect(messages.next()).rejects.toMatchObject({ code: Code.CANCELLED });
  });

  test("who asks when all is over hears so, also while a message is being decompressed", async () => {
    for (const end of ["abort", "return"] as const) {
      const { messages, push } = incoming({ isCompressed: true });
      push(frameOf(gzipSync(new Uint8Array(70_000)), 1));
      const read = messages.next();
      if (end === "abort") {
        messages.abort(new RpcError(Code.CANCELLED, "gone"));
        await expect(messages.next()).rejects.toMatchObject({ code: Code.CANCELLED });
        await expect(read).rejects.toMatchObject({ code: Code.CANCELLED });
      } else {
        await messages.return();
        await expect(messages.next()).resolves.toEqual({ done: true, value: undefined });
        await expect(read).resolves.toEqual({ done: true, value: undefined });
      }
    }
  });

  test("a stream that ends in the middle of a message is INTERNAL", async () => {
    const { messages, heard, push } = incoming();
    push(frame(10).subarray(0, 12));
    messages.finish();
    await expect(messages.next()).rejects.toMatchObject({ code: Code.INTERNAL });
    expect(heard.invalid).toHaveLength(1);
  });

  test("a compressed message that nobody announced is INTERNAL, whether it is waited for or not", async () => {
    for (const isEarly of [true, false]) {
      const { messages, heard, push } = incoming();
      if (!isEarly) push(frameOf(gzipSync(new Uint8Array(3)), 1));
      const read = messages.next();
      if (isEarly) push(frameOf(gzipSync(new Uint8Array(3)), 1));
      await expect(read).rejects.toMatchObject({ code: Code.INTERNAL });
      expect(heard.invalid).toHaveLength(1);
    }
  });
});

describe("a message that cannot be decoded", () => {
  test.each([
    ["plain", frame(BROKEN)],
    ["compressed", frameOf(gzipSync(new Uint8Array(BROKEN)), 1)],
  ])("rejects who waits for it: %s", async (_kind, bytes) => {
    const { messages, heard, push } = incoming({ isCompressed: true });
    const waiting = messages.next();
    push(bytes);
    await expect(waiting).rejects.toMatchObject({ code: Code.INTERNAL });
    expect(heard.invalid).toHaveLength(1);
  });
});

describe("lent memory", () => {
  /** Hands the bytes themselves out. */
  function lending(isLending: boolean) {
    const owner: IncomingOwner<Uint8Array> = {
      messageBytesMax: 100_000,
      isCompressed: false,
      isLending,
      decode: (bytes) => bytes,
      onConsumed: () => {},
      onMessage: () => {},
      onInvalid: () => {},
    };
    const messages = new Incoming<Uint8Array>(owner);
    /** In two pieces, so that it gets a place of its own. */
    const push = (fill: number): void => {
      const bytes = Buffer.from(frameOf(new Uint8Array(50_000).fill(fill)));
      messages.push(bytes, 0, 30_000);
      messages.push(bytes, 30_000, bytes.length);
    };
    const next = async (): Promise<Uint8Array> => (await messages.next()).value ?? new Uint8Array(0);
    return { messages, push, next };
  }

  test("is used again when the next message is asked for, and not before", async () => {
    const { push, next } = lending(true);
    push(1);
    const first = await next();
    push(2);
    expect(first).toEqual(new Uint8Array(50_000).fill(1));
    const second = await next();
    expect(second.buffer === first.buffer).toBe(true);
    expect(second).toEqual(new Uint8Array(50_000).fill(2));
  });

  test("is nobody else's when the reader left, or the call is over", async () => {
    const { messages, push, next } = lending(true);
    push(1);
    const last = await next();
    await messages.return();
    messages.abort();
    const other = lending(true);
    for (let at = 0; at < 3; at++) {
      other.push(2);
      expect((await other.next()).buffer === last.buffer).toBe(false);
    }
    expect(last).toEqual(new Uint8Array(50_000).fill(1));
  });

  test("is not lent unless the handler says so", async () => {
    const { push, next } = lending(false);
    push(1);
    const first = await next();
    push(2);
    push(3);
    await next();
    await next();
    expect(first).toEqual(new Uint8Array(50_000).fill(1));
  });
});
