// The Range field of HTTP (https://www.rfc-editor.org/rfc/rfc9110#section-14), for bytes.

/** Bytes start..end of a file, end exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Ranges of one request. More are no reading of parts but an attack: each costs a read and a header. */
const RANGES_MAX = 64;

/**
 * What a Range field asks of a file of so many bytes: the ranges that it can have, in the order in which they were asked
 * for; "unsatisfiable" when none; undefined when there is no field, or none that is understood: then all is answered.
 */
export function parseRange(
  field: string | undefined,
  size: number,
): readonly ByteRange[] | "unsatisfiable" | undefined {
  const [, list] = /^\s*bytes\s*=(.*)$/iu.exec(field ?? "") ?? [];
  if (list === undefined) return undefined;
  const specs = list
    .split(",")
    .map((spec) => spec.trim())
    .filter((spec) => spec !== "");
  if (specs.length === 0 || specs.length > RANGES_MAX) return undefined;
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const { first = "", last = "" } = /^(?<first>\d*)-(?<last>\d*)$/u.exec(spec)?.groups ?? {};
    if (first === "" && last === "") return undefined;
    if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
    // "-n": the last n bytes.
    const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
    const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
    if (start < end) ranges.push({ start, end });
  }
  if (ranges.length === 0) return "unsatisfiable";
  // Ranges that overlap so much that they are more than the file are answered by the file.
  const total = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  return total > size && ranges.length > 1 ? undefined : ranges;
}
