// Every frame in every state of RFC 9113 §5.1, for both roles, against a table that was written from the RFC.
import { expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import type { Connection } from "./connection.ts";
import { ErrorCode, FrameType } from "./frame.ts";
import {
  dataFrame,
  frame,
  headersFrame,
  literalBlock,
  REQUEST,
  resetFrame,
  RESPONSE,
  uint32,
} from "./testing/frames.ts";
import { type Driven, drivenClient, drivenServer, RecordedStream } from "./testing/machines.ts";

const PUSHED = Buffer.concat([uint32(2), literalBlock(REQUEST)]);
const FRAMES: Readonly<Record<string, (streamId: number, isFirst: boolean) => Buffer>> = {
  DATA: (streamId) => dataFrame(streamId, "x"),
  HEADERS: (streamId, isFirst) => headersFrame(streamId, isFirst ? REQUEST : ["trailer", "x"], { endStream: true }),
  PRIORITY: (streamId) => frame(FrameType.PRIORITY, 0, streamId, Buffer.of(0, 0, 0, 9, 1)),
  RST_STREAM: (streamId) => resetFrame(streamId, ErrorCode.CANCEL),
  SETTINGS: (streamId) => frame(FrameType.SETTINGS, 0, streamId),
  PUSH_PROMISE: (streamId) => frame(FrameType.PUSH_PROMISE, 4, streamId, PUSHED),
  PING: (streamId) => frame(FrameType.PING, 0, streamId, uint32(1, 2)),
  GOAWAY: (streamId) => frame(FrameType.GOAWAY, 0, streamId, uint32(0, 0)),
  WINDOW_UPDATE: (streamId) => frame(FrameType.WINDOW_UPDATE, 0, streamId, uint32(1)),
  CONTINUATION: (streamId) => frame(FrameType.CONTINUATION, 4, streamId, literalBlock(["a", "b"])),
  unknown: (streamId) => frame(0xbb, 0xff, streamId, Buffer.from("extension")),
};

// + the stream's handler hears of it    . no effect    P GOAWAY, PROTOCOL_ERROR
// c RST_STREAM, STREAM_CLOSED           C GOAWAY, STREAM_CLOSED
// prettier-ignore
const SERVER = {
  //                        DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION unknown
  "connection":             " P     P       P         P         .          P        .     .         .             P          .   ",
  "idle":                   " P     +       .         P         P          P        P     P         P             P          .   ",
  "idle, an even id":       " P     P       .         P         P          P        P     P         P             P          .   ",
  "open":                   " +     +       .         +         P          P        P     P         .             P          .   ",
  "half-closed (remote)":   " c     c       .         +         P          P        P     P         .             P          .   ",
  "closed by both":         " c     C       .         .         P          P        P     P         .             P          .   ",
  "closed by the peer":     " c     C       .         .         P          P        P     P         .             P          .   ",
  "closed here":            " .     .       .         .         P          P        P     P         .             P          .   ",
  "closed here, answered":  " .     .       .         .         P          P        P     P         .             P          .   ",
  "closed here, then ended by DATA":
                            " c     C       .         .         P          P        P     P         .             P          .   ",
  "closed here, then ended by trailers":
                            " c     C       .         .         P          P        P     P         .             P          .   ",
  "closed here, then reset": " c     C       .         .         P          P        P     P         .             P          .   ",
  "never used, passed by":  " c     C       .         .         P          P        P     P         .             P          .   ",
};
// prettier-ignore
const CLIENT = {
  //                        DATA HEADERS PRIORITY RST_STREAM SETTINGS PUSH_PROMISE PING GOAWAY WINDOW_UPDATE CONTINUATION unknown
  "connection":             " P     P       P         P         .          P        .     .         .             P          .   ",
  "idle":                   " P     P       .         P         P          P        P     P         P             P          .   ",
  "idle, an even id":       " P     P       .         P         P          P        P     P         P             P          .   ",
  "open":                   " +     +       .         +         P          P        P     P         .             P          .   ",
  "half-closed (local)":    " +     +       .         +         P          P        P     P         .             P          .   ",
  "half-closed (remote)":   " c     c       .         +         P          P        P     P         .             P          .   ",
  "closed by both":         " c     C       .         .         P          P        P     P         .             P          .   ",
  "closed by the peer":     " c     C       .         .         P          P        P     P         .             P          .   ",
  "closed here":            " .     .       .         .         P          P        P     P         .             P          .   ",
};

interface Scene {
  readonly driven: Driven<Connection>;
  readonly streamId: number;
  /** What the stream's handler has heard. */
  readonly events: () => readonly string[];
}

function serverIn(state: keyof typeof SERVER): Scene {
  const driven = drivenServer();
  const { server } = driven;
  const sceneOf = (streamId: number): Scene => ({
    driven,
    streamId,
    events: () => server.streams.at(-1)?.events ?? [],
  });
  switch (state) {
    case "connection":
      return sceneOf(0);
    case "idle":
      return sceneOf(1);
    case "idle, an even id":
      return sceneOf(2);
    case "open":
      driven.receive(headersFrame(1, REQUEST));
      return sceneOf(1);
    case "half-closed (remote)":
      driven.receive(headersFrame(1, REQUEST, { endStream: true }));
      return sceneOf(1);
    case "closed by both":
      driven.receive(headersFrame(1, REQUEST, { endStream: true }));
      server.streams[0]!.stream!.sendHeaders(new HeaderBlock(RESPONSE), { endStream: true });
      return sceneOf(1);
    case "closed by the peer":
      driven.receive(headersFrame(1, REQUEST), resetFrame(1, ErrorCode.CANCEL));
      return sceneOf(1);
    case "closed here":
      driven.receive(headersFrame(1, REQUEST));
      server.streams[0]!.stream!.reset(ErrorCode.CANCEL);
      return sceneOf(1);
    case "closed here, then ended by DATA":
    case "closed here, then ended by trailers":
    case "closed here, then reset":
      driven.receive(headersFrame(1, REQUEST));
      server.streams[0]!.stream!.reset(ErrorCode.CANCEL);
      if (state.endsWith("DATA")) driven.receive(dataFrame(1, "", { endStream: true }));
      else if (state.endsWith("trailers")) driven.receive(headersFrame(1, ["a", "b"], { endStream: true }));
      else driven.receive(resetFrame(1, ErrorCode.NO_ERROR));
      return sceneOf(1);
    case "closed here, answered":
      driven.receive(headersFrame(1, REQUEST));
      server.streams[0]!.stream!.sendHeaders(new HeaderBlock(RESPONSE), { endStream: true });
      return sceneOf(1);
    case "never used, passed by":
      driven.receive(headersFrame(3, REQUEST));
      return sceneOf(1);
    default:
      return state satisfies never;
  }
}

function clientIn(state: keyof typeof CLIENT): Scene {
  const driven = drivenClient();
  const recorded = new RecordedStream();
  const open = (endStream: boolean): Scene => {
    recorded.stream = driven.connection.open(new HeaderBlock(REQUEST), recorded, { endStream });
    driven.receive(headersFrame(1, RESPONSE));
    return { driven, streamId: 1, events: () => recorded.events };
  };
  switch (state) {
    case "connection":
      return { driven, streamId: 0, events: () => [] };
    case "idle":
      return { driven, streamId: 1, events: () => [] };
    case "idle, an even id":
      return { driven, streamId: 2, events: () => [] };
    case "open":
      return open(false);
    case "half-closed (local)":
      return open(true);
    case "half-closed (remote)": {
      const scene = open(false);
      driven.receive(dataFrame(1, "", { endStream: true }));
      return scene;
    }
    case "closed by both": {
      const scene = open(true);
      driven.receive(dataFrame(1, "", { endStream: true }));
      return scene;
    }
    case "closed by the peer": {
      const scene = open(false);
      driven.receive(resetFrame(1, ErrorCode.CANCEL));
      return scene;
    }
    case "closed here": {
      const scene = open(false);
      recorded.stream!.reset(ErrorCode.CANCEL);
      return scene;
    }
    default:
      return state satisfies never;
  }
}

function outcomeOf(scene: Scene, state: string, type: string): string {
  const { driven, streamId, events } = scene;
  driven.sent();
  const eventsBefore = events().length;
  driven.receive(FRAMES[type]!(streamId, state === "idle"));
  const answers = driven.sent();
  const goaway = answers.find((each) => each.type === FrameType.GOAWAY);
  // Without streams, a GOAWAY from the peer ends a connection in good order.
  expect(driven.carrier.isClosed).toBe(goaway !== undefined || type === "GOAWAY");
  if (goaway !== undefined) {
    return { [ErrorCode.PROTOCOL_ERROR]: "P", [ErrorCode.STREAM_CLOSED]: "C" }[goaway.payload.readUInt32BE(4)] ?? "?";
  }
  const reset = answers.find((each) => each.type === FrameType.RST_STREAM);
  if (reset !== undefined) return reset.payload.readUInt32BE(0) === ErrorCode.STREAM_CLOSED ? "c" : "?";
  return events().length > eventsBefore ? "+" : ".";
}

function casesOf<S extends string>(table: Readonly<Record<S, string>>): [S, string, string][] {
  return (Object.entries(table) as [S, string][]).flatMap(([state, row]) => {
    const outcomes = row.trim().split(/\s+/);
    expect(outcomes.length).toBe(Object.keys(FRAMES).length);
    return Object.keys(FRAMES).map((type, at): [S, string, string] => [state, type, outcomes[at]!]);
  });
}

test.each(casesOf(SERVER))("a server, in the state %s, after %s: %s", (state, type, expected) => {
  expect(outcomeOf(serverIn(state), state, type)).toBe(expected);
});

test.each(casesOf(CLIENT))("a client, in the state %s, after %s: %s", (state, type, expected) => {
  expect(outcomeOf(clientIn(state), state, type)).toBe(expected);
});
