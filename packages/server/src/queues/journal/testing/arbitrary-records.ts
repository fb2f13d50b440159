// Records of every kind, for property tests.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { EndKind, JobState, JobSchema, JournalRecordSchema } from "@sluice/api";
import fc from "fast-check";
import type { NewRecord } from "../../contract.ts";

type Failure = { at: bigint; attempt: bigint; workerId: string; reason: string };

const count = fc.oneof(fc.bigInt({ min: 0n, max: 300n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
const time = fc.oneof(fc.constant(0n), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
const small = fc.oneof(fc.nat({ max: 200 }), fc.nat({ max: 2 ** 32 - 1 }));
const text = fc.oneof(fc.constant(""), fc.string({ unit: "grapheme", maxLength: 70 }), fc.string({ maxLength: 200 }));
const headers = fc.dictionary(fc.string({ maxLength: 12 }), text, { maxKeys: 3, noNullPrototype: true });
const body = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 120, maxLength: 20_000 }));

const job: fc.Arbitrary<MessageInitShape<typeof JobSchema>> = fc.record(
  {
    jobId: text,
    priority: fc.nat({ max: 7 }),
    fairnessKey: text,
    orderingKey: text,
    enqueuedAt: time,
    notBefore: time,
    expiresAt: time,
    dedupId: text,
    headers,
    body,
  },
  { requiredKeys: [] },
);

const failure: fc.Arbitrary<Failure> = fc.record({ at: time, attempt: count, workerId: text, reason: text });

const state = fc.record({
  state: fc.constantFrom(JobState.WAITING, JobState.RUNNING, JobState.DEAD),
  failures: small,
  eligibleAt: time,
  attempt: count,
  workerId: text,
  startedAt: time,
  leaseMs: small,
  history: fc.array(failure, { maxLength: 3 }),
  deadAt: time,
});

const numbers = fc.array(count, { maxLength: 20 });

export const arbitraryAdded: fc.Arbitrary<NewRecord> = fc
  .record({ number: count, job, state }, { requiredKeys: [] })
  .map((value) => ({ kind: { case: "added", value } }));

/** Every kind. */
export const arbitraryRecord: fc.Arbitrary<NewRecord> = fc.oneof(
  arbitraryAdded,
  fc
    .record({ numbers, attempts: numbers, workerId: text, at: time, leaseMs: small }, { requiredKeys: [] })
    .map((value): NewRecord => ({ kind: { case: "started", value } })),
  fc
    .record({ numbers, kind: fc.constantFrom(EndKind.UNSPECIFIED, EndKind.DONE, EndKind.PURGED) }, { requiredKeys: [] })
    .map((value): NewRecord => ({ kind: { case: "ended", value } })),
  fc.record({ number: count }).map((value): NewRecord => ({ kind: { case: "returned", value } })),
  fc
    .record({ number: count, failure, eligibleAt: time, dead: fc.boolean(), uncounted: fc.boolean() })
    .map((value): NewRecord => ({ kind: { case: "failed", value } })),
  fc.record({ numbers, at: time }).map((value): NewRecord => ({ kind: { case: "redriven", value } })),
  fc
    .record({ createdAt: time, paused: fc.boolean(), incarnation: small, nextNumber: count, done: count })
    .map((value): NewRecord => ({ kind: { case: "queue", value } })),
  fc
    .record({ dedupId: text, jobId: text, until: time })
    .map((value): NewRecord => ({ kind: { case: "dedup", value } })),
);

/** As it stands in the journal, its checksum left out. */
export function stored(record: NewRecord, sequence: number, epoch: number) {
  return create(JournalRecordSchema, { ...record, sequence: BigInt(sequence), epoch });
}
