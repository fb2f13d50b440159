import fc from "fast-check";
import { expect, test } from "vitest";
import { echoRequest, MessageCounters, MessageReader, payloadFor } from "./grpc-messages.ts";
import { grpcFrame } from "./http2-wire.ts";

test("messages are found however the body is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (messages, steps) => {
        const body = Buffer.concat(messages.map(grpcFrame));
        const counters = new MessageCounters(2);
        const reader = new MessageReader();
        const read: Buffer[] = [];
        let counted = 0;
        for (let at = 0, turn = 0; at < body.length; turn++) {
          const end = Math.min(body.length, at + (steps[turn % steps.length] ?? 1));
          counted += counters.take(1, body, at, end);
          read.push(...reader.take(body.subarray(at, end)));
          at = end;
        }
        expect(counted).toBe(messages.length);
        expect([...counters.messages]).toEqual([0, messages.length]);
        expect([...counters.bytes]).toEqual([0, body.length]);
        expect(read.map((message) => [...message])).toEqual(messages.map((message) => [...message]));
      },
    ),
  );
});

test.for([0, 100, 129, 131, 16_384, 65_536])("a request of %i bytes is one message of that length", (bytes) => {
  const [message, ...more] = new MessageReader().take(echoRequest(bytes));
  expect(message).toHaveLength(bytes);
  expect(more).toEqual([]);
});

test("a length that no message with a payload alone has is refused", () => {
  expect(() => payloadFor(130)).toThrow("No message with nothing but a payload has 130 bytes");
});
