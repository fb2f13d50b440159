import {
  BadRequestSchema,
  Code,
  errorDetail,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RpcError,
  retryDelayMs,
} from "@sluice/rpc";
import { describe, expect, test } from "vitest";
import * as errors from "./errors.ts";
import { isUnforeseen, statusOf } from "./status.ts";

describe("each domain error has its code and its reason", () => {
  test.each([
    [
      new errors.InvalidRequest("UNKNOWN_LEVEL", [{ field: "log_level", description: "is none" }]),
      Code.INVALID_ARGUMENT,
      "UNKNOWN_LEVEL",
    ],
    [
      new errors.ReaderTooSlow({ cursor: "c", lagEntries: 9, lagMaxEntries: 5 }),
      Code.RESOURCE_EXHAUSTED,
      "SLOW_READER",
    ],
    [new errors.CursorExpired("gone", {}), Code.OUT_OF_RANGE, "CURSOR_EXPIRED"],
    [new errors.Fenced(1, 2), Code.ABORTED, "FENCED"],
    [new errors.LogReadOnly("default", { cause: "EIO", isFinal: false }), Code.UNAVAILABLE, "LOG_READ_ONLY"],
    [new errors.DiskFull("default"), Code.UNAVAILABLE, "DISK_FULL"],
    [new errors.LimitExceeded("too many", "followers"), Code.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"],
    [new errors.PermissionDenied(), Code.PERMISSION_DENIED, "PERMISSION_DENIED"],
    [new errors.NotFound("log", "x", "there is none"), Code.NOT_FOUND, "NOT_FOUND"],
    [new errors.Draining(), Code.UNAVAILABLE, "DRAINING"],
    [new errors.DataLoss("torn", {}), Code.DATA_LOSS, "CHECKSUM_MISMATCH"],
    [new errors.FolderInUse("/x", "process 7"), Code.FAILED_PRECONDITION, "FOLDER_IN_USE"],
  ])("%s", (error, code, reason) => {
    const status = statusOf(error);
    expect(status.code).toBe(code);
    expect(status.message).toBe(error.message);
    expect(status.findDetails(ErrorInfoSchema)).toMatchObject([{ reason, domain: "sluice" }]);
    expect(isUnforeseen(error)).toBe(false);
  });
});

test("facts become typed details", () => {
  const bad = statusOf(new errors.InvalidRequest("BAD_FILTER", [{ field: "filters[2]", description: "has no value" }]));
  expect(bad.findDetails(BadRequestSchema)[0]?.fieldViolations).toMatchObject([
    { field: "filters[2]", description: "has no value", reason: "BAD_FILTER" },
  ]);
  const limited = statusOf(
    new errors.LimitExceeded("1001 followers: the limit is 1000", "followers", { retryAfterMs: 1500 }),
  );
  expect(limited.findDetails(QuotaFailureSchema)[0]?.violations).toMatchObject([
    { subject: "followers", description: "1001 followers: the limit is 1000" },
  ]);
  expect(retryDelayMs(limited)).toBe(1500);
  const missing = statusOf(new errors.NotFound("log", "audit", "there is none"));
  expect(missing.findDetails(ResourceInfoSchema)).toMatchObject([{ resourceType: "log", resourceName: "audit" }]);
  const expired = statusOf(new errors.CursorExpired("gone", { first: "7" }));
  expect(expired.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ first: "7" });
});

test("a status with details stays itself; one without says at least that the RPC core gave it", () => {
  const detailed = new RpcError(Code.NOT_FOUND, "gone", {
    details: [errorDetail(ErrorInfoSchema, { reason: "GONE", domain: "sluice" })],
  });
  expect(statusOf(detailed)).toBe(detailed);
  expect(isUnforeseen(detailed)).toBe(false);
  const bare = statusOf(new RpcError(Code.INTERNAL, "torn"));
  expect([bare.code, bare.message]).toEqual([Code.INTERNAL, "torn"]);
  expect(bare.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "INTERNAL", domain: "grpc" }]);
});

test("what nobody foresaw tells the client nothing of the inside", () => {
  const error = new TypeError("/secret/path is undefined");
  const status = statusOf(error);
  expect(status.code).toBe(Code.INTERNAL);
  expect(status.message).not.toContain("secret");
  expect(JSON.stringify(status.details.map((each) => each.value))).not.toContain("secret");
  expect(status.cause).toBe(error);
  expect(isUnforeseen(error)).toBe(true);
});
