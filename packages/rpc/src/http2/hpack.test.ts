import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeaderBlock } from "../transport.ts";
import { ConnectionError, ErrorCode } from "./frame.ts";
import type { DecodedHeaders } from "./header-list.ts";
import { HpackDecoder } from "./hpack.ts";
import { ConstantEncoder, IndexingEncoder } from "./hpack-encoder.ts";
import { literalBlock, literalText } from "./testing/frames.ts";

function decoderOf(options: { tableBytes?: number; listBytes?: number } = {}) {
  const decoder = new HpackDecoder(options.tableBytes ?? 4096, options.listBytes ?? 16_384);
  return (bytes: Uint8Array | string): DecodedHeaders => {
    const block = typeof bytes === "string" ? Buffer.from(bytes.replaceAll(" ", ""), "hex") : Buffer.from(bytes);
    return decoder.decode(block, 0, block.length);
  };
}

function pairs(...fields: readonly (readonly [string, string])[]): string[] {
  return fields.flat();
}

describe("RFC 7541 appendix C", () => {
  test.each([
    [
      "C.2.1",
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      pairs(["custom-key", "custom-header"]),
    ],
    ["C.2.2", "040c 2f73 616d 706c 652f 7061 7468", pairs([":path", "/sample/path"])],
    ["C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", pairs(["password", "secret"])],
    ["C.2.4", "82", pairs([":method", "GET"])],
  ])("%s: one field in each form", (_section, block, fields) => {
    expect(decoderOf()(block).fields).toEqual(fields);
  });

  const request = pairs([":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "www.example.com"]);
  const noCache = [...request, "cache-control", "no-cache"];
  const secure = pairs(
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  );
  test.each([
    [
      "C.3, without Huffman code",
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    [
      "C.4, with Huffman code",
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
  ])("%s: three requests on one connection", (_section, ...blocks) => {
    const decode = decoderOf();
    expect(blocks.map((block) => decode(block).fields)).toEqual([request, noCache, secure]);
  });

  const date = "Mon, 21 Oct 2013 20:13:21 GMT";
  const location = "https://www.example.com";
  const cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
  const responses = [
    pairs([":status", "302"], ["cache-control", "private"], ["date", date], ["location", location]),
    pairs([":status", "307"], ["cache-control", "private"], ["date", date], ["location", location]),
    pairs(
      [":status", "200"],
      ["cache-control", "private"],
      ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
      ["location", location],
      ["content-encoding", "gzip"],
      ["set-cookie", cookie],
    ),
  ];
  test.each([
    [
      "C.5, without Huffman code",
      `4803 3330 3258 0770 7269 7661 7465 611d ${Buffer.from(date).toString("hex")} 6e17 ${Buffer.from(location).toString("hex")}`,
      "4803 3330 37c1 c0bf",
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 ${Buffer.from(cookie).toString("hex")}`,
    ],
    [
      "C.6, with Huffman code",
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      "4883 640e ffc1 c0bf",
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ],
  ])("%s: three responses through a table of 256 bytes, with evictions", (_section, ...blocks) => {
    const decode = decoderOf();
    const [first, second, third] = blocks;
    // The examples assume a table of 256 bytes: a size update says so.
    expect(decode(`3fe101 ${first}`).fields).toEqual(responses[0]);
    expect(decode(second).fields).toEqual(responses[1]);
    expect(decode(third).fields).toEqual(responses[2]);
  });
});

describe("the decoder", () => {
  test.each([
    ["an index of 0", "80"],
    ["an index beyond both tables", "be"],
    ["a literal whose name's index is beyond both tables", "7f 40 0161"],
    ["an integer without an end", "7f 80 80 80 80 00"],
    ["an integer that is cut off", "7f"],
    ["a string longer than the block", "40 0161 05 62"],
    ["a block that ends after a name", "40 0161"],
    ["a block that ends before a name", "40"],
    ["a size update over the limit", "3f e2 1f"],
    ["a size update after a field", "82 20"],
  ])("ends the connection on %s", (_what, block) => {
    expect(() => decoderOf()(block)).toThrow(
      expect.objectContaining({ name: "ConnectionError", code: ErrorCode.COMPRESSION_ERROR }),
    );
  });

  test("takes several size updates at a block's start, and evicts what no longer fits", () => {
    const decode = decoderOf();
    decode("40 0161 0162");
    expect(decode("be").fields).toEqual(["a", "b"]);
    expect(decode("20 3f e1 1f 82").fields).toEqual([":method", "GET"]);
    expect(() => decode("be")).toThrow(ConnectionError);
  });

  test("empties its table on a field larger than the table", () => {
    const decode = decoderOf();
    decode("40 0161 0162");
    decode(Buffer.concat([Buffer.from("400163", "hex"), literalText("x".repeat(4096))]));
    expect(() => decode("be")).toThrow(ConnectionError);
  });

  test("evicts the oldest first and keeps indices right over many turns of its ring", () => {
    const decode = decoderOf();
    for (let round = 0; round < 1000; round += 1) {
      const value = `v${round}`;
      decode(Buffer.concat([Buffer.from("400161", "hex"), literalText(value)]));
      const oldest = Math.min(round, 60);
      expect(decode("be").fields).toEqual(["a", value]);
      expect(decode(Buffer.of(0x80 | (62 + oldest))).fields).toEqual(["a", `v${round - oldest}`]);
    }
  });

  test("keeps its table's order when it grows after it was emptied", () => {
    const decode = decoderOf();
    const insert = (count: number): void => {
      for (let round = 0; round < count; round += 1) {
        decode(Buffer.concat([Buffer.from("400161", "hex"), literalText(String(round))]));
      }
    };
    insert(10);
    decode("20 3f e1 1f");
    insert(40);
    const values = Array.from({ length: 40 }, (_, age) => decode(Buffer.of(0x80 | (62 + age))).fields[1]);
    expect(values).toEqual(Array.from({ length: 40 }, (_, age) => String(39 - age)));
  });

  test("answers a repeated block with the very same object", () => {
    const decode = decoderOf();
    const block = literalBlock([":status", "200", "x", "y"]);
    const first = decode(block);
    const second = decode(block);
    expect(second.fields).toEqual(first.fields);
    expect([decode(block), decode(block)]).toEqual([second, second]);
    expect(decode(block)).toBe(second);
  });

  test("keeps no block with a literal that changes, and so what repeats beside it", () => {
    const decode = decoderOf();
    const block = literalBlock(["x", "y"]);
    decode(block);
    const kept = decode(block);
    for (let round = 0; round < 1000; round += 1) {
      const changing = literalBlock(["timeout", `${round}m`]);
      expect(decode(changing).fields).toEqual(["timeout", `${round}m`]);
    }
    expect(decode(block)).toBe(kept);
  });

  test("never answers from before the table changed", () => {
    const decode = decoderOf();
    decode("40 0161 0162");
    const before = decode("be");
    expect(before.fields).toEqual(["a", "b"]);
    expect(decode("be")).toBe(before);
    decode("40 0163 0164");
    expect(decode("be").fields).toEqual(["c", "d"]);
    expect(decode("bf").fields).toEqual(["a", "b"]);
  });

  test("does not keep a block that changed the table", () => {
    const decode = decoderOf();
    expect(decode("40 0161 0162")).not.toBe(decode("40 0161 0162"));
    expect(decode("be bf").fields).toEqual(["a", "b", "a", "b"]);
  });

  test("decodes a list over the limit to its end, so that the table stays in step", () => {
    const decode = decoderOf({ listBytes: 100 });
    const tooLarge = decode(
      Buffer.concat([literalBlock(["big", "x".repeat(200)]), Buffer.from("40 0161 0162".replaceAll(" ", ""), "hex")]),
    );
    expect(tooLarge.isTooLarge).toBe(true);
    expect(tooLarge.fields).toEqual([]);
    expect(decode("be").fields).toEqual(["a", "b"]);
    expect(decode("be").isTooLarge).toBe(false);
  });

  test("counts a list as RFC 9113 §6.5.2 does: 32 bytes per field", () => {
    const decode = decoderOf({ listBytes: 2 * (32 + 2) });
    expect(decode(literalBlock(["a", "b", "c", "d"])).isTooLarge).toBe(false);
    expect(decode(literalBlock(["a", "b", "c", "de"])).isTooLarge).toBe(true);
  });

  test("knows a long token again, and reads every other one anew", () => {
    const decode = decoderOf();
    const encoder = new ConstantEncoder();
    const token = (letter: string): string => `Bearer ${letter.repeat(500)}`;
    for (const letter of ["a", "a", "b", "b", "a", "bb", "a"]) {
      const fields = ["grpc-timeout", "1S", "authorization", token(letter)];
      expect(decode(encoder.encode(new HeaderBlock(fields))).fields).toEqual(fields);
    }
  });

  test("finds a long value malformed each time it comes", () => {
    const decode = decoderOf();
    const encoder = new ConstantEncoder();
    for (let round = 0; round < 3; round += 1) {
      const block = new HeaderBlock(["round", String(round), "x", `${"a".repeat(200)}\0`]);
      expect(decode(encoder.encode(block)).fault).not.toBe("");
    }
  });

  test("reads a value that only begins like the last one, or is cut off", () => {
    const decode = decoderOf();
    const [block] = ["x", "y"].map((end) =>
      new ConstantEncoder().encode(new HeaderBlock(["n", "a".repeat(200) + end])),
    );
    decode(block!);
    expect(() => decode(block!.subarray(0, -1))).toThrow(ConnectionError);
    const longer = new ConstantEncoder().encode(new HeaderBlock(["n", `${"a".repeat(200)}xyz`]));
    expect(decode(longer).fields[1]).toBe(`${"a".repeat(200)}xyz`);
  });

  test("keeps a bounded number of blocks", () => {
    const decode = decoderOf();
    const twice = (value: string): DecodedHeaders => {
      decode(literalBlock(["n", value]));
      return decode(literalBlock(["n", value]));
    };
    const first = twice("first");
    for (let round = 0; round < 1000; round += 1) twice(`value ${round}`);
    expect(decode(literalBlock(["n", "first"]))).not.toBe(first);
    expect(decode(literalBlock(["n", "first"])).fields).toEqual(["n", "first"]);
  });
});

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
const value = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const repeated = fc.constantFrom(":method", "grpc-timeout", "x", "authorization", "te");
const fieldList = fc
  .array(fc.tuple(fc.oneof(name, repeated), fc.oneof(value, fc.constantFrom("GET", "1S", "trailers", ""))), {
    maxLength: 12,
  })
  .map((fields) => fields.flat());

describe.each([
  ["a server's encoder", () => new ConstantEncoder()],
  ["a client's encoder", () => new IndexingEncoder()],
])("%s", (_whose, create) => {
  test("gives any lists to a decoder, also while the table's size is lowered", () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fieldList },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 5000 }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const encoder = create();
        const decode = decoderOf({ listBytes: 1_000_000 });
        const arrived = steps.map((each) => {
          if (typeof each !== "number") return decode(encoder.encode(new HeaderBlock(each))).fields;
          encoder.limitTable(each);
          return each;
        });
        expect(arrived).toEqual(steps);
      }),
    );
  });

  test("gives the same few lists to a decoder, again and again in any order", () => {
    const lists = fc.array(fieldList, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(lists, fc.array(fc.nat(3), { maxLength: 40 }), (few, order) => {
        const encoder = create();
        const decode = decoderOf({ listBytes: 1_000_000 });
        const blocks = few.map((fields) => new HeaderBlock(fields));
        const sent = order.map((at) => blocks[at % blocks.length]!);
        expect(sent.map((block) => decode(encoder.encode(block)).fields)).toEqual(sent.map((block) => block.fields));
      }),
    );
  });

  test("begins the next block with a size update after the peer lowered the size, and only that one", () => {
    const encoder = create();
    const block = new HeaderBlock(["x", "y"]);
    encoder.encode(block);
    encoder.limitTable(100);
    encoder.limitTable(200);
    encoder.limitTable(50);
    const update = encoder.encode(block);
    expect(update[0]! & 0xe0).toBe(0x20);
    expect(Buffer.from(update.subarray(0, 2)).toString("hex")).toBe("3f13");
    expect(encoder.encode(block)[0]! & 0xe0).not.toBe(0x20);
    encoder.limitTable(4096);
    expect(encoder.encode(block)[0]! & 0xe0).not.toBe(0x20);
  });

  test("marks credentials as never to be indexed", () => {
    const encoder = create();
    const block = new HeaderBlock(["authorization", "secret"]);
    for (let round = 0; round < 3; round += 1) expect(encoder.encode(block)[0]! & 0xf0).toBe(0x10);
  });
});

test("a server's encoder encodes a list once, for all connections", () => {
  const block = new HeaderBlock([":status", "200", "content-type", "application/grpc"]);
  expect(new ConstantEncoder().encode(block)).toBe(new ConstantEncoder().encode(block));
});

test("a client's encoder puts into its table what repeats, and not what changes", () => {
  const encoder = new IndexingEncoder();
  const bytesOf = (timeout: string): number =>
    encoder.encode(new HeaderBlock([":path", "/package.Service/Method", "grpc-timeout", timeout])).length;
  const first = bytesOf("1001m");
  bytesOf("1002m");
  const third = bytesOf("1003m");
  // The path and the name of the timeout by index, its value as text; and nothing is pushed out of the table.
  expect(third).toBeLessThanOrEqual(1 + 1 + 1 + "1003m".length);
  expect(third).toBeLessThan(first - 25);
  for (let round = 0; round < 500; round += 1) bytesOf(`${round}m`);
  expect(bytesOf("1004m")).toBe(third);
});

test("a client's encoder finds its way when more repeats than the table holds", () => {
  const encoder = new IndexingEncoder();
  const decode = decoderOf({ listBytes: 1_000_000 });
  for (let round = 0; round < 300; round += 1) {
    const fields = ["x-tenant", `tenant ${Math.floor(round / 3)} ${"t".repeat(300)}`, "user-agent", "sluice"];
    expect(decode(encoder.encode(new HeaderBlock(fields))).fields).toEqual(fields);
  }
});
