import { create, createFileRegistry, toBinary, type DescMessage } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { frameOf } from "./frames.ts";
import { frameMemory } from "./frame-memory.ts";
import { createMessageEncoder } from "./message-encoder.ts";

const { OPTIONAL, REPEATED } = Label;
const child = { typeName: ".t.Child" };

/** Every kind of field that the encoder knows, with a number of one byte and of more. */
const fields = [
  { name: "text", number: 1, type: Type.STRING, label: OPTIONAL },
  { name: "bytes", number: 2, type: Type.BYTES, label: OPTIONAL },
  { name: "flag", number: 3, type: Type.BOOL, label: OPTIONAL },
  { name: "small", number: 4, type: Type.INT32, label: OPTIONAL },
  { name: "natural", number: 5, type: Type.UINT32, label: OPTIONAL },
  { name: "large", number: 6, type: Type.INT64, label: OPTIONAL },
  { name: "huge", number: 7, type: Type.UINT64, label: OPTIONAL },
  { name: "colour", number: 8, type: Type.ENUM, label: OPTIONAL, typeName: ".t.Colour" },
  { name: "texts", number: 9, type: Type.STRING, label: REPEATED },
  { name: "blobs", number: 10, type: Type.BYTES, label: REPEATED },
  { name: "maybe_text", number: 17, type: Type.STRING, label: OPTIONAL, proto3Optional: true, oneofIndex: 0 },
  { name: "maybe_small", number: 536870911, type: Type.INT32, label: OPTIONAL, proto3Optional: true, oneofIndex: 1 },
];
const registry = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      {
        name: "t.proto",
        package: "t",
        syntax: "proto3",
        enumType: [{ name: "Colour", value: [{ name: "NONE" }, { name: "RED", number: 1 }] }],
        messageType: [
          { name: "Child", field: fields, oneofDecl: [{ name: "_maybe_text" }, { name: "_maybe_small" }] },
          {
            name: "Parent",
            field: [
              { name: "one", number: 3, type: Type.MESSAGE, label: OPTIONAL, ...child },
              { name: "many", number: 2, type: Type.MESSAGE, label: REPEATED, ...child },
              { name: "text", number: 1, type: Type.STRING, label: OPTIONAL },
            ],
          },
          {
            name: "Tree",
            field: [{ name: "left", number: 1, type: Type.MESSAGE, label: OPTIONAL, typeName: ".t.Tree" }],
          },
          { name: "Real", field: [{ name: "value", number: 1, type: Type.DOUBLE, label: OPTIONAL }] },
        ],
      },
    ],
  }),
);

function descOf(name: string): DescMessage {
  const desc = registry.getMessage(name);
  if (desc === undefined) throw new Error(`${name} is missing`);
  return desc;
}

const KEPT = { isFreed: false };
const childDesc = descOf("t.Child");
const parentDesc = descOf("t.Parent");
const encodeParent = createMessageEncoder(parentDesc, KEPT) ?? (() => undefined);

/** Short ones, and some that need lengths of two and three bytes. */
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("", "\ud800", "é".repeat(64), "x".repeat(128), "漢".repeat(6000)),
);
const bytes = fc.oneof(fc.uint8Array(), fc.constantFrom(new Uint8Array(200), new Uint8Array(20_000)));
const right = {
  text,
  bytes,
  flag: fc.boolean(),
  small: fc.oneof(fc.nat(), fc.constantFrom(0, -0, 127, 128, 2 ** 31 - 1)),
  natural: fc.oneof(fc.nat(), fc.constantFrom(2 ** 31, 2 ** 32 - 1)),
  large: fc.oneof(fc.bigInt(0n, 2n ** 53n - 1n), fc.constantFrom(0n, 2n ** 31n, 2n ** 53n - 1n)),
  huge: fc.bigInt(0n, 2n ** 53n - 1n),
  colour: fc.constantFrom(0, 1, 77),
  texts: fc.array(text, { maxLength: 3 }),
  blobs: fc.array(bytes, { maxLength: 3 }),
  maybeText: text,
  maybeSmall: fc.nat(),
};
const odd = fc.constantFrom<unknown>(
  null,
  undefined,
  0,
  -1,
  1.5,
  "",
  "7",
  false,
  0n,
  -1n,
  2n ** 63n,
  [],
  {},
  new Date(0),
);

function childOf(values: { readonly [name in keyof typeof right]: fc.Arbitrary<unknown> }): fc.Arbitrary<object> {
  // A message that `create` made, or what it would make one of.
  return fc
    .tuple(fc.record(values, { requiredKeys: [] }), fc.boolean())
    .map(([init, isTyped]) => (isTyped ? Object.assign(create(childDesc), withoutUndefined(init)) : init));
}

function withoutUndefined(init: object): object {
  return Object.fromEntries(Object.entries(init).filter(([, value]) => value !== undefined));
}

function parentOf(inner: fc.Arbitrary<object>): fc.Arbitrary<object> {
  return fc.record({ one: inner, many: fc.array(inner, { maxLength: 3 }), text }, { requiredKeys: [] });
}

/** What protobuf-es makes of it, as a frame; undefined when it refuses. */
function encodeSlowly(message: object): Uint8Array | undefined {
  try {
    const typed = "$typeName" in message ? message : create(parentDesc, message as Record<string, unknown>);
    return frameOf(toBinary(parentDesc, typed as Parameters<typeof toBinary>[1]));
  } catch {
    return undefined;
  }
}

test("what it encodes is what protobuf-es encodes, and it encodes all that is well-typed", () => {
  fc.assert(
    fc.property(parentOf(childOf(right)), (message) => {
      expect(encodeParent(message)).toEqual(encodeSlowly(message));
    }),
  );
});

test("whatever else it is given, it leaves to protobuf-es or agrees with it", () => {
  const values = Object.fromEntries(
    Object.entries(right).map(([name, value]) => [name, fc.oneof(value as fc.Arbitrary<unknown>, odd)]),
  ) as { readonly [name in keyof typeof right]: fc.Arbitrary<unknown> };
  const messages = fc
    .tuple(parentOf(childOf(values)), fc.boolean())
    .map(([init, isTyped]) => (isTyped ? Object.assign(create(parentDesc), withoutUndefined(init)) : init));
  fc.assert(
    fc.property(messages, (message) => {
      const encoded = encodeParent(message);
      if (encoded !== undefined) expect(encoded).toEqual(encodeSlowly(message));
    }),
    { numRuns: 1000 },
  );
});

test("unknown fields and messages of another type are left to protobuf-es", () => {
  const unknown = create(childDesc, { text: "x" });
  unknown.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([1]) }];
  expect(encodeParent({ one: unknown })).toBeUndefined();
  expect(encodeParent(create(childDesc))).toBeUndefined();
  expect(encodeParent("text")).toBeUndefined();
});

test("a message whose getter encodes another one is left to protobuf-es inside", () => {
  const sly = {
    get text() {
      expect(encodeParent({ text: "inner" })).toBeUndefined();
      return "outer";
    },
  };
  expect(encodeParent(sly)).toEqual(encodeSlowly({ text: "outer" }));
});

test("types with other fields, and recursive ones, have no encoder", () => {
  expect(createMessageEncoder(descOf("t.Tree"), KEPT)).toBeUndefined();
  expect(createMessageEncoder(descOf("t.Real"), KEPT)).toBeUndefined();
});

test("a large frame is the sender's own until it is freed; then its memory serves again", () => {
  const encode = createMessageEncoder(parentDesc, { isFreed: true });
  const large = (fill: number) => ({ bytes: new Uint8Array(70_000).fill(fill) });
  const first = encode?.(large(1)) ?? new Uint8Array();
  const second = encode?.(large(2)) ?? new Uint8Array();
  expect(first).toEqual(encodeSlowly(large(1)));
  expect(second).toEqual(encodeSlowly(large(2)));
  frameMemory.free(first);
  const third = encode?.(large(3));
  expect(third?.buffer).toBe(first.buffer);
  expect(third).toEqual(encodeSlowly(large(3)));
  expect(second).toEqual(encodeSlowly(large(2)));
  // A string might have needed more than it did: so much memory does not wait with it.
  const text = { text: "x".repeat(70_000) };
  expect(encode?.(text)).toEqual(encodeSlowly(text));
  expect(encode?.(text)?.buffer.byteLength).toBe(encodeSlowly(text)?.length);
});

test("after a message larger than what is kept, others are encoded as before", () => {
  const large = { text: "é".repeat(2 ** 20) };
  expect(encodeParent(large)).toHaveLength(2 ** 21 + 10);
  expect(encodeParent({ text: "small" })).toEqual(encodeSlowly({ text: "small" }));
});
