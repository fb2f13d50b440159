// nghttp2's HPACK, as Node has it: requests of a client in memory are its encodings, a server's requests its decodings.
import { once } from "node:events";
import { connect, performServerHandshake, sensitiveHeaders, type ServerHttp2Stream } from "node:http2";
import { type Duplex, duplexPair } from "node:stream";
import { Flag, FrameType, PREFACE } from "../../../packages/rpc/src/http2/frame.ts";
import {
  frame,
  type ParsedFrame,
  parseFrames,
  resetFrame,
  SETTINGS_ACK,
  settingsFrame,
} from "../../../packages/rpc/src/http2/testing/frames.ts";
import { fieldsOf, headersOf, type Story } from "./story.ts";

const HEADER_TABLE_SIZE = 1;
const MAX_CONCURRENT_STREAMS = 3;
const CANCEL = 8;
const LIST_BYTES_MAX = 1 << 24;
const HEADER_PAIRS_MAX = 10_000;

/** The frames that arrive at one end of a connection in memory, in order. */
class FrameTap {
  readonly #end: Duplex;
  #rest: Buffer;
  #skip: number;
  readonly #frames: ParsedFrame[] = [];

  /** @param skip bytes before the first frame: a client's preface. */
  constructor(end: Duplex, skip: number) {
    this.#end = end;
    this.#rest = Buffer.alloc(0);
    this.#skip = skip;
    end.on("data", (bytes: Buffer) => this.#read(bytes));
  }

  /** The next frame of which this is true; those before it are dropped. */
  async next(isWanted: (each: ParsedFrame) => boolean): Promise<ParsedFrame> {
    for (;;) {
      const found = this.#frames.shift();
      if (found === undefined) await once(this.#end, "data");
      else if (isWanted(found)) return found;
      else if (found.type === FrameType.GOAWAY) throw new Error(`nghttp2 gave up: ${found.payload.toString("hex")}`);
    }
  }

  #read(bytes: Buffer): void {
    let all = Buffer.concat([this.#rest, bytes]);
    const skipped = Math.min(this.#skip, all.length);
    this.#skip -= skipped;
    all = all.subarray(skipped);
    let whole = 0;
    while (whole + 9 <= all.length && whole + 9 + all.readUIntBE(whole, 3) <= all.length) {
      whole += 9 + all.readUIntBE(whole, 3);
    }
    this.#frames.push(...parseFrames(all.subarray(0, whole)));
    this.#rest = all.subarray(whole);
  }
}

function isAcknowledgement({ type, flags }: ParsedFrame): boolean {
  return type === FrameType.SETTINGS && (flags & Flag.ACK) !== 0;
}

/** A story of requests, encoded by Node's client. */
export async function encodeByNghttp2(story: Story): Promise<Story> {
  const [near, far] = duplexPair();
  const tap = new FrameTap(far, PREFACE.length);
  const session = connect("http://memory", { createConnection: () => near });
  // The session ends in the middle of its requests.
  session.on("error", () => {});
  const settings = async (...pairs: readonly number[]): Promise<void> => {
    far.write(settingsFrame(...pairs));
    await tap.next(isAcknowledgement);
  };
  await settings(MAX_CONCURRENT_STREAMS, 1000);
  const cases: Story["cases"][number][] = [];
  for (const each of story.cases) {
    if (each.header_table_size !== undefined) await settings(HEADER_TABLE_SIZE, each.header_table_size);
    const sensitive = each.never_indexed?.map((at) => Object.keys(each.headers[at]!)[0]!) ?? [];
    const request = session.request(Object.assign(fieldsOf(each), { [sensitiveHeaders]: sensitive }), {
      endStream: true,
    });
    request.on("error", () => {});
    const parts: Buffer[] = [];
    for (let isDone = false; !isDone;) {
      const part = await tap.next(({ type }) => type === FrameType.HEADERS || type === FrameType.CONTINUATION);
      parts.push(part.payload);
      isDone = (part.flags & Flag.END_HEADERS) !== 0;
      if (isDone) far.write(resetFrame(part.streamId, CANCEL));
    }
    cases.push({ ...each, wire: Buffer.concat(parts).toString("hex") });
  }
  session.destroy();
  far.destroy();
  return { description: "Encoded by nghttp2, through Node.", cases };
}

/** A story of requests as Node's server understands its bytes. */
export async function decodeByNghttp2(story: Story): Promise<Story> {
  const [near, far] = duplexPair();
  const tap = new FrameTap(far, 0);
  const session = performServerHandshake(near, {
    maxHeaderListPairs: HEADER_PAIRS_MAX,
    settings: { maxHeaderListSize: LIST_BYTES_MAX },
  });
  session.on("error", () => {});
  far.write(Buffer.concat([PREFACE, settingsFrame(), SETTINGS_ACK]));
  const cases: Story["cases"][number][] = [];
  for (const [place, each] of story.cases.entries()) {
    if (each.header_table_size !== undefined) {
      session.settings({ headerTableSize: each.header_table_size });
      const isIt = ({ type, flags, payload }: ParsedFrame): boolean =>
        type === FrameType.SETTINGS && (flags & Flag.ACK) === 0 && payload.readUInt16BE(0) === HEADER_TABLE_SIZE;
      await tap.next((frameIn) => frameIn.payload.length > 0 && isIt(frameIn));
      far.write(SETTINGS_ACK);
    }
    const id = 2 * place + 1;
    const heard = once(session, "stream");
    far.write(frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, id, Buffer.from(each.wire ?? "", "hex")));
    const [stream, , , raw] = (await heard) as [ServerHttp2Stream, unknown, number, string[]];
    stream.on("error", () => {});
    far.write(resetFrame(id, CANCEL));
    cases.push({ ...each, headers: headersOf(raw) });
  }
  session.destroy();
  far.destroy();
  return { ...story, cases };
}
