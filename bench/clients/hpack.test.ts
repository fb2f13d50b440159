import { expect, test } from "vitest";
import { HeaderEncoder, readFields } from "./hpack.ts";

test("a new field is a Huffman-coded literal, the same again an index (RFC 7541, C.4)", () => {
  const encoder = new HeaderEncoder();
  const authority = [{ name: ":authority", value: "www.example.com" }];
  expect(encoder.encode(authority).toString("hex")).toBe("418cf1e3c2e5f23a6ba0ab90f4ff");
  expect(encoder.encode(authority).toString("hex")).toBe("be");
  const withControl = [...authority, { name: "cache-control", value: "no-cache" }];
  expect(encoder.encode(withControl).toString("hex")).toMatch(/^be40.*86a8eb10649cbf$/);
  expect(encoder.encode(withControl).toString("hex")).toBe("bfbe");
});

test("a field that was evicted is sent as a literal again", () => {
  const encoder = new HeaderEncoder(100);
  const first = encoder.encode([{ name: "a", value: "x".repeat(40) }]);
  expect(encoder.encode([{ name: "a", value: "x".repeat(40) }])).toHaveLength(1);
  encoder.encode([{ name: "b", value: "y".repeat(40) }]);
  expect(encoder.encode([{ name: "a", value: "x".repeat(40) }])).toEqual(first);
});

test("a field that no table may keep is a literal each time, and evicts nothing", () => {
  const encoder = new HeaderEncoder();
  const token = [{ name: "authorization", value: "Bearer abc", isNeverIndexed: true }];
  const first = encoder.encode(token);
  expect(first[0]).toBe(0x1f);
  expect(encoder.encode(token)).toEqual(first);
});

test("literals are read back, plain and Huffman-coded, every symbol", () => {
  const everySymbol = Buffer.from(Array.from({ length: 256 }, (_, symbol) => symbol)).toString("latin1");
  const fields = [
    { name: "grpc-status", value: "0" },
    { name: "grpc-message", value: "a sentence that is shorter when it is coded" },
    { name: "binary", value: everySymbol },
    { name: "binary-coded", value: `${everySymbol}${"0".repeat(1000)}` },
  ];
  const block = new HeaderEncoder().encode(fields.map((field) => ({ ...field, isNeverIndexed: true })));
  expect([...readFields(block)]).toEqual(fields.map(({ name, value }) => [name, value]));
});

test("fields of the static table and size updates are stepped over", () => {
  const block = Buffer.from("2088000b677270632d7374617475730130", "hex");
  expect([...readFields(block)]).toEqual([
    ["#8", ""],
    ["grpc-status", "0"],
  ]);
});

test("a torn block is an error", () => {
  expect(() => readFields(Buffer.from("000b677270", "hex"))).toThrow(RangeError);
});
