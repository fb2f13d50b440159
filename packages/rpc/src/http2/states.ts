// What a peer may send in which state of a stream: RFC 9113 §5.1 (and §5.1.1, §6) as one table.
//
// There is no reserved state: PUSH_PROMISE is refused wherever it appears, so no stream ever gets there. What the RFC
// calls "closed" is two rows, because frames that were on their way when this side reset a stream are no error.
import { FrameType } from "./frame.ts";

export const StreamState = {
  /** Stream 0: the connection itself. */
  CONNECTION: 0,
  IDLE: 1,
  OPEN: 2,
  /** This side has ended, the peer has not. */
  HALF_CLOSED_LOCAL: 3,
  /** The peer has ended, this side has not. */
  HALF_CLOSED_REMOTE: 4,
  /** Both have ended, or the peer has reset it. */
  CLOSED: 5,
  /** This side has reset it and the peer may not know yet. */
  CLOSED_HERE: 6,
} as const;

export const Verdict = {
  ACCEPT: 0,
  /** Allowed, without effect. */
  IGNORE: 1,
  /** Stream error STREAM_CLOSED. */
  STREAM_CLOSED: 2,
  /** Connection error STREAM_CLOSED. */
  CONNECTION_CLOSED: 3,
  /** Connection error PROTOCOL_ERROR. */
  PROTOCOL_ERROR: 4,
} as const;

const { ACCEPT, IGNORE, STREAM_CLOSED, CONNECTION_CLOSED, PROTOCOL_ERROR } = Verdict;
const FRAME_TYPES = FrameType.CONTINUATION + 1;

// CONTINUATION is judged with the HEADERS it continues; one that stands alone is an error in every state (§6.10).
// prettier-ignore
const RECEIVE = Uint8Array.of(
  // DATA          HEADERS            PRIORITY        RST_STREAM      SETTINGS        PUSH_PROMISE    PING            GOAWAY          WINDOW_UPDATE   CONTINUATION
  PROTOCOL_ERROR, PROTOCOL_ERROR,    PROTOCOL_ERROR, PROTOCOL_ERROR, ACCEPT,         PROTOCOL_ERROR, ACCEPT,         ACCEPT,         ACCEPT,         PROTOCOL_ERROR, // connection
  PROTOCOL_ERROR, ACCEPT,            IGNORE,         PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, // idle
  ACCEPT,         ACCEPT,            IGNORE,         ACCEPT,         PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, ACCEPT,         PROTOCOL_ERROR, // open
  ACCEPT,         ACCEPT,            IGNORE,         ACCEPT,         PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, ACCEPT,         PROTOCOL_ERROR, // half-closed (local)
  STREAM_CLOSED,  STREAM_CLOSED,     IGNORE,         ACCEPT,         PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, ACCEPT,         PROTOCOL_ERROR, // half-closed (remote)
  STREAM_CLOSED,  CONNECTION_CLOSED, IGNORE,         IGNORE,         PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, IGNORE,         PROTOCOL_ERROR, // closed
  IGNORE,         IGNORE,            IGNORE,         IGNORE,         PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, PROTOCOL_ERROR, IGNORE,         PROTOCOL_ERROR, // closed here
);

/** What to do with a frame of this type (0–9) for a stream in this state. */
export function judgeFrame(state: number, type: number): number {
  return RECEIVE[state * FRAME_TYPES + type]!;
}
