// Answers that are pulled, and that nobody is asked for more than the other side reads.
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, frameOf, RpcError, type FrameSource, type FrameStream } from "@sluice/rpc";
import { expect, test } from "vitest";
import { CountResponseSchema } from "./gen/echo_pb.ts";
import { callFields, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

const MIB = 1024 * 1024;

/** Hands out numbered frames; waits where it is told to. */
class Numbers implements FrameSource {
  stream: FrameStream | undefined;
  next = 0;
  pulls = 0;
  ready: number;
  readonly #end: number;
  readonly #outcome: unknown;

  constructor(ready: number, end: number, outcome?: unknown) {
    this.ready = ready;
    this.#end = end;
    this.#outcome = outcome;
  }

  attach(stream: FrameStream): void {
    this.stream = stream;
  }

  pull(maxBytes: number): Uint8Array | undefined {
    this.pulls++;
    const frames: Uint8Array[] = [];
    for (let size = 0; size < maxBytes && this.next < this.ready;) {
      const frame = frameOf(toBinary(CountResponseSchema, create(CountResponseSchema, { index: this.next++ })));
      frames.push(frame);
      size += frame.length;
    }
    if (frames.length > 0) return Buffer.concat(frames);
    if (this.next === this.#end) {
      if (this.#outcome === undefined) this.stream?.end();
      else this.stream?.fail(this.#outcome);
    }
    return undefined;
  }
}

overBothTransports((transport) => {
  test("a FrameSource is pulled until it ends", async () => {
    await using echo = await startEcho(transport, { handlers: { count: () => new Numbers(100_000, 100_000) } });
    const responses = await Array.fromAsync(echo.client.count({}), ({ index }) => index);
    expect(responses.length).toBe(100_000);
    expect(responses.every((index, at) => index === at)).toBe(true);
  });

  test("a FrameSource that has nothing is pulled again when it says so", async () => {
    const source = new Numbers(2, 5);
    await using echo = await startEcho(transport, { handlers: { count: async () => Promise.resolve(source) } });
    const responses = echo.client.count({});
    await responses.next();
    await responses.next();
    await expect.poll(() => source.pulls).toBeGreaterThan(1);
    source.ready = 5;
    source.stream?.wake();
    await expect(Array.fromAsync(responses, ({ index }) => index)).resolves.toEqual([2, 3, 4]);
  });

  test("a FrameSource that fails ends the call with its status, after what was pulled", async () => {
    const failure = new RpcError(Code.DATA_LOSS, "torn");
    await using echo = await startEcho(transport, { handlers: { count: () => new Numbers(3, 3, failure) } });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { index } of echo.client.count({})) seen.push(index);
    })();
    await expect(reading).rejects.toMatchObject({ code: Code.DATA_LOSS, message: "torn" });
    expect(seen).toEqual([0, 1, 2]);
  });

  test("a FrameSource that throws is an unforeseen error; one that fails at once is trailers-only", async () => {
    const broken: FrameSource = {
      attach() {},
      pull() {
        throw new Error("broken");
      },
    };
    const refusing: FrameSource = {
      attach: (stream) => stream.fail(new RpcError(Code.NOT_FOUND, "no such log")),
      pull: () => undefined,
    };
    await using echo = await startEcho(transport, {
      handlers: { count: ({ count }) => (count === 0 ? refusing : broken) },
    });
    await expect(Array.fromAsync(echo.client.count({ count: 1 }))).rejects.toMatchObject({ code: Code.UNKNOWN });
    expect(echo.errors.map(String)).toEqual(["Error: broken"]);
    await using wire = await openWire(transport, echo.listener.address);
    const answer = await wire.request(callFields("Count"), Buffer.alloc(5));
    expect([answer.isTrailersOnly, fieldOf(answer.headers, "grpc-status")]).toEqual([true, String(Code.NOT_FOUND)]);
  });

  test("memory that a FrameSource hears is sent may be written again", async () => {
    const message = create(CountResponseSchema, { payload: new Uint8Array(10_000).fill(1) });
    const frame = frameOf(toBinary(CountResponseSchema, message));
    const given: Uint8Array[] = [];
    const free: Uint8Array[] = [];
    let reused = 0;
    let left = 2000;
    let stream: FrameStream | undefined;
    const source: FrameSource = {
      attach: (attached) => void (stream = attached),
      pull() {
        if (left === 0) stream?.end();
        if (left === 0) return undefined;
        left--;
        const block = free.pop() ?? new Uint8Array(frame.length);
        block.set(frame);
        given.push(block);
        return block;
      },
      sent() {
        reused += given.length;
        for (const block of given.splice(0)) free.push(block.fill(0xee));
      },
    };
    await using echo = await startEcho(transport, { handlers: { count: () => source } });
    let responses = 0;
    for await (const { payload } of echo.client.count({})) {
      expect(payload.every((byte) => byte === 1)).toBe(true);
      responses++;
    }
    expect(responses).toBe(2000);
    expect(reused).toBeGreaterThan(0);
  });

  test("a FrameSource is pulled no further than its reader reads", async () => {
    const source = new Numbers(Number.POSITIVE_INFINITY, -1);
    await using echo = await startEcho(transport, { handlers: { count: () => source } });
    const responses = echo.client.count({});
    await responses.next();
    let before = -1;
    await expect
      .poll(() => {
        const isStill = source.next === before;
        before = source.next;
        return isStill;
      })
      .toBe(true);
    // A frame is 5 to 9 bytes; windows, write marks and the kernel's socket buffers hold a few MiB at most.
    expect(source.next).toBeLessThan((8 * MIB) / 5);
    await responses.return?.();
  });

  test("a generator is asked no further than its reader reads", async () => {
    let made = 0;
    await using echo = await startEcho(transport, {
      handlers: {
        async *count() {
          for (const payload = new Uint8Array(64 * 1024); ; made++) yield { payload };
        },
      },
    });
    const responses = echo.client.count({});
    await responses.next();
    let before = -1;
    await expect
      .poll(() => {
        const isStill = made === before;
        before = made;
        return isStill;
      })
      .toBe(true);
    expect(made).toBeLessThan((8 * MIB) / (64 * 1024));
    await responses.return?.();
  });

  test("requests are asked for no further than the server reads", async () => {
    let made = 0;
    const release = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: {
        async sum(requests) {
          await release.promise;
          let messages = 0;
          for await (const _ of requests) messages++;
          return { messages };
        },
      },
    });
    async function* requests() {
      for (const payload = new Uint8Array(64 * 1024); made < 500; made++) yield { payload };
    }
    const answer = echo.client.sum(requests());
    let before = -1;
    await expect
      .poll(() => {
        const isStill = made > 0 && made === before;
        before = made;
        return isStill;
      })
      .toBe(true);
    expect(made).toBeLessThan((8 * MIB) / (64 * 1024));
    release.resolve();
    await expect(answer).resolves.toMatchObject({ messages: 500 });
  });
});
