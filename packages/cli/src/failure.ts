// How an error reads: one sentence, then what to do about it; and the same as facts for programs.
import {
  BadRequestSchema,
  Code,
  codeName,
  ErrorInfoSchema,
  QuotaFailureSchema,
  ResourceInfoSchema,
  RpcError,
  retryDelayMs,
} from "@sluice/client";
import { EXIT, type ExitCode, exitCodeOfStatus } from "./exit-codes.ts";
import { CommandFailure } from "./output.ts";

export interface Failure {
  readonly exitCode: ExitCode;
  /** For people, without a newline at its end. */
  readonly text: string;
  /** For programs. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What to say of an error, and with which code to exit. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CommandFailure) return ofCommand(error);
  if (error instanceof RpcError) return ofStatus(error);
  if (isSystemError(error)) {
    return {
      exitCode: EXIT.failure,
      text: `sluice: ${error.message}`,
      facts: { code: error.code, message: error.message },
    };
  }
  // Nobody foresaw it: whoever reports it needs the stack.
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    exitCode: EXIT.failure,
    text: `sluice: something unforeseen went wrong; please report it with these lines:\n${stack}`,
    facts: { code: "INTERNAL", message: stack },
  };
}

function ofCommand(error: CommandFailure): Failure {
  const { message, hint, exitCode } = error;
  return {
    exitCode,
    text: withNext(`sluice: ${message}`, hint === undefined ? [] : [hint]),
    facts: { message, ...(hint === undefined ? {} : { hint }) },
  };
}

function ofStatus(error: RpcError): Failure {
  const code = codeName(error.code);
  const [info] = error.findDetails(ErrorInfoSchema);
  const violations = error.findDetails(BadRequestSchema).flatMap((each) => each.fieldViolations);
  const quotas = error.findDetails(QuotaFailureSchema).flatMap((each) => each.violations);
  const resources = error.findDetails(ResourceInfoSchema);
  const retryAfterMs = retryDelayMs(error);

  // Our own server's sentences name all of this already; another's may not.
  const isNew = (text: string) => text !== "" && !error.message.includes(text);
  const next = [
    ...violations.filter((each) => isNew(each.description)).map((each) => `${each.field}: ${each.description}`),
    ...quotas.filter((each) => isNew(each.description)).map((each) => `${each.subject}: ${each.description}`),
    ...resources
      .filter((each) => isNew(each.resourceName))
      .map((each) => `${each.resourceType} "${each.resourceName}"`),
    ...hintsFor(error.code, retryAfterMs),
  ];
  return {
    exitCode: exitCodeOfStatus(error.code),
    text: withNext(`sluice: ${error.message} (${code})`, next),
    facts: {
      code,
      message: error.message,
      ...(info === undefined ? {} : { reason: info.reason, domain: info.domain, metadata: info.metadata }),
      ...(violations.length === 0
        ? {}
        : { violations: violations.map(({ field, description }) => ({ field, description })) }),
      ...(quotas.length === 0 ? {} : { quotas: quotas.map(({ subject, description }) => ({ subject, description })) }),
      ...(resources.length === 0
        ? {}
        : { resources: resources.map(({ resourceType: type, resourceName: name }) => ({ type, name })) }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
  };
}

function hintsFor(code: Code, retryAfterMs: number | undefined): string[] {
  if (retryAfterMs !== undefined) return [`Try again in ${retryAfterMs / 1000} s.`];
  if (code === Code.UNAVAILABLE)
    return ['Is the server running there? "sluice serve" starts one, --server names another.'];
  if (code === Code.DEADLINE_EXCEEDED) return ["Try again, or give it more time."];
  return [];
}

function withNext(sentence: string, next: readonly string[]): string {
  return [sentence, ...next.map((line) => `  ${line}`)].join("\n");
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";
}

/** Why a connection was lost, in one line. */
export function reasonOf(error: unknown): string {
  if (error instanceof RpcError) return `${error.message} (${codeName(error.code)})`;
  return error instanceof Error ? error.message : String(error);
}
