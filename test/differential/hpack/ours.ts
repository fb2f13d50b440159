// Our own encoders and decoder, for stories.
import { type BlockEncoder, ConstantEncoder, IndexingEncoder } from "../../../packages/rpc/src/http2/hpack-encoder.ts";
import { HpackDecoder } from "../../../packages/rpc/src/http2/hpack.ts";
import { HeaderBlock } from "../../../packages/rpc/src/transport.ts";
import { fieldsOf, headersOf, type Story } from "./story.ts";

/** What our encoders never index, whatever a story asks for. */
const CREDENTIALS = new Set(["authorization", "proxy-authorization", "cookie", "set-cookie"]);
const LIST_BYTES_MAX = 1 << 24;

export const OUR_ENCODERS = {
  "a client's, with a table": () => new IndexingEncoder(),
  "a server's, without one": () => new ConstantEncoder(),
} as const satisfies Readonly<Record<string, () => BlockEncoder>>;

export type OurEncoder = keyof typeof OUR_ENCODERS;

export function encodeOurs(story: Story, which: OurEncoder): Story {
  const encoder: BlockEncoder = OUR_ENCODERS[which]();
  const cases = story.cases.map((each) => {
    if (each.header_table_size !== undefined) encoder.limitTable(each.header_table_size);
    const fields = fieldsOf(each);
    const wire = Buffer.from(encoder.encode(new HeaderBlock(fields))).toString("hex");
    const neverIndexed = each.headers.flatMap((header, at) => (CREDENTIALS.has(Object.keys(header)[0]!) ? [at] : []));
    return { ...each, wire, never_indexed: neverIndexed };
  });
  return { description: `Encoded by Sluice, ${which}.`, cases };
}

/** The story as our decoder understands its bytes. */
export function decodeOurs(story: Story): Story {
  // Ours announces one size for a connection's life: here the largest that the story knows.
  const tableBytes = Math.max(4096, ...story.cases.map((each) => each.header_table_size ?? 0));
  const decoder = new HpackDecoder(tableBytes, LIST_BYTES_MAX);
  const cases = story.cases.map((each) => {
    const block = Buffer.from(each.wire ?? "", "hex");
    return { ...each, headers: headersOf(decoder.decode(block, 0, block.length).fields) };
  });
  return { ...story, cases };
}
