// Where our HTTP/2 and Node's (nghttp2) do not do the same, and which of them follows RFC 9113.
//
// K1. The list is exact: frames.test.ts fails on a difference that is not here, and on one that is here and no longer occurs.
// K2. `docs/guides/http2-differences.md` is made from it (differences-page.ts).
import { STATES, type State, STEPS } from "./steps.ts";

export interface KnownDifference {
  /** What the client sends, for people. */
  readonly what: string;
  /** The same as names of steps. */
  readonly steps: readonly string[];
  readonly states: readonly State[];
  readonly ours: string;
  readonly node: string;
  /** Who does what RFC 9113 says: "both" when it leaves the choice. */
  readonly follows: "ours" | "node" | "both";
  /** The place in RFC 9113, unless another RFC is named. */
  readonly section: string;
  readonly why: string;
}

const EVERY_STATE = Object.keys(STATES) as State[];
const KNOWN_STREAM = EVERY_STATE.filter((state) => state !== "idle");
const NOT_HALF_CLOSED: readonly State[] = [
  "closed by both",
  "reset by the client",
  "reset by the server",
  "answered early",
];
const CLOSED: readonly State[] = ["closed by both", "reset by the client"];

/** HEADERS whose frames are right, whatever their fields say. */
const RIGHT_HEADERS: readonly string[] = [
  "HEADERS",
  "HEADERS with END_STREAM",
  "HEADERS to be answered",
  "HEADERS with END_STREAM to be answered",
  "HEADERS to be answered at once",
  "HEADERS with a field",
  "HEADERS with padding",
  "HEADERS with padding that is not zero",
  "HEADERS with a priority",
  "HEADERS and CONTINUATION",
  "HEADERS and an empty CONTINUATION",
  "HEADERS with unknown flags",
  "HEADERS with the reserved bit of the stream id",
  "HEADERS with a table size update",
  "HEADERS with no fields",
  "trailers",
  "trailers without END_STREAM",
  "trailers with a pseudo-header field",
];
const RIGHT_DATA: readonly string[] = [
  "DATA",
  "DATA with END_STREAM",
  "DATA without bytes",
  "DATA without bytes, with END_STREAM",
  "DATA with padding",
  "DATA with nothing but padding",
];
const BAD_PADDING: readonly string[] = ["DATA with more padding than payload"];

export const KNOWN_DIFFERENCES: readonly KnownDifference[] = [
  // -- The beginning ---------------------------------------------------------------------------------------------------
  {
    what: "A preface that is none",
    steps: ["HTTP/1.1 as preface", "preface that goes wrong"],
    states: ["idle"],
    ours: "connection error PROTOCOL_ERROR",
    node: "connection error INTERNAL_ERROR",
    follows: "ours",
    section: "3.4",
    why: "It is a connection error PROTOCOL_ERROR.",
  },

  // -- Frames ----------------------------------------------------------------------------------------------------------
  {
    what: "WINDOW_UPDATE of 0 for a stream",
    steps: ["WINDOW_UPDATE of 0"],
    states: ["open", "half-closed (remote)"],
    ours: "stream error PROTOCOL_ERROR",
    node: "connection error PROTOCOL_ERROR",
    follows: "ours",
    section: "6.9",
    why: "An increment of 0 is a stream error; only for the connection's window it is a connection error.",
  },
  {
    what: "WINDOW_UPDATE that pushes a stream's window over 2^31-1",
    steps: ["WINDOW_UPDATE over 2^31-1"],
    states: ["open", "half-closed (remote)"],
    ours: "stream error FLOW_CONTROL_ERROR",
    node: "connection error FLOW_CONTROL_ERROR",
    follows: "ours",
    section: "6.9.1",
    why: "For a stream, the answer is RST_STREAM with FLOW_CONTROL_ERROR.",
  },
  {
    what: "HEADERS or DATA after the client has ended the stream, which the server has not",
    steps: [...RIGHT_HEADERS, "HEADERS that depend on themselves", ...RIGHT_DATA],
    states: ["half-closed (remote)"],
    ours: "stream error STREAM_CLOSED",
    node: "connection error STREAM_CLOSED",
    follows: "ours",
    section: "5.1",
    why: "In this state, frames other than WINDOW_UPDATE, PRIORITY and RST_STREAM are a stream error: the other streams go on.",
  },
  {
    what: "HEADERS on a stream that both have ended, or that the client has reset",
    steps: [...RIGHT_HEADERS, "HEADERS that depend on themselves"],
    states: CLOSED,
    ours: "connection error STREAM_CLOSED",
    node: "ignored",
    follows: "ours",
    section: "5.1",
    why: "A closed stream's id may not be used again (5.1.1). Nothing of ours can have crossed these frames on the wire, so the client is wrong about its own streams, and says so at once.",
  },
  {
    what: "DATA on a stream that both have ended, or that the client has reset",
    steps: RIGHT_DATA,
    states: CLOSED,
    ours: "stream error STREAM_CLOSED",
    node: "ignored",
    follows: "ours",
    section: "6.1",
    why: "DATA for a stream that is neither open nor half-closed (local) is answered with a stream error STREAM_CLOSED.",
  },
  {
    what: "DATA with more padding than payload, on a stream that is closed",
    steps: BAD_PADDING,
    states: NOT_HALF_CLOSED,
    ours: "connection error PROTOCOL_ERROR",
    node: "ignored",
    follows: "ours",
    section: "6.1",
    why: "Such padding is a connection error, whatever the stream's state.",
  },
  {
    what: "DATA with more padding than payload, after the client has ended the stream",
    steps: BAD_PADDING,
    states: ["half-closed (remote)"],
    ours: "connection error PROTOCOL_ERROR",
    node: "connection error STREAM_CLOSED",
    follows: "both",
    section: "6.1, 5.1",
    why: "Two errors in one frame: the RFC does not say which comes first.",
  },
  {
    what: "A header block that another frame interrupts, after the client has ended the stream",
    steps: [
      "HEADERS and CONTINUATION of another stream",
      "HEADERS, DATA within the header block",
      "HEADERS, an unknown frame within the header block",
      "HEADERS without an end of the header block",
    ],
    states: ["half-closed (remote)"],
    ours: "connection error PROTOCOL_ERROR",
    node: "connection error STREAM_CLOSED",
    follows: "both",
    section: "4.3, 5.1",
    why: "Two errors: Node looks at the stream when HEADERS comes, ours when its block is complete.",
  },
  {
    what: "HEADERS with the flag PADDED and no bytes",
    steps: ["HEADERS with PADDED and no payload"],
    states: EVERY_STATE,
    ours: "connection error FRAME_SIZE_ERROR",
    node: "connection error PROTOCOL_ERROR",
    follows: "ours",
    section: "4.2",
    why: "A frame that is too small for its mandatory fields is a FRAME_SIZE_ERROR. The connection ends either way.",
  },
  {
    what: "DATA with the flag PADDED and no bytes, after the client has ended the stream",
    steps: ["DATA with PADDED and no payload"],
    states: ["half-closed (remote)"],
    ours: "connection error FRAME_SIZE_ERROR",
    node: "connection error STREAM_CLOSED",
    follows: "ours",
    section: "4.2",
    why: "As above.",
  },
  {
    what: "DATA with the flag PADDED and no bytes",
    steps: ["DATA with PADDED and no payload"],
    states: ["idle", "open"],
    ours: "connection error FRAME_SIZE_ERROR",
    node: "connection error PROTOCOL_ERROR",
    follows: "ours",
    section: "4.2",
    why: "As above.",
  },
  {
    what: "The same, on a stream that is closed",
    steps: ["DATA with PADDED and no payload"],
    states: NOT_HALF_CLOSED,
    ours: "connection error FRAME_SIZE_ERROR",
    node: "ignored",
    follows: "ours",
    section: "4.2",
    why: "As above.",
  },

  // -- Priorities ------------------------------------------------------------------------------------------------------
  {
    what: "PRIORITY on stream 0",
    steps: ["PRIORITY on stream 0"],
    states: ["idle"],
    ours: "connection error PROTOCOL_ERROR",
    node: "ignored",
    follows: "ours",
    section: "6.3",
    why: "A PRIORITY frame without a stream is a connection error.",
  },
  {
    what: "PRIORITY of another length than 5 bytes",
    steps: ["PRIORITY of 4 bytes"],
    states: KNOWN_STREAM,
    ours: "stream error FRAME_SIZE_ERROR",
    node: "connection error FRAME_SIZE_ERROR",
    follows: "ours",
    section: "6.3",
    why: "It is a stream error.",
  },
  {
    what: "PRIORITY of a stream that depends on itself",
    steps: ["PRIORITY that depends on itself"],
    states: KNOWN_STREAM,
    ours: "stream error PROTOCOL_ERROR",
    node: "ignored",
    follows: "both",
    section: "RFC 7540 5.3.1",
    why: "RFC 9113 has dropped priorities and this rule with them; ours keeps it, because conformance suites still ask for it.",
  },
  {
    what: "PRIORITY of an idle stream that depends on itself",
    steps: ["PRIORITY that depends on itself"],
    states: ["idle"],
    ours: "connection error PROTOCOL_ERROR",
    node: "ignored",
    follows: "both",
    section: "RFC 7540 5.3.1",
    why: "As above; an idle stream cannot be reset (6.4).",
  },
  {
    what: "HEADERS of a new stream that depends on itself",
    steps: ["HEADERS that depend on themselves"],
    states: ["idle"],
    ours: "stream error PROTOCOL_ERROR",
    node: "connection error PROTOCOL_ERROR",
    follows: "both",
    section: "RFC 7540 5.3.1",
    why: "By RFC 7540 it is a stream error; RFC 9113 has no such rule.",
  },

  // -- Settings and pings ----------------------------------------------------------------------------------------------
  {
    what: "An acknowledgement of a PING that was never sent",
    steps: ["PING acknowledged that was never sent"],
    states: ["idle"],
    ours: "ignored",
    node: "connection error INTERNAL_ERROR",
    follows: "both",
    section: "6.7",
    why: "The RFC makes it no error.",
  },
  {
    what: "An acknowledgement of SETTINGS that were never sent",
    steps: ["SETTINGS acknowledged that were never sent"],
    states: ["idle"],
    ours: "ignored",
    node: "connection error PROTOCOL_ERROR",
    follows: "both",
    section: "6.5.3",
    why: "The RFC makes it no error.",
  },
  {
    what: "SETTINGS_ENABLE_CONNECT_PROTOCOL with a value other than 0 and 1",
    steps: ["SETTINGS with ENABLE_CONNECT_PROTOCOL 2"],
    states: ["idle"],
    ours: "SETTINGS acknowledged",
    node: "connection error PROTOCOL_ERROR",
    follows: "both",
    section: "6.5.2; RFC 8441 3",
    why: "Who does not know a setting ignores it. Ours has no use for this one: it is said by servers.",
  },
  {
    what: "SETTINGS_NO_RFC7540_PRIORITIES in a second SETTINGS frame",
    steps: ["SETTINGS with NO_RFC7540_PRIORITIES 1", "SETTINGS with NO_RFC7540_PRIORITIES 2"],
    states: ["idle"],
    ours: "SETTINGS acknowledged",
    node: "connection error PROTOCOL_ERROR",
    follows: "both",
    section: "6.5.2; RFC 9218 2.1",
    why: "Who does not know a setting ignores it, and ours has no priorities.",
  },

  {
    what: "GOAWAY with an error, while streams are open",
    steps: ["GOAWAY with an error"],
    states: ["open", "half-closed (remote)"],
    ours: "ignored",
    node: "closed without an error",
    follows: "both",
    section: "6.8, 5.4.1",
    why: "Who sends it closes the connection next. Ours lets the streams run until then, Node ends them.",
  },

  {
    what: "A request after GOAWAY, while streams are open",
    steps: ["GOAWAY and then a request"],
    states: ["open", "half-closed (remote)"],
    ours: "request, end",
    node: "ignored",
    follows: "ours",
    section: "6.8",
    why: "GOAWAY forbids new streams to who receives it, not to who sends it. Node neither serves nor refuses the stream.",
  },

  // -- Requests --------------------------------------------------------------------------------------------------------
  {
    what: "A field name with characters that no name may have, or none",
    steps: [
      "request with an empty field name",
      "request with a space in a field name",
      "request with a colon in a field name",
      "request with a NUL in a field name",
      "request with a byte above 127 in a field name",
    ],
    states: ["idle"],
    ours: "stream error PROTOCOL_ERROR",
    node: "request, end",
    follows: "ours",
    section: "8.2.1",
    why: "Such a request is malformed. Node passes it on without the field.",
  },
  {
    what: "A field value with NUL, CR or LF, or with a space or tab at either end",
    steps: [
      "request with a NUL in a value",
      "request with a line feed in a value",
      "request with a carriage return in a value",
      "request with a space before a value",
      "request with a tab after a value",
    ],
    states: ["idle"],
    ours: "stream error PROTOCOL_ERROR",
    node: "request, end",
    follows: "ours",
    section: "8.2.1",
    why: "Such a request is malformed. Node passes it on without the field.",
  },
  {
    what: "A field value with a control character",
    steps: ["request with a control character in a value"],
    states: ["idle"],
    ours: 'request x="a\\u0001b", end',
    node: "request, end",
    follows: "both",
    section: "8.2.1; RFC 9110 5.5",
    why: "It may be refused and it may be kept; Node drops the field. gRPC checks metadata by rules of its own.",
  },
  {
    what: "A field value with DEL",
    steps: ["request with a DEL in a value"],
    states: ["idle"],
    ours: 'request x="a\x7fb", end',
    node: "request, end",
    follows: "both",
    section: "8.2.1; RFC 9110 5.5",
    why: "As above.",
  },
  {
    what: "A request without :authority and host, or with an :authority that is none",
    steps: [
      "request without :authority",
      "request with an empty :authority",
      "request with user information in :authority",
      "request with a slash in :authority",
    ],
    states: ["idle"],
    ours: "request, end",
    node: "stream error PROTOCOL_ERROR",
    follows: "node",
    section: "8.3.1",
    why: "http and https demand an authority. gRPC does not, and older clients put the path of a Unix socket there; nothing here decides on it, so they are let in.",
  },
  {
    what: "A * as :path of a request that is not OPTIONS",
    steps: ["request with a * as :path"],
    states: ["idle"],
    ours: "request, end",
    node: "stream error PROTOCOL_ERROR",
    follows: "node",
    section: "8.3.1",
    why: "The asterisk is for OPTIONS alone. Ours judges each field by itself; no handler has this path.",
  },
  {
    what: "A body shorter than content-length says",
    steps: ["body shorter than content-length"],
    states: ["idle"],
    ours: 'request content-length="5", stream error PROTOCOL_ERROR',
    node: 'request content-length="5", data 4, stream error PROTOCOL_ERROR',
    follows: "both",
    section: "8.1.1",
    why: "The same error; ours does not hand on the frame that is wrong.",
  },
  {
    what: "A body longer than content-length says",
    steps: ["body longer than content-length"],
    states: ["idle"],
    ours: 'request content-length="5", stream error PROTOCOL_ERROR',
    node: "connection error INTERNAL_ERROR",
    follows: "ours",
    section: "8.1.1",
    why: "A malformed request is a stream error PROTOCOL_ERROR.",
  },
];

/** One key for a step in a state. */
export function situation(step: string, state: State): string {
  return `${step} @ ${state}`;
}

/** Every difference by its situation. @throws Error when a situation is listed twice, or names a step that is none */
export function knownBySituation(): ReadonlyMap<string, KnownDifference> {
  const names = new Set(STEPS.map(({ name }) => name));
  const bySituation = new Map<string, KnownDifference>();
  for (const known of KNOWN_DIFFERENCES) {
    for (const step of known.steps) {
      if (!names.has(step)) throw new Error(`There is no step "${step}"`);
      for (const state of known.states) {
        const key = situation(step, state);
        if (bySituation.has(key)) throw new Error(`Listed twice: ${key}`);
        bySituation.set(key, known);
      }
    }
  }
  return bySituation;
}
