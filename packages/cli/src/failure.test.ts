import {
  BadRequestSchema,
  Code,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  RpcError,
} from "@sluice/client";
import { expect, test } from "vitest";
import { describeFailure } from "./failure.ts";
import { CommandFailure } from "./output.ts";

test("a server's sentence stands alone when it says everything", () => {
  const error = new RpcError(Code.INVALID_ARGUMENT, "log_level: LOUD is none", {
    details: [
      { desc: ErrorInfoSchema, value: { reason: "UNKNOWN_LEVEL", domain: "sluice" } },
      {
        desc: BadRequestSchema,
        value: { fieldViolations: [{ field: "log_level", description: "LOUD is none" }] },
      },
    ],
  });
  expect(describeFailure(error)).toEqual({
    exitCode: 2,
    text: "sluice: log_level: LOUD is none (INVALID_ARGUMENT)",
    facts: {
      code: "INVALID_ARGUMENT",
      message: "log_level: LOUD is none",
      reason: "UNKNOWN_LEVEL",
      domain: "sluice",
      metadata: {},
      violations: [{ field: "log_level", description: "LOUD is none" }],
    },
  });
});

test("what only the details say is added, line by line, with what to do next", () => {
  const error = new RpcError(Code.RESOURCE_EXHAUSTED, "refused", {
    details: [
      { desc: BadRequestSchema, value: { fieldViolations: [{ field: "entries[7]", description: "is too large" }] } },
      { desc: QuotaFailureSchema, value: { violations: [{ subject: "followers", description: "1000 at most" }] } },
      { desc: ResourceInfoSchema, value: { resourceType: "log", resourceName: "audit" } },
      { desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 500_000_000 } } },
    ],
  });
  const { exitCode, text, facts } = describeFailure(error);
  expect(exitCode).toBe(7);
  expect(text.split("\n")).toEqual([
    "sluice: refused (RESOURCE_EXHAUSTED)",
    "  entries[7]: is too large",
    "  followers: 1000 at most",
    '  log "audit"',
    "  Try again in 1.5 s.",
  ]);
  expect(facts).toMatchObject({
    quotas: [{ subject: "followers", description: "1000 at most" }],
    resources: [{ type: "log", name: "audit" }],
    retryAfterMs: 1500,
  });
});

test.each([
  [Code.CANCELLED, 0],
  [Code.UNKNOWN, 1],
  [Code.OUT_OF_RANGE, 2],
  [Code.UNIMPLEMENTED, 2],
  [Code.UNAVAILABLE, 3],
  [Code.DEADLINE_EXCEEDED, 3],
  [Code.NOT_FOUND, 4],
  [Code.PERMISSION_DENIED, 5],
  [Code.UNAUTHENTICATED, 5],
  [Code.DATA_LOSS, 6],
  [Code.RESOURCE_EXHAUSTED, 7],
])("status %i is exit code %i", (code, exitCode) => {
  expect(describeFailure(new RpcError(code, "x")).exitCode).toBe(exitCode);
});

test("a server that is not there: what to do", () => {
  const { text } = describeFailure(new RpcError(Code.UNAVAILABLE, "Cannot connect to localhost:8080"));
  expect(text).toContain('"sluice serve" starts one, --server names another.');
});

test("a command's own failure, a failed system call, and what nobody foresaw", () => {
  expect(
    describeFailure(new CommandFailure("Which data folder?", { exitCode: 2, hint: "sluice doctor ./data" })),
  ).toEqual({
    exitCode: 2,
    text: "sluice: Which data folder?\n  sluice doctor ./data",
    facts: { message: "Which data folder?", hint: "sluice doctor ./data" },
  });
  const system = Object.assign(new Error("EACCES: permission denied, open 'x'"), { code: "EACCES", syscall: "open" });
  expect(describeFailure(system)).toMatchObject({ exitCode: 1, text: "sluice: EACCES: permission denied, open 'x'" });
  const { exitCode, text } = describeFailure(new TypeError("x is not a function"));
  expect(exitCode).toBe(1);
  expect(text).toMatch(
    /^sluice: something unforeseen went wrong; please report it with these lines:\nTypeError: x is not a/u,
  );
});
