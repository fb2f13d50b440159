// Values with a few digits behind the point, as whole numbers: 12.34 seconds of a CPU change all bits of a double with each
// hundredth, 1234 only the last ones.
//
// F1. Exact: a value is told by a whole number only if the division gives the same double again.

/** By what values are multiplied; the first one stands for values as they are. Hundredths, milliseconds, microseconds. */
const FACTORS = [1, 100, 1000, 1_000_000] as const;
/** No factor makes whole numbers of the values. */
export const NO_SCALE = FACTORS.length;

export function scaled(value: number, scale: number): number {
  return scale === 0 ? value : Math.round(value * FACTORS[scale]!);
}

export function unscaled(value: number, scale: number): number {
  return scale === 0 ? value : value / FACTORS[scale]!;
}

/** The first scale from `scale` on that fits a value; NO_SCALE: none does. */
export function scaleOf(value: number, scale: number): number {
  for (let each = scale; each < NO_SCALE; each++) if (fits(value, each)) return each;
  return NO_SCALE;
}

/** F1. */
export function fits(value: number, scale: number): boolean {
  if (scale === 0) return Number.isInteger(value);
  const whole = scaled(value, scale);
  return Math.abs(whole) <= Number.MAX_SAFE_INTEGER && unscaled(whole, scale) === value;
}
