import fc from "fast-check";
import { expect, test } from "vitest";
import { ConnectionError } from "./frame.ts";
import { decodeHuffman, encodeHuffman, huffmanLength } from "./huffman.ts";

function encode(text: string): Buffer {
  const out = Buffer.alloc(4 * text.length + 1);
  return out.subarray(0, encodeHuffman(text, out, 0));
}

function decode(bytes: Buffer): string {
  return decodeHuffman(bytes, 0, bytes.length);
}

test.each([
  ["www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"],
  ["no-cache", "a8eb10649cbf"],
  ["custom-value", "25a849e95bb8e8b4bf"],
  ["Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"],
  [
    "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
  ],
])("encodes and decodes %s as RFC 7541 appendix C does", (text, hex) => {
  expect(encode(text).toString("hex")).toBe(hex);
  expect(decode(Buffer.from(hex, "hex"))).toBe(text);
  expect(huffmanLength(text)).toBe(hex.length / 2);
});

test("knows every octet's code, of 5 to 30 bits", () => {
  // Some of RFC 7541 appendix B, of different lengths.
  expect(encode("0").toString("hex")).toBe("07");
  expect(encode("&").toString("hex")).toBe("f8");
  expect(encode("\0").toString("hex")).toBe("ffc7");
  expect(encode("\n").toString("hex")).toBe("fffffff3");
  expect(encode("\x16").toString("hex")).toBe("fffffffb");
  for (let octet = 0; octet < 256; octet += 1) {
    const text = String.fromCharCode(octet);
    expect(decode(encode(text + text + text))).toBe(text + text + text);
  }
});

test("gives back any string", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      const text = Buffer.from(octets).toString("latin1");
      expect(decode(encode(text))).toBe(text);
      expect(encode(text).length).toBe(huffmanLength(text));
    }),
  );
});

test("decodes a string longer than any before", () => {
  const text = "a".repeat(100_000);
  expect(decode(encode(text))).toBe(text);
});

test.each([
  ["padding of eight bits", "07ff"],
  ["padding of sixteen bits", "07ffff"],
  ["padding with a zero in it", "00"],
  ["an EOS symbol", "ffffffff"],
  ["an EOS symbol after text", "1fffffffff"],
  ["a code that is cut off", "fffe"],
])("refuses %s", (_what, hex) => {
  expect(() => decode(Buffer.from(hex, "hex"))).toThrow(ConnectionError);
});
