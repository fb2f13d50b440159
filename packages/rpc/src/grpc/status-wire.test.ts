import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BadRequestSchema } from "../gen/google/rpc/error_details_pb.ts";
import type { HeaderList } from "../transport.ts";
import { Metadata } from "./metadata.ts";
import { Code, errorDetail, RpcError } from "./status.ts";
import { errorFields, isGrpcContentType, readStatus } from "./status-wire.ts";

function listOf(fields: readonly string[]): HeaderList {
  return { fields, memo: undefined };
}

/** Through the wire and back. */
function roundTrip(error: RpcError): RpcError | undefined {
  return readStatus(listOf(errorFields(error, undefined)))?.error;
}

describe("a status on the wire", () => {
  test("a message of any text survives, as printable ASCII", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 200 }), (text) => {
        const fields = errorFields(new RpcError(Code.ABORTED, text), undefined);
        expect(fields[3]).toMatch(/^[\x20-\x7e]*$/);
        expect(roundTrip(new RpcError(Code.ABORTED, text))?.message).toBe(text);
      }),
    );
  });

  test("a lone surrogate becomes U+FFFD instead of an error", () => {
    expect(roundTrip(new RpcError(Code.ABORTED, "a\ud800b"))?.message).toBe("a\ufffdb");
  });

  test.each([
    ["100%", "100%"],
    ["%zz%4", "%zz%4"],
    ["%E4%B8%96", "世"],
    ["%e4%b8%96", "世"],
    ["%FF", "\ufffd"],
    ["", ""],
  ])("what others encode (%j) is read as well as can be", (encoded, text) => {
    expect(readStatus(listOf(["grpc-status", "10", "grpc-message", encoded]))?.error?.message).toBe(text);
  });

  test.each([
    ["0", undefined],
    ["16", Code.UNAUTHENTICATED],
    ["17", Code.UNKNOWN],
    ["-1", Code.UNKNOWN],
    ["00", Code.UNKNOWN],
    ["", Code.UNKNOWN],
    ["abc", Code.UNKNOWN],
  ])("grpc-status %j", (status, code) => {
    const received = readStatus(listOf(["grpc-status", status]));
    expect(received?.error?.code).toBe(code);
  });

  test("no grpc-status is no status", () => {
    expect(readStatus(listOf(["x", "1"]))).toBeUndefined();
  });

  test("damaged details do not hide the status", () => {
    const received = readStatus(listOf(["grpc-status", "5", "grpc-status-details-bin", "!!notbase64!!"]));
    expect(received?.error).toMatchObject({ code: Code.NOT_FOUND, details: [] });
  });

  test("details and trailers travel together, within what clients accept", () => {
    const violation = { field: "f".repeat(300), description: "d" };
    const details = Array.from({ length: 50 }, () => errorDetail(BadRequestSchema, { fieldViolations: [violation] }));
    const fields = errorFields(
      new RpcError(Code.INVALID_ARGUMENT, "x".repeat(5000), { details }),
      new Metadata({ a: "1" }),
    );
    const bytes = fields.reduce((sum, each) => sum + each.length, 0);
    expect(bytes).toBeLessThan(8192);
    const error = readStatus(listOf(fields))?.error;
    expect(error?.findDetails(BadRequestSchema).length).toBeGreaterThan(5);
    expect(error?.metadata.get("a")).toBe("1");
  });
});

test.each([
  ["application/grpc", true],
  ["application/grpc+proto", true],
  ["application/grpc;charset=utf-8", true],
  ["Application/GRPC", true],
  ["application/grpc+json", false],
  ["application/grpc-web", false],
  ["application/grpcx", false],
  ["text/html", false],
  ["", false],
])("content-type %j: %s", (contentType, isGrpc) => {
  expect(isGrpcContentType(contentType)).toBe(isGrpc);
});
