// Publish: each notification of a batch is judged by itself; those that are taken go to the journal together.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type PublishOutcomeSchema, PublishRequestSchema, type PublishResponseSchema } from "@sluice/api";
import { Code } from "@sluice/rpc";
import { InvalidRequest, LimitExceeded, SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { WriteBudget } from "../stream/write-budget.ts";
import type { NotificationStore, PublishDraft, PublishVerdict } from "./contract.ts";
import { parseDrafts } from "./drafts.ts";
import type { Sinks } from "./sinks/sinks.ts";

type Outcome = MessageInitShape<typeof PublishOutcomeSchema>;

export interface PublishOptions {
  readonly store: NotificationStore;
  readonly limits: Limits;
  /** Those who are away are told. */
  readonly sinks: Pick<Sinks, "published"> | undefined;
  /** Bytes of requests in hand, of all publishers. */
  readonly budget: WriteBudget;
  /** Asks for every inbox and topic that a notification goes to. @throws PermissionDenied: then nothing of the batch is taken */
  readonly authorize: (draft: PublishDraft) => void;
}

const REFUSAL_CODES: Readonly<Record<(PublishVerdict & { kind: "refused" })["reason"], Code>> = {
  INBOX_FULL: Code.RESOURCE_EXHAUSTED,
  LIMIT_EXCEEDED: Code.RESOURCE_EXHAUSTED,
  UNKNOWN_TOPIC: Code.NOT_FOUND,
};

/** @throws InvalidRequest, LimitExceeded, PermissionDenied, and what a journal refuses with */
export async function publish(
  bytes: Uint8Array,
  { store, limits, sinks, budget, authorize }: PublishOptions,
): Promise<MessageInitShape<typeof PublishResponseSchema>> {
  const parsed = parseDrafts(decode(bytes).notifications, limits);
  const drafts = parsed.filter((each): each is PublishDraft => !(each instanceof SluiceError));
  for (const draft of drafts) authorize(draft);
  const release = budget.take(bytes.length);
  let verdicts: Promise<readonly PublishVerdict[]>;
  try {
    for (let wait = store.room(bytes.length); wait !== undefined; wait = store.room(bytes.length)) await wait;
    verdicts = store.publish(drafts);
  } finally {
    release();
  }
  const published = await verdicts;
  await sinks?.published(drafts, published);
  const decided = published.values();
  return {
    outcomes: parsed.map((each) => {
      if (each instanceof SluiceError) return refusalOf(each);
      return outcomeOf(decided.next().value!);
    }),
  };
}

function decode(bytes: Uint8Array) {
  try {
    return fromBinary(PublishRequestSchema, bytes);
  } catch {
    throw new InvalidRequest("MALFORMED_MESSAGE", [{ field: "", description: "is no PublishRequest" }]);
  }
}

function refusalOf(error: SluiceError): Outcome {
  const code = error instanceof LimitExceeded ? Code.RESOURCE_EXHAUSTED : Code.INVALID_ARGUMENT;
  return { code, error: error.message, reason: error.facts.reason };
}

function outcomeOf(verdict: PublishVerdict): Outcome {
  if (verdict.kind === "published") return { id: String(verdict.id), duplicate: verdict.duplicate };
  return { code: REFUSAL_CODES[verdict.reason], error: verdict.text, reason: verdict.reason };
}
