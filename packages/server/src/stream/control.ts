// Ready-made frames of controls: what travels beside the data of a stream (sluice.stream.v1.StreamControl).
//
// Every streamed message has a field for it; only the field's number differs from service to service.
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { GapReason, StreamControlSchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";

type ControlKind = Exclude<MessageInitShape<typeof StreamControlSchema>["kind"], undefined>;

/** A hole, as the reader is told of it. */
export interface GapControl {
  readonly afterCursor: string;
  readonly toCursor: string;
  readonly count: number;
  readonly reason: "retention" | "epoch" | "corruption";
}

export interface HeartbeatControl {
  readonly headCursor: string;
  readonly nowNs: bigint;
  readonly lagEntries: number;
}

/** Makes frames of the message whose field `number` is a StreamControl. */
export class ControlFrames {
  readonly #tag: number;

  constructor(number: number) {
    if (number > 15) throw new RangeError(`Cannot put controls into field ${number}: its tag takes more than one byte`);
    this.#tag = (number << 3) | 2;
  }

  heartbeat(heartbeat: HeartbeatControl): Uint8Array {
    const { headCursor, nowNs, lagEntries } = heartbeat;
    return this.#frame({
      case: "heartbeat",
      value: { headCursor, serverTimestamp: nowNs, lagEntries: BigInt(lagEntries) },
    });
  }

  gap(gap: GapControl): Uint8Array {
    const { afterCursor, toCursor, count, reason } = gap;
    return this.#frame({
      case: "gap",
      value: { afterCursor, toCursor, count: BigInt(count), reason: reasons[reason] },
    });
  }

  sync(cursor: string): Uint8Array {
    return this.#frame({ case: "sync", value: { cursor } });
  }

  #frame(kind: ControlKind): Uint8Array {
    const control = toBinary(StreamControlSchema, create(StreamControlSchema, { kind }));
    // The length fits into one byte: cursors are short.
    return frameOf(Buffer.concat([Uint8Array.of(this.#tag, control.length), control]));
  }
}

const reasons: Readonly<Record<GapControl["reason"], GapReason>> = {
  retention: GapReason.RETENTION,
  epoch: GapReason.EPOCH,
  corruption: GapReason.CORRUPTION,
};
