// How many jobs at the same time, as it is written on a command line.
import { InvalidArgumentError } from "commander";

/** "8". */
export function parseSlots(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 10_000) return count;
  throw new InvalidArgumentError("Give a whole number from 1 to 10,000.");
}
