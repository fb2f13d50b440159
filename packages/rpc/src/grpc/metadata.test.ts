import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Metadata } from "./metadata.ts";

describe("Metadata", () => {
  test("names are case-insensitive, values keep their order", () => {
    const metadata = new Metadata({ "X-A": "1" }).append("x-a", "2").append("x-b", "3");
    expect(metadata.get("X-a")).toBe("1");
    expect(metadata.getAll("x-A")).toEqual(["1", "2"]);
    expect(metadata.has("X-B")).toBe(true);
    expect([...metadata]).toEqual([
      ["x-a", "1"],
      ["x-a", "2"],
      ["x-b", "3"],
    ]);
    expect(metadata.size).toBe(3);
  });

  test("set replaces, delete removes all of a name, and nothing else", () => {
    const metadata = new Metadata({ a: ["1", "2"], b: "a" });
    metadata.set("a", "3");
    expect([...metadata]).toEqual([
      ["b", "a"],
      ["a", "3"],
    ]);
    metadata.delete("a");
    expect([...metadata]).toEqual([["b", "a"]]);
  });

  test.each(["grpc-status", "grpc-anything", "te", "content-type", "connection", "Host"])(
    "%s cannot be set",
    (name) => {
      expect(() => new Metadata().set(name, "1")).toThrow(/belongs to (gRPC|HTTP)/);
    },
  );

  test.each(["", ":path", "a b", "ä", "a\nb"])("%j is no name", (name) => {
    expect(() => new Metadata().set(name, "1")).toThrow(TypeError);
  });

  test.each(["ü", "a\nb", "a\r\nx-injected: 1", "\u0000"])("%j is no ASCII value", (value) => {
    expect(() => new Metadata().set("a", value)).toThrow(/printable ASCII only; use "a-bin"/);
  });

  test("bytes for -bin names, text for others", () => {
    expect(() => new Metadata().set("a-bin", "text")).toThrow(TypeError);
    expect(() => new Metadata().set("a", Uint8Array.of(1))).toThrow(TypeError);
    expect(() => new Metadata().getBinary("a")).toThrow(TypeError);
  });

  test("bytes go through base64 without padding, unchanged", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 5 }), (values) => {
        const metadata = new Metadata({ "v-bin": values });
        expect(metadata.fields.join()).not.toContain("=");
        const received = Metadata.received(metadata.fields);
        expect(received.getAllBinary("v-bin").map((each) => [...each])).toEqual(values.map((each) => [...each]));
      }),
    );
  });

  test("received metadata leaves out what is the protocol's, and cannot be changed", () => {
    const fields = [
      ":path",
      "/a",
      "te",
      "trailers",
      "grpc-timeout",
      "1S",
      "grpc-status",
      "0",
      "x",
      "1",
      "grpc-trace-bin",
      "AA",
    ];
    const metadata = Metadata.received(fields);
    expect([...metadata].map(([name]) => name)).toEqual(["x", "grpc-trace-bin"]);
    expect(() => metadata.set("y", "1")).toThrow(/already sent/);
    expect(() => metadata.delete("x")).toThrow(/already sent/);
  });
});
