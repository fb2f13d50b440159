// Parts of a script that bash and zsh write alike: how they find out where on the command line somebody is.
import type { CommandPlace } from "./command-tree.ts";

/** A word of a shell, whatever is in it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The walk over the words before the one to be completed: sets `command` and, behind an option that wants one, `value`. */
export function walkOf(places: readonly CommandPlace[], words: string): string {
  const paths = places.slice(1).map(({ path }) => quote(path));
  return `  for word in ${words}; do
    if [[ -n $value ]]; then
      [[ $word == '=' ]] || value=
      continue
    fi
    case $word in
      -*)
        case "$command $word" in
          ${valuePatterns(places).join(" | \\\n          ")}) value=$word ;;
        esac
        ;;
      *)
        case "$command $word" in
          ${paths.join(" | \\\n          ")}) command="$command $word" ;;
        esac
        ;;
    esac
  done`;
}

/** Options that want a value, as "sluice logs --level". */
function valuePatterns(places: readonly CommandPlace[]): string[] {
  return places.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .flatMap(({ flags }) => flags.map((flag) => quote(`${path} ${flag}`))),
  );
}

/** Cases "sluice logs --output": what the value of an option may be. */
export function valueCases(places: readonly CommandPlace[], write: (choices: readonly string[]) => string): string {
  const cases = places.flatMap(({ path, options }) =>
    options
      .filter(({ choices }) => choices.length > 0)
      .map(({ flags, choices }) => {
        const patterns = flags.map((flag) => quote(`${path} ${flag}`)).join(" | ");
        return `      ${patterns}) ${write(choices)} ;;`;
      }),
  );
  return cases.join("\n");
}

/** Cases "sluice logs": what there is of it. */
export function placeCases(places: readonly CommandPlace[], write: (place: CommandPlace) => readonly string[]): string {
  return places.map((place) => `    ${quote(place.path)})\n${lines(write(place))}\n      ;;`).join("\n");
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `      ${text}`).join("\n");
}
