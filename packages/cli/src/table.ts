// Rows as a table for people: columns as wide as they need, numbers to the right.

/**
 * One line per row, each ending in a newline.
 * @param rows of equal length; the first one is the header
 * @param numeric places of the columns that are aligned to the right
 */
export function formatTable(rows: readonly (readonly string[])[], numeric: readonly number[]): string {
  const [header = []] = rows;
  const widths = header.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const cellOf = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return numeric.includes(column) ? cell.padStart(width) : cell.padEnd(width);
  };
  return rows.map((row) => `${row.map(cellOf).join("  ").trimEnd()}\n`).join("");
}
