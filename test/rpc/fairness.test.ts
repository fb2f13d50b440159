// What one stream of a connection may cost the others.
import { expect, test } from "vitest";
import { callFields, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

const MIB = 1024 * 1024;

overBothTransports((transport) => {
  test("20 stalled uploads of 1 MiB do not hold up unary calls beside them", async () => {
    const release = Promise.withResolvers<void>();
    await using echo = await startEcho(transport, {
      handlers: {
        async sum(requests) {
          await release.promise;
          let bytes = 0n;
          for await (const { payload } of requests) bytes += BigInt(payload.length);
          return { bytes };
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const upload = Buffer.alloc(MIB);
    upload.writeUInt32BE(MIB - 5, 1);
    // SumRequest.payload of 1,048,567 bytes.
    Buffer.of(0x12, 0xf7, 0xff, 0x3f).copy(upload, 5);
    const uploads = Array.from({ length: 20 }, () => {
      const { stream, closed } = wire.open(callFields("Sum"));
      stream.write(upload);
      stream.end();
      return closed;
    });
    await expect.poll(() => echo.server.openCalls).toBe(20);
    for (let round = 0; round < 100; round++) {
      const answer = await wire.request(callFields("Echo"), Buffer.alloc(5));
      expect(fieldOf(answer.trailers, "grpc-status")).toBe("0");
    }
    expect(echo.server.openCalls).toBe(20);
    release.resolve();
    for (const answer of await Promise.all(uploads)) expect(fieldOf(answer.trailers, "grpc-status")).toBe("0");
  });

  test("a stream that nobody reads does not hold up others", async () => {
    await using echo = await startEcho(transport);
    const bulk = echo.client.count({ count: 1_000_000, payloadBytes: 100_000 });
    await bulk.next();
    for (let round = 0; round < 100; round++) await echo.client.echo({ text: "small" });
    const other = echo.client.count({ count: 100, payloadBytes: 10_000 });
    await expect(Array.fromAsync(other)).resolves.toHaveLength(100);
    await bulk.return?.();
  });

  test("unary calls go on beside a stream that is read at full speed", async () => {
    await using echo = await startEcho(transport);
    let read = 0;
    let isReading = true;
    const bulk = echo.client.count({ count: 1_000_000, payloadBytes: 100_000 });
    const reading = (async () => {
      for await (const { payload } of bulk) {
        read += payload.length;
        if (!isReading) return;
      }
    })();
    for (let round = 0; round < 20; round++) await echo.client.echo({ text: "small" });
    isReading = false;
    await reading;
    expect(read).toBeGreaterThan(0);
  });

  test("generators that always have something ready leave turns to the rest of the process", async () => {
    let yielded = 0;
    let mostInATurn = 0;
    await using echo = await startEcho(transport, {
      handlers: {
        async *count({ count }) {
          for (let index = 0; index < count; index++) {
            yielded++;
            yield { index };
          }
        },
      },
    });
    let isOver = false;
    let before = 0;
    const look = (): void => {
      mostInATurn = Math.max(mostInATurn, yielded - before);
      before = yielded;
      if (!isOver) setImmediate(look);
    };
    setImmediate(look);
    const streams = Array.from({ length: 100 }, () => Array.fromAsync(echo.client.count({ count: 1000 })));
    for (const responses of await Promise.all(streams)) expect(responses).toHaveLength(1000);
    isOver = true;
    expect(yielded).toBe(100_000);
    expect(mostInATurn).toBeLessThan(1000);
  });
});
