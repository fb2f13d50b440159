// What every conformance suite is to the program that runs them.
import type { GoTool } from "../tools/go-tools.ts";

/** A suite that others wrote, run against us. */
export interface Suite {
  readonly name: string;
  readonly tool: GoTool;
  /** @param tool the path of its program */
  readonly run: (tool: string) => Promise<SuiteResult>;
}

export interface SuiteResult {
  readonly passed: number;
  readonly failed: number;
  /** Cases of the suite that were left out, one by one; what its configuration leaves out as a whole is in `note`. */
  readonly excluded: number;
  /** What is left out, and why. */
  readonly note: string;
  /** What the suite said, for whoever has to find a failure. */
  readonly output: string;
}
