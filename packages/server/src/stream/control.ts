// Ready-made frames of controls: what travels beside the data of a stream (sluice.stream.v1.StreamControl).
//
// Every streamed message has a field for it; only the field's number differs from service to service.
import { create, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { GapReason, type GapSchema, StreamControlSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, frameOf } from "@sluice/rpc";

type ControlKind = Exclude<MessageInitShape<typeof StreamControlSchema>["kind"], undefined>;

/** A hole, as the reader is told of it. */
export interface GapControl {
  readonly afterCursor: string;
  readonly toCursor: string;
  readonly count: number;
  readonly reason: "retention" | "epoch" | "corruption" | "slow_reader" | "sampled";
}

/** Something to know. */
export interface NoticeControl {
  /** Stable, in UPPER_SNAKE_CASE. */
  readonly code: string;
  /** A sentence for people. */
  readonly text: string;
}

export interface HeartbeatControl {
  readonly headCursor: string;
  readonly nowNs: bigint;
  readonly lagEntries: number;
}

/** Makes frames of the message whose field `number` is a StreamControl. */
export class ControlFrames {
  readonly #tag: Uint8Array;

  constructor(number: number) {
    if (number > 2047)
      throw new RangeError(`Cannot put controls into field ${number}: its tag takes more than two bytes`);
    const tag = (number << 3) | 2;
    this.#tag = tag < 0x80 ? Uint8Array.of(tag) : Uint8Array.of((tag & 0x7f) | 0x80, tag >>> 7);
  }

  heartbeat(heartbeat: HeartbeatControl): Uint8Array {
    const { headCursor, nowNs, lagEntries } = heartbeat;
    return this.#frame({
      case: "heartbeat",
      value: { headCursor, serverTimestamp: nowNs, lagEntries: BigInt(lagEntries) },
    });
  }

  gap(gap: GapControl): Uint8Array {
    return this.#frame({ case: "gap", value: gapMessage(gap) });
  }

  sync(cursor: string): Uint8Array {
    return this.#frame({ case: "sync", value: { cursor } });
  }

  notice(notice: NoticeControl): Uint8Array {
    return this.#frame({ case: "notice", value: notice });
  }

  /** Whether a frame of these messages is a control, given that only controls begin with their field. */
  isControl(frame: Uint8Array): boolean {
    return this.#tag.every((byte, i) => frame[FRAME_HEADER_BYTES + i] === byte);
  }

  /** The same control as a message of `other`. */
  translate(frame: Uint8Array, other: ControlFrames): Uint8Array {
    return frameOf(Buffer.concat([other.#tag, frame.subarray(FRAME_HEADER_BYTES + this.#tag.length)]));
  }

  #frame(kind: ControlKind): Uint8Array {
    const control = toBinary(StreamControlSchema, create(StreamControlSchema, { kind }));
    const { length } = control;
    // Cursors are short, and so are notices: below 2^14 bytes.
    const size = length < 128 ? [length] : [(length & 0x7f) | 0x80, length >>> 7];
    return frameOf(Buffer.concat([this.#tag, Uint8Array.from(size), control]));
  }
}

/** A gap as a message. */
export function gapMessage({ afterCursor, toCursor, count, reason }: GapControl): MessageInitShape<typeof GapSchema> {
  return { afterCursor, toCursor, count: BigInt(count), reason: reasons[reason] };
}

const reasons: Readonly<Record<GapControl["reason"], GapReason>> = {
  retention: GapReason.RETENTION,
  epoch: GapReason.EPOCH,
  corruption: GapReason.CORRUPTION,
  slow_reader: GapReason.SLOW_READER,
  sampled: GapReason.SAMPLED,
};
