import { describe, expect, test } from "vitest";
import { type ByteSource, HeaderBlock } from "../transport.ts";
import { ErrorCode, FrameType } from "./frame.ts";
import { Setting } from "./settings.ts";
import { headersFrame, REQUEST, RESPONSE, summary, windowUpdate } from "./testing/frames.ts";
import { type DrivenServer, drivenServer, serving } from "./testing/machines.ts";

const KIB = 1024;
const OPEN = { endStream: false };
const END = { endStream: true };
const response = new HeaderBlock(RESPONSE);
const trailers = new HeaderBlock(["grpc-status", "0"]);

/** A source that gives these pieces one by one, and then waits. */
class Pieces implements ByteSource {
  readonly asked: number[] = [];
  readonly pieces: Uint8Array[];
  onPull: (() => void) | undefined = undefined;

  constructor(...pieces: readonly (Uint8Array | string)[]) {
    this.pieces = pieces.map((piece) => Buffer.from(piece as Uint8Array));
  }

  pull(maxBytes: number): Uint8Array | undefined {
    this.asked.push(maxBytes);
    this.onPull?.();
    return this.pieces.shift();
  }
}

/** The content of what was sent for a stream. */
function contentOf(driven: DrivenServer, streamId: number): string {
  const frames = driven.sent().filter((each) => each.type === FrameType.DATA && each.streamId === streamId);
  return Buffer.concat(frames.map((each) => each.payload)).toString();
}

describe("a source", () => {
  test("is pulled when it is set, until it has nothing, and again when it wakes", () => {
    const driven = serving(1);
    const source = new Pieces("a", "b");
    driven.streams[0]!.setSource(source);
    expect(contentOf(driven, 1)).toBe("ab");
    expect(source.asked.length).toBe(3);
    expect(contentOf(driven, 1)).toBe("");
    expect(source.asked.length).toBe(3);
    source.pieces.push(Buffer.from("c"));
    driven.streams[0]!.wake();
    driven.streams[0]!.wake();
    expect(contentOf(driven, 1)).toBe("c");
    expect(source.asked.length).toBe(5);
  });

  test("is not pulled without a window, and for no more than the windows", () => {
    const driven = drivenServer({ peerSettings: [Setting.INITIAL_WINDOW_SIZE, 0] });
    driven.receive(headersFrame(1, REQUEST, END));
    const { stream } = driven.server.streams[0]!;
    stream!.sendHeaders(response, OPEN);
    const source = new Pieces("12345678");
    stream!.setSource(source);
    stream!.wake();
    driven.sent();
    expect(source.asked).toEqual([]);
    driven.receive(windowUpdate(1, 5));
    expect(contentOf(driven, 1)).toBe("12345");
    expect(source.asked).toEqual([5]);
    driven.receive(windowUpdate(1, 100));
    expect(contentOf(driven, 1)).toBe("678");
    expect(source.asked).toEqual([5, 97]);
  });

  test("ends the stream from within pull, after all that it gave", () => {
    const driven = serving(1);
    const source = new Pieces("a");
    source.onPull = () => source.pieces.length === 0 && driven.streams[0]!.end(trailers);
    driven.streams[0]!.setSource(source);
    expect(summary(driven.sent())).toEqual(["DATA 1", "HEADERS 1 end"]);
    expect(driven.server.streams[0]!.events.at(-1)).toBe("close by both-sides 0");
  });

  test("may end the stream and still give its last bytes", () => {
    const driven = serving(1);
    const source = new Pieces("last");
    source.onPull = () => driven.streams[0]!.end(trailers);
    driven.streams[0]!.setSource(source);
    expect(summary(driven.sent())).toEqual(["DATA 1", "HEADERS 1 end"]);
  });

  test("may wake within pull: it is asked again", () => {
    const driven = serving(1);
    const source = new Pieces();
    let wakes = 3;
    source.onPull = () => wakes-- > 0 && driven.streams[0]!.wake();
    driven.streams[0]!.setSource(source);
    driven.sent();
    expect(source.asked.length).toBe(4);
  });

  test("may reset its stream, or destroy the connection, within pull", () => {
    for (const act of ["reset", "destroy"]) {
      const driven = serving(2);
      const source = new Pieces("never sent");
      source.onPull = () => {
        if (act === "reset") driven.streams[0]!.reset(ErrorCode.CANCEL);
        else driven.connection.destroy(ErrorCode.INTERNAL_ERROR, "on purpose");
      };
      driven.streams[0]!.setSource(source);
      driven.streams[1]!.setSource(new Pieces("other"));
      const expected = act === "reset" ? ["RST_STREAM 1 CANCEL", "DATA 3"] : ["GOAWAY 3 INTERNAL_ERROR"];
      expect(summary(driven.sent())).toEqual(expected);
    }
  });

  test("of one stream may wake another", () => {
    const driven = serving(2);
    const late = new Pieces();
    driven.streams[1]!.setSource(late);
    driven.sent();
    const waker = new Pieces("a");
    waker.onPull = () => {
      late.pieces.push(Buffer.from("b"));
      driven.streams[1]!.wake();
    };
    driven.streams[0]!.setSource(waker);
    expect(driven.sent().map((each) => each.payload.toString())).toEqual(["a", "b", "b"]);
  });

  test("that gives more than asked keeps the rest at its stream, and other streams their turn", () => {
    const driven = serving(2);
    driven.streams[0]!.setSource(new Pieces(Buffer.alloc(100 * KIB)));
    driven.streams[1]!.setSource(new Pieces("small"));
    const frames = driven.sent();
    expect(frames.findIndex((each) => each.streamId === 3)).toBeLessThanOrEqual(1);
    expect(frames.reduce((sum, each) => sum + each.payload.length, 0)).toBe(100 * KIB + 5);
  });

  test("is not pulled any more once the stream has ended", () => {
    const driven = serving(1);
    const source = new Pieces();
    driven.streams[0]!.setSource(source);
    driven.sent();
    driven.streams[0]!.end(trailers);
    driven.streams[0]!.wake();
    expect(summary(driven.sent())).toEqual(["HEADERS 1 end"]);
    expect(source.asked.length).toBe(1);
  });
});
