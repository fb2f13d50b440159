// Rates as people type them: "10M", "500k", as curl's --limit-rate has them.
import { InvalidArgumentError } from "commander";

const FACTORS: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Bytes per second. @throws InvalidArgumentError */
export function parseRateArgument(text: string): number {
  const { amount, unit = "" } = /^(?<amount>\d+(?:\.\d+)?)(?<unit>[kmg]?)(?:i?b)?$/iu.exec(text)?.groups ?? {};
  const rate = Math.floor(Number(amount) * (FACTORS[unit.toLowerCase()] ?? Number.NaN));
  if (rate >= 1) return rate;
  throw new InvalidArgumentError('Give bytes per second, for example "500k", "10M" or "1G".');
}
