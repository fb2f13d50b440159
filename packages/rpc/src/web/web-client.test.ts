import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { ServerReflection, ServerReflectionResponseSchema } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { createWebClient } from "./web-client.ts";

afterEach(() => void vi.unstubAllGlobals());

const answerOf = (content: Uint8Array) =>
  create(ServerReflectionResponseSchema, {
    messageResponse: { case: "fileDescriptorResponse", value: { fileDescriptorProto: [content] } },
  });

function frameOf(flag: number, bytes: Uint8Array): Buffer {
  const header = Buffer.alloc(5, flag);
  header.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([header, bytes]);
}

/** Lets `fetch` answer with messages and OK, cut into the given sizes in turn. */
function answerWith(contents: readonly Uint8Array[], sizes: readonly number[]): void {
  const messages = contents.map((content) => frameOf(0, toBinary(ServerReflectionResponseSchema, answerOf(content))));
  const all = Buffer.concat([...messages, frameOf(0x80, Buffer.from("grpc-status: 0\r\n"))]);
  const chunks: Uint8Array[] = [];
  for (let at = 0, i = 0; at < all.length; i++) {
    const end = at + sizes[i % sizes.length]!;
    chunks.push(all.subarray(at, end));
    at = end;
  }
  vi.stubGlobal("fetch", () => Promise.resolve(new Response(ReadableStream.from(chunks))));
}

async function readAll(): Promise<Buffer[]> {
  const found: Buffer[] = [];
  const client = createWebClient(ServerReflection, "http://127.0.0.1");
  // The one streaming method of a service that is at hand: that its requests are a stream does not matter here.
  const call = client.serverReflectionInfo as unknown as (
    request: object,
  ) => AsyncIterable<ReturnType<typeof answerOf>>;
  for await (const { messageResponse } of call({})) {
    if (messageResponse.case === "fileDescriptorResponse") {
      found.push(...messageResponse.value.fileDescriptorProto.map((bytes) => Buffer.from(bytes)));
    }
  }
  return found;
}

test("messages come out however the answer is cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 }),
      async (contents, sizes) => {
        answerWith(contents, sizes);
        expect(await readAll()).toEqual(contents.map((content) => Buffer.from(content)));
      },
    ),
  );
});

test("a large message in many pieces is joined once", async () => {
  const content = Buffer.alloc(4 * 1024 * 1024, "content");
  answerWith([content], [16 * 1024]);
  const set = vi.spyOn(Uint8Array.prototype, "set");
  const [found] = await readAll();
  const copied = set.mock.calls.reduce((sum, [bytes]) => sum + bytes.length, 0);
  set.mockRestore();
  expect(found?.equals(content)).toBe(true);
  expect(copied).toBeGreaterThanOrEqual(content.length);
  expect(copied).toBeLessThan(1.1 * content.length);
});
