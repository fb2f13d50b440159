// The inputs of a target as an arbitrary of fast-check: it draws them from its seed, and makes a failing one smaller.
import { performance } from "node:perf_hooks";
import fc from "fast-check";
import type { Grammar } from "./grammar.ts";
import { mutate, type Stock } from "./mutate.ts";
import { Random } from "./random.ts";
import type { Input } from "./target.ts";

/** For making one failing input smaller; one that fails by never coming to an end takes long to try. */
const SHRINK_MS_MAX = 20_000;

export class InputArbitrary extends fc.Arbitrary<Input> {
  readonly #stock: Stock;
  #shrinkEndMs: number | undefined = undefined;

  constructor(stock: Stock) {
    super();
    this.#stock = stock;
  }

  override generate(source: fc.Random): fc.Value<Input> {
    const random = new Random(source.nextInt(-0x80000000, 0x7fffffff));
    const salt = random.uint32();
    return new fc.Value({ bytes: mutate(this.#stock, random), salt }, undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is Input {
    return value instanceof Object && "bytes" in value;
  }

  override shrink(input: Input): fc.Stream<fc.Value<Input>> {
    return new fc.Stream(this.#smaller(input)).map((each) => new fc.Value(each, undefined));
  }

  *#smaller(input: Input): IterableIterator<Input> {
    this.#shrinkEndMs ??= performance.now() + SHRINK_MS_MAX;
    for (const each of smallerInputs(input, this.#stock.grammar)) {
      if (performance.now() > this.#shrinkEndMs) return;
      yield each;
    }
  }
}

/** Without runs of units, then without runs of bytes: the long ones first (delta debugging, Zeller 2002). */
function* smallerInputs(input: Input, grammar: Grammar): IterableIterator<Input> {
  const { bytes, salt } = input;
  if (salt !== 0) yield { bytes, salt: 0 };
  const units = grammar.cut(bytes);
  for (let size = units.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < units.length; at += size) {
      yield { bytes: Buffer.concat(units.toSpliced(at, size)), salt };
    }
  }
  for (let size = bytes.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < bytes.length; at += size) {
      yield { bytes: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]), salt };
    }
  }
}
