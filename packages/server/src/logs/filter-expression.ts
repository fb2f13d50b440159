// Expressions of filter terms, compiled.
//
// Compiling cannot be stopped, and a short expression can stand for much: `x{1000}` has a thousand instructions, `\pL`
// 700 ranges. So what it may cost is estimated from the text alone, for all expressions of a request together.
import { RE2JS, RE2JSException } from "re2js";

/** What the expressions of a request may weigh together: 5 ms. */
const WEIGHT_MAX = 2000;
/** Instructions of a compiled expression: what a step over one character may cost. */
const INSTRUCTIONS_MAX = 1000;
/** What the state caches of all expressions of a request may take, and one at least. */
const CACHE_BYTES = 4 * 1024 * 1024;
const CACHE_BYTES_MIN = 128 * 1024;
/** A class of Unicode has hundreds of ranges; more are made of them where case does not count. */
const UNICODE_CLASS_FACTOR = 8;
const FOLDED_CLASS_FACTOR = 20;
/** Characters of a range that fold case one by one, for each unit of weight. */
const FOLDED_PER_WEIGHT = 48;

/** Why an expression is refused, for people. */
export class BadExpression extends Error {}

/** Compiles the expressions of one request. */
export class ExpressionCompiler {
  #weight = 0;
  readonly #compiled: RE2JS[] = [];

  /** @throws BadExpression */
  compile(source: string): RE2JS {
    this.#weight += weightOf(source);
    if (this.#weight > WEIGHT_MAX) {
      const text = `the expressions of this request weigh ${this.#weight} with this one: the limit is ${WEIGHT_MAX}`;
      throw new BadExpression(`${text} (characters, repetitions and Unicode classes count)`);
    }
    const expression = compile(source);
    const size = expression.programSize();
    if (size > INSTRUCTIONS_MAX) {
      throw new BadExpression(`the expression compiles to ${size} instructions: the limit is ${INSTRUCTIONS_MAX}`);
    }
    this.#compiled.push(expression);
    return expression;
  }

  /** Each expression keeps the states it has met, up to 8 MB by default: far too much for a thousand readers. */
  boundCaches(): void {
    const share = Math.max(CACHE_BYTES_MIN, Math.floor(CACHE_BYTES / Math.max(1, this.#compiled.length)));
    for (const expression of this.#compiled) {
      const { dfa } = expression.re2();
      dfa.stateBudget = share;
      dfa.memBudget = share;
    }
  }
}

function compile(source: string): RE2JS {
  try {
    return RE2JS.compile(source);
  } catch (error) {
    if (error instanceof RE2JSException) throw new BadExpression(`${error.message} (RE2 syntax)`, { cause: error });
    throw error;
  }
}

/**
 * About the instructions that `source` compiles to, seldom fewer: a repeated character or class counts as often as it
 * is repeated, a repeated group makes all of the expression count as often. A unit takes some 2 µs at most.
 */
export function weightOf(source: string): number {
  let weight = source.length;
  const isFolding = /\(\?[a-zA-Z-]*i/.test(source);
  let factor = 1;
  if (/\\p/i.test(source)) factor = isFolding ? FOLDED_CLASS_FACTOR : UNICODE_CLASS_FACTOR;
  for (const [, group, min, comma, max] of source.matchAll(/(\)?)\{(\d+)(,?)(\d*)\}/g)) {
    const times = comma !== "" && max === "" ? Number(min) + 1 : Math.max(Number(min), Number(max));
    if (group === "") weight += times;
    else factor *= Math.max(1, times);
  }
  if (isFolding) {
    for (const [, hex, character] of source.matchAll(/-(?:\\x\{([0-9a-fA-F]+)\}|([^\0-\x7f]))/gu)) {
      const last = hex === undefined ? character!.codePointAt(0)! : Number.parseInt(hex, 16);
      weight += last / FOLDED_PER_WEIGHT;
    }
  }
  return Math.ceil(weight * factor);
}
