// Options that may be given several times.

/** For an option that may be repeated: its values, in order. */
export function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
