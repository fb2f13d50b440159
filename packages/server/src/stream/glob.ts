// Patterns of names (applications, metrics): `*` stands for any characters, also none, `?` for one, everything else for itself.

/** Whether the whole of `text` is what `pattern` says. Takes time in proportion to the product of their lengths at worst. */
export function matchesGlob(pattern: string, text: string): boolean {
  let at = 0;
  let place = 0;
  /** Behind the last `*`, and where in the text it was tried last. */
  let star = -1;
  let tried = 0;
  while (place < text.length) {
    if (at < pattern.length && pattern[at] === "*") {
      star = ++at;
      tried = place;
    } else if (at < pattern.length && (pattern[at] === "?" || pattern[at] === text[place])) {
      at++;
      place++;
    } else if (star >= 0) {
      // The `*` takes one character more.
      at = star;
      place = ++tried;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
