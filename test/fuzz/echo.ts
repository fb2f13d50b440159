// The echo service of test/rpc as the fuzzed server and client have it.
import type { ServiceHandlers } from "@sluice/rpc";
import type { EchoService } from "../rpc/gen/echo_pb.ts";

/** What one input may ask for. */
const COUNT_MAX = 20;
const PAYLOAD_BYTES_MAX = 500;

export const echoHandlers: ServiceHandlers<typeof EchoService> = {
  echo({ text, payload }, call) {
    call.responseMetadata.set("x-seen", String(call.requestMetadata.size));
    call.responseTrailers.set("x-late-bin", payload.subarray(0, 16));
    return { text, payload };
  },
  async *count({ count, payloadBytes }) {
    const payload = new Uint8Array(Math.min(Math.max(payloadBytes, 0), PAYLOAD_BYTES_MAX));
    for (let index = 0; index < Math.min(count, COUNT_MAX); index++) yield { index, payload };
  },
  async sum(requests) {
    let sum = 0n;
    let messages = 0;
    let bytes = 0n;
    for await (const { value, payload } of requests) {
      sum = BigInt.asIntN(64, sum + value);
      messages++;
      bytes += BigInt(payload.length);
    }
    return { sum, messages, bytes };
  },
  async *chat(requests) {
    for await (const { text } of requests) yield { text };
  },
};
