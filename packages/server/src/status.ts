// From domain errors to gRPC statuses: the one place that knows both.
//
// M1. Every domain error carries ErrorInfo{reason, domain "sluice"}, and the typed details that its facts allow.
//     What the RPC core refuses by itself (a message that cannot be decoded, a frame that is torn) gets ErrorInfo{its code's
//     name, domain "grpc"}.
// M2. An error that nobody foresaw tells a client nothing of the server's inside; the server's own log has it all.
import {
  BadRequestSchema,
  Code,
  codeName,
  type ErrorDetail,
  ErrorInfoSchema,
  errorDetail,
  QuotaFailureSchema,
  ResourceInfoSchema,
  retryAfter,
  RpcError,
} from "@sluice/rpc";
import { type ErrorFacts, type ErrorKind, SluiceError } from "./errors.ts";

/** ErrorInfo.domain of everything that this server says. */
const ERROR_DOMAIN = "sluice";
/** The same of what the RPC core says. */
const CORE_DOMAIN = "grpc";

const CODES: Readonly<Record<ErrorKind, Code>> = {
  "invalid-argument": Code.INVALID_ARGUMENT,
  "not-found": Code.NOT_FOUND,
  "permission-denied": Code.PERMISSION_DENIED,
  "out-of-range": Code.OUT_OF_RANGE,
  aborted: Code.ABORTED,
  "already-exists": Code.ALREADY_EXISTS,
  "data-loss": Code.DATA_LOSS,
  "limit-exceeded": Code.RESOURCE_EXHAUSTED,
  unavailable: Code.UNAVAILABLE,
  "failed-precondition": Code.FAILED_PRECONDITION,
};

/** The status that a client gets for whatever was thrown. */
export function statusOf(error: unknown): RpcError {
  if (error instanceof RpcError) return error.details.length > 0 ? error : withInfo(error);
  if (error instanceof SluiceError) {
    return new RpcError(CODES[error.kind], error.message, { cause: error, details: detailsOf(error.facts) });
  }
  return new RpcError(
    Code.INTERNAL,
    "Cannot answer: something unforeseen went wrong in the server; its log says what",
    {
      cause: error,
      details: [errorDetail(ErrorInfoSchema, { reason: "INTERNAL", domain: ERROR_DOMAIN })],
    },
  );
}

function withInfo({ code, message, cause }: RpcError): RpcError {
  const info = errorDetail(ErrorInfoSchema, { reason: codeName(code), domain: CORE_DOMAIN });
  return new RpcError(code, message, { cause, details: [info] });
}

/** True when nobody foresaw this error: the server's own log must have it. */
export function isUnforeseen(error: unknown): boolean {
  return !(error instanceof RpcError) && !(error instanceof SluiceError);
}

function detailsOf(facts: ErrorFacts): ErrorDetail[] {
  const { reason, metadata, violations, retryAfterMs, resource, quota } = facts;
  const details = [errorDetail(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN, metadata: { ...metadata } })];
  if (violations !== undefined) {
    details.push(errorDetail(BadRequestSchema, { fieldViolations: violations.map((each) => ({ ...each, reason })) }));
  }
  if (quota !== undefined) details.push(errorDetail(QuotaFailureSchema, { violations: [{ ...quota }] }));
  if (resource !== undefined) {
    details.push(errorDetail(ResourceInfoSchema, { resourceType: resource.type, resourceName: resource.name }));
  }
  if (retryAfterMs !== undefined) details.push(retryAfter(retryAfterMs));
  return details;
}
