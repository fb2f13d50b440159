// The completion of fish.
import type { CommandPlace, CompletedOption } from "./command-tree.ts";

export function fishScript(places: readonly CommandPlace[]): string {
  const paths = places.slice(1).map(({ path }) => quote(path));
  const values = places.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .flatMap(({ flags }) => flags.map((flag) => quote(`${path} ${flag}`))),
  );
  return `# Completion of sluice for fish. Load it with: sluice completion fish | source
function __sluice_at
    set -l command sluice
    set -l value
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$value"
            set value
            continue
        end
        if string match -q -- '-*' $word
            contains -- "$command $word" ${values.join(" ")}
            and set value $word
        else if contains -- "$command $word" ${paths.join(" ")}
            set command "$command $word"
        end
    end
    test "$command" = "$argv[1]"
end
${places.flatMap(linesOf).join("\n")}
`;
}

function linesOf({ path, commands, options, choices }: CommandPlace): string[] {
  const at = `complete -c sluice -n ${quote(`__sluice_at ${quote(path)}`)}`;
  const words = [...commands, ...choices.map((name) => ({ name, text: "" }))];
  return [
    ...words.map(({ name, text }) => `${at} -f -a ${quote(name)}${text === "" ? "" : ` -d ${quote(text)}`}`),
    ...options.map((option) => `${at}${flagsOf(option)}${valueOf(option)} -d ${quote(option.text)}`),
  ];
}

function flagsOf({ flags }: CompletedOption): string {
  return flags.map((flag) => (flag.startsWith("--") ? ` -l ${flag.slice(2)}` : ` -s ${flag.slice(1)}`)).join("");
}

function valueOf({ takesValue, choices }: CompletedOption): string {
  if (choices.length > 0) return ` -x -a ${quote(choices.join(" "))}`;
  return takesValue ? " -r" : "";
}

/** A word of fish: within single quotes only the quote and the backslash mean something. */
function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
