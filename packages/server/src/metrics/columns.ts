// Columns: typed arrays in which a row is an index.

/** The column with room for more. */
export function grown<T extends { set(from: T): void }>(column: T, larger: T): T {
  larger.set(column);
  return larger;
}
