// Messages of a Work stream as the sidecar needs them: it reads whom a delivery is for, and hands the bytes on as they are.
//
// WM1. A job's bytes are neither decoded nor written anew: what is changed of a delivery is appended to it, since of a field
//      that comes twice protobuf takes the last.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  type Lease,
  LeaseSchema,
  type WorkRequest,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "@sluice/api";
import { BadRequestSchema, Code, errorDetail, frameOf, RpcError } from "@sluice/rpc";

/** A delivery, but for its job. */
export interface DeliveryFacts {
  readonly lease: Lease;
  /** Else it is an offer. */
  readonly isStarted: boolean;
}

export type Heard =
  | ({ readonly case: "delivery" } & DeliveryFacts)
  | Exclude<WorkResponse["kind"], { readonly case: "delivery" } | { readonly case: undefined }>
  /** Of a newer contract. */
  | { readonly case: "other" };

/** Fields of WorkResponse.delivery and of Delivery. */
const DELIVERY = 2;
const Field = { NUMBER: 1, LEASE: 2, LEASE_UNTIL: 5 } as const;

/** Reads what the server said. @throws Error when it is no WorkResponse */
export function readResponse(bytes: Uint8Array): Heard {
  const delivery = deliveryIn(bytes);
  if (delivery !== undefined) return { case: "delivery", ...readDelivery(delivery) };
  const { kind } = fromBinary(WorkResponseSchema, bytes);
  if (kind.case === undefined) return { case: "other" };
  if (kind.case !== "delivery") return kind;
  const { lease, leaseUntil } = kind.value;
  return { case: "delivery", lease: lease ?? create(LeaseSchema), isStarted: leaseUntil !== 0n };
}

/** The bytes of the Delivery, when there is nothing else in the message. */
function deliveryIn(bytes: Uint8Array): Uint8Array | undefined {
  const reader = new BinaryReader(bytes);
  const [field, type] = reader.tag();
  if (field !== DELIVERY || type !== WireType.LengthDelimited) return undefined;
  const delivery = reader.bytes();
  return reader.pos === reader.len ? delivery : undefined;
}

function readDelivery(bytes: Uint8Array): DeliveryFacts {
  const reader = new BinaryReader(bytes);
  let lease = create(LeaseSchema);
  let isStarted = false;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === Field.LEASE) lease = fromBinary(LeaseSchema, reader.bytes());
    else if (field === Field.LEASE_UNTIL) isStarted = BigInt(reader.int64()) !== 0n;
    else reader.skip(type, field);
  }
  return { lease, isStarted };
}

/** The same delivery as the `number`th of its stream (WM1), as a frame. */
export function renumbered(bytes: Uint8Array, number: bigint): Uint8Array {
  const delivery = deliveryIn(bytes);
  if (delivery === undefined) {
    const { kind } = fromBinary(WorkResponseSchema, bytes);
    return kind.case === "delivery"
      ? frameOfResponse({ case: "delivery", value: { ...kind.value, number } })
      : frameOf(bytes);
  }
  const writer = new BinaryWriter().tag(DELIVERY, WireType.LengthDelimited).fork();
  writer.raw(delivery).tag(Field.NUMBER, WireType.Varint).uint64(number);
  return frameOf(writer.join().finish());
}

type Saying = NonNullable<MessageInitShape<typeof WorkRequestSchema>["kind"]>;
type Telling = NonNullable<MessageInitShape<typeof WorkResponseSchema>["kind"]>;

/** For the worker. */
export function frameOfResponse(kind: Telling): Uint8Array {
  return frameOf(toBinary(WorkResponseSchema, create(WorkResponseSchema, { kind })));
}

/** For the server. */
export function frameOfRequest(kind: Saying): Uint8Array {
  return frameOf(toBinary(WorkRequestSchema, create(WorkRequestSchema, { kind })));
}

/** Reads what a worker says. @throws RpcError INVALID_ARGUMENT */
export function readRequest(bytes: Uint8Array): WorkRequest["kind"] {
  try {
    return fromBinary(WorkRequestSchema, bytes).kind;
  } catch {
    throw badRequest("", "is no WorkRequest");
  }
}

/** A request that no server would take. */
export function badRequest(field: string, description: string): RpcError {
  return new RpcError(Code.INVALID_ARGUMENT, field === "" ? description : `${field}: ${description}`, {
    details: [errorDetail(BadRequestSchema, { fieldViolations: [{ field, description }] })],
  });
}
