// The attacker, in a process of its own: what it does must cost the server and the others, not the test. Both halves are in
// this file: the test's `attack`, and, when it is run, the process.
import { fileURLToPath } from "node:url";
import { attacks } from "./attacks.ts";
import { startProcess } from "./process.ts";

export interface Attack extends AsyncDisposable {
  /** Resolves when it has done its worst, with what became of it; it holds what it has until it is disposed of. */
  readonly done: Promise<string>;
}

/** @param name of `attacks`. */
export function startAttack(name: string, port: number): Attack {
  const process = startProcess(fileURLToPath(import.meta.url), [name, String(port)]);
  return { done: process.ask<string>(undefined), [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , name = "", port = ""] = process.argv;
  const attack = attacks[name];
  if (attack === undefined) throw new Error(`There is no attack "${name}"`);
  process.on("disconnect", () => process.exit());
  process.send?.(await attack(Number(port)));
}
