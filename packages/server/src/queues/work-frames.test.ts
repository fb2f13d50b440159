import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AckSchema, type Delivery, JobSchema, ResultCode, WorkRequestSchema, WorkResponseSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES } from "@sluice/rpc";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SluiceError } from "../errors.ts";
import { ByteSink } from "../stream/byte-sink.ts";
import { workFrame, writeDelivery, writeResults } from "./work-frames.ts";
import { jobLeaseOf, readWorkRequest } from "./work-requests.ts";

const uint53 = fc.oneof(fc.nat(300), fc.maxSafeNat());
const unixMs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 4_000_000_000_000 }));
const jobId = fc.stringMatching(/^[A-Za-z0-9._:-]{1,128}$/);
const options = { findJob: (id: string) => (id === "mine" ? 77 : 0), leasesMax: 100 };

/** What was written, as one frame. */
function frameIn(sink: ByteSink): Uint8Array {
  expect(sink.bytes.readUInt32BE(1)).toBe(sink.used - FRAME_HEADER_BYTES);
  return Uint8Array.from(sink.bytes.subarray(0, sink.used));
}

describe("frames written by hand are those of protobuf-es", () => {
  test("deliveries", () => {
    const facts = fc.record({ jobId, attempt: uint53, failures: fc.nat(100_000), leaseUntilMs: unixMs });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 40 }),
        facts,
        fc.uint8Array({ maxLength: 300 }),
        (number, each, body) => {
          const job = create(JobSchema, { jobId: each.jobId, priority: 3, body });
          const sink = new ByteSink(1);
          writeDelivery(sink, number, { ...each, attempt: each.attempt + 1 }, toBinary(JobSchema, job));
          const value = {
            number: BigInt(number),
            lease: { jobId: each.jobId, attempt: BigInt(each.attempt) + 1n },
            job,
            failures: each.failures,
            leaseUntil: BigInt(each.leaseUntilMs) * 1_000_000n,
          };
          expect(frameIn(sink)).toEqual(new Uint8Array(workFrame({ case: "delivery", value })));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("results, with the leases as the worker wrote them", () => {
    const result = fc.record({
      lease: fc.record({ jobId, attempt: fc.bigInt({ min: 1n, max: 2n ** 53n - 1n }) }),
      code: fc.constantFrom(ResultCode.OK, ResultCode.STALE, ResultCode.NOT_FOUND, ResultCode.DUPLICATE),
      leaseUntilMs: unixMs,
    });
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.array(result, { maxLength: 20 }),
        (request, results) => {
          const leases = results.map(({ lease }) => lease);
          const asked = create(WorkRequestSchema, { kind: { case: "ack", value: { request, leases } } });
          const read = readWorkRequest(toBinary(WorkRequestSchema, asked), options);
          if (read.kind !== "ack") throw new Error(read.kind);
          const sink = new ByteSink(1);
          writeResults(sink, read.list, results);
          const value = {
            request,
            results: results.map(({ lease, code, leaseUntilMs }) => {
              return { lease, code, leaseUntil: BigInt(leaseUntilMs) * 1_000_000n };
            }),
          };
          expect(frameIn(sink)).toEqual(new Uint8Array(workFrame({ case: "results", value })));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("several in one buffer are several frames", () => {
    const sink = new ByteSink(1);
    for (let number = 1; number <= 3; number++) {
      writeDelivery(sink, number, { jobId: "a", attempt: 9, failures: 0, leaseUntilMs: 0 }, new Uint8Array(0));
    }
    const numbers: bigint[] = [];
    for (let at = 0; at < sink.used;) {
      const end = at + FRAME_HEADER_BYTES + sink.bytes.readUInt32BE(at + 1);
      const { kind } = fromBinary(WorkResponseSchema, sink.bytes.subarray(at + FRAME_HEADER_BYTES, end));
      numbers.push((kind.value as Delivery).number);
      at = end;
    }
    expect(numbers).toEqual([1n, 2n, 3n]);
  });
});

describe("requests read in place are those of protobuf-es", () => {
  test("flows", () => {
    const flow = fc.record({ seen: uint53, window: fc.nat(2 ** 31), windowBytes: uint53 });
    fc.assert(
      fc.property(flow, ({ seen, window, windowBytes }) => {
        const value = { seen: BigInt(seen), window, windowBytes: BigInt(windowBytes) };
        const bytes = toBinary(WorkRequestSchema, create(WorkRequestSchema, { kind: { case: "flow", value } }));
        expect(readWorkRequest(bytes, options)).toEqual({ kind: "flow", flow: { seen, window, windowBytes } });
      }),
    );
  });

  test.each(["start", "ack"] as const)("%s: ids of digits are numbers, others are looked up", (kind) => {
    const attempt = 2n ** 40n + 5n;
    const ids = ["1", "123456789012345", "007", "mine", "gone", "12a", "", "9".repeat(30)];
    const leases = ids.map((id) => ({ jobId: id, attempt }));
    const request = create(WorkRequestSchema, { kind: { case: kind, value: { request: 3n, leases } } });
    const read = readWorkRequest(toBinary(WorkRequestSchema, request), options);
    if (read.kind !== kind) throw new Error(read.kind);
    const numbers = [1, 123_456_789_012_345, 0, 77, 0, 0, 0, 0];
    expect(read.list.leases).toEqual(numbers.map((number) => ({ number, attempt: Number(attempt) })));
    expect(read.list.leases).toEqual(leases.map((lease) => jobLeaseOf(lease, options.findJob)));
  });

  test("an attempt that no server can have issued is nobody's", () => {
    const leases = [{ jobId: "1", attempt: 2n ** 60n }];
    const request = create(WorkRequestSchema, { kind: { case: "ack", value: { leases } } });
    expect(readWorkRequest(toBinary(WorkRequestSchema, request), options)).toMatchObject({
      list: { leases: [{ number: 1, attempt: -1 }] },
    });
  });

  test("a request whose fields come in two pieces is put together", () => {
    const half = (request: bigint, jobIdOfHalf: string) =>
      toBinary(
        WorkRequestSchema,
        create(WorkRequestSchema, {
          kind: { case: "ack", value: { request, leases: [{ jobId: jobIdOfHalf, attempt: 1n }] } },
        }),
      );
    const read = readWorkRequest(Buffer.concat([half(4n, "1"), half(5n, "2")]), options);
    if (read.kind !== "ack") throw new Error(read.kind);
    expect(read.list.requestLow).toBe(5);
    expect(read.list.leases.map(({ number }) => number)).toEqual([1, 2]);
  });

  test("garbage is refused, never thrown about", () => {
    fc.assert(
      fc.property(fc.constantFrom(0x0a, 0x12, 0x1a, 0x22, 0x2a), fc.uint8Array({ maxLength: 40 }), (tag, bytes) => {
        try {
          readWorkRequest(Uint8Array.from([tag, bytes.length, ...bytes]), options);
        } catch (error) {
          if (!(error instanceof SluiceError)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });

  test("more leases than a request may have", () => {
    const leases = Array.from({ length: 101 }, (_, i) => ({ jobId: String(i + 1), attempt: 1n }));
    const bytes = toBinary(AckSchema, create(AckSchema, { leases }));
    const request = Buffer.concat([Uint8Array.of(0x22, (bytes.length & 0x7f) | 0x80, bytes.length >>> 7), bytes]);
    expect(() => readWorkRequest(request, options)).toThrow("Cannot take a request with 101 leases: the limit is 100");
  });
});
