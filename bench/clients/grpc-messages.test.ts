import fc from "fast-check";
import { expect, test } from "vitest";
import { MessageCounters, MessageReader } from "./grpc-messages.ts";
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
