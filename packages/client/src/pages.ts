// Lists that come a page at a time.

/** The rows of page after page, to the last, each read when the reader has taken the one before. */
export async function* pages<T>(
  read: (pageToken: string) => Promise<{ readonly rows: readonly T[]; readonly next: string }>,
): AsyncGenerator<T> {
  let token = "";
  do {
    const { rows, next } = await read(token);
    yield* rows;
    token = next;
  } while (token !== "");
}
