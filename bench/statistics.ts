// What is said of a handful of samples. Medians, because a run that the machine disturbed must not move the figure.

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** @throws RangeError when there is no sample, or one that is no finite number. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError("Cannot summarize: there are no samples");
  const broken = samples.find((sample) => !Number.isFinite(sample));
  if (broken !== undefined) throw new RangeError(`Cannot summarize ${broken}: a sample must be a finite number`);
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { median, min: at(0), max: at(sorted.length - 1) };
}

/** Rounds to four significant digits: more would claim a precision that no run on a shared machine has. */
export function roundFigure(value: number): number {
  return value === 0 ? 0 : Number(value.toPrecision(4));
}
