// Runs a target on many inputs, and makes of what it finds something that can be replayed.
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import fc from "fast-check";
import { InputArbitrary } from "./arbitrary.ts";
import type { Input, OpenTarget } from "./target.ts";

/** An input for which something did not hold, as small as it could be made. */
export interface Finding {
  readonly target: string;
  /** The seed and the place among its inputs at which it was found. */
  readonly seed: number;
  readonly path: string;
  readonly error: string;
  readonly salt: number;
  /** base64 */
  readonly bytes: string;
}

export interface CampaignRequest {
  readonly name: string;
  readonly seed: number;
  readonly inputs: number;
}

/** Errors that nobody caught since the last look. Whoever runs inputs owns one. */
export class StrayErrors implements Disposable {
  #errors: unknown[] = [];
  readonly #onError = (error: unknown): void => {
    this.#errors.push(error);
  };

  constructor() {
    process.on("uncaughtException", this.#onError);
    process.on("unhandledRejection", this.#onError);
  }

  /** Throws the first one, if there is any. */
  check(): void {
    const [error] = this.#errors;
    this.#errors = [];
    if (error !== undefined) throw new Error("An error that nobody caught", { cause: error });
  }

  [Symbol.dispose](): void {
    process.off("uncaughtException", this.#onError);
    process.off("unhandledRejection", this.#onError);
  }
}

/** The first finding among `inputs` inputs of this seed. */
export async function runCampaign(
  target: OpenTarget,
  { name, seed, inputs }: CampaignRequest,
  strays: StrayErrors,
): Promise<Finding | undefined> {
  const parameters = { seed, numRuns: inputs, endOnFailure: false };
  const arbitrary = new InputArbitrary(target);
  const details = await fc.check(
    fc.asyncProperty(arbitrary, (input) => runInput(target, input, strays)),
    parameters,
  );
  const input = details.counterexample?.[0];
  if (!details.failed || input === undefined) return undefined;
  return {
    target: name,
    seed,
    path: details.counterexamplePath ?? "",
    error: inspect(details.errorInstance, { depth: 4 }),
    salt: input.salt,
    bytes: input.bytes.toString("base64"),
  };
}

/** Throws when something does not hold for this input. */
export async function runInput(target: OpenTarget, input: Input, strays: StrayErrors): Promise<void> {
  const pending = target.run(input);
  if (pending !== undefined) await pending;
  strays.check();
}

export function inputOf({ bytes, salt }: Pick<Finding, "bytes" | "salt">): Input {
  return { bytes: Buffer.from(bytes, "base64"), salt };
}

/** The name of a finding's file: the same for the same input. */
export function fileNameOf({ target, bytes, salt }: Finding): string {
  const hash = createHash("sha256").update(bytes).update(String(salt)).digest("hex");
  return `${target}-${hash.slice(0, 12)}.json`;
}
