// From valid inputs to almost valid ones.
import type { Grammar } from "./grammar.ts";
import { changeBytes } from "./grammar.ts";
import type { Random } from "./random.ts";

export interface Stock {
  readonly grammar: Grammar;
  readonly corpus: readonly Buffer[];
  readonly extras?: readonly Buffer[];
}

/** What a corpus grows to in one input: splices and copies stay within it. */
const INPUT_BYTES_MAX = 256 * 1024;

/** One input of a recording, or of several: mostly one to four changes to its units, sometimes some to its bytes. */
export function mutate(stock: Stock, random: Random): Buffer {
  const units = stock.grammar.cut(random.pick(stock.corpus));
  const changes = random.oneIn(64) ? 0 : 1 + random.few() + random.few();
  for (let count = 0; count < changes; count++) changeUnits(units, stock, random);
  let bytes: Buffer = Buffer.concat(units);
  if (random.oneIn(4)) {
    const damages = 1 + random.few();
    for (let count = 0; count < damages; count++) bytes = changeBytes(bytes, random);
  }
  return bytes.subarray(0, INPUT_BYTES_MAX);
}

function changeUnits(units: Buffer[], { grammar, corpus, extras }: Stock, random: Random): void {
  const at = random.below(units.length);
  const unit = units[at];
  if (unit === undefined) {
    units.push(random.pick(corpus));
    return;
  }
  switch (random.below(9)) {
    case 0:
      units.splice(at, 1);
      return;
    case 1:
      units.splice(random.below(units.length + 1), 0, unit);
      return;
    case 2: {
      const other = random.below(units.length);
      units[at] = units[other]!;
      units[other] = unit;
      return;
    }
    case 3: {
      // The end of another recording, or a piece of it.
      const others = grammar.cut(random.pick(corpus));
      const from = random.below(others.length);
      const piece = others.slice(from, from + 1 + random.below(8));
      units.splice(at, random.oneIn(2) ? units.length : 0, ...piece);
      return;
    }
    case 4:
      if (extras !== undefined) units.splice(random.below(units.length + 1), 0, random.pick(extras));
      return;
    default:
      units[at] = grammar.change(unit, random);
  }
}
