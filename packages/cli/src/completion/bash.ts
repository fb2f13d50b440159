// The completion of bash. Where a word may be anything, bash goes on as without it: with files.
import type { CommandPlace } from "./command-tree.ts";
import { placeCases, quote, valueCases, walkOf } from "./shell-cases.ts";

export function bashScript(places: readonly CommandPlace[]): string {
  const words = (list: readonly string[]) => quote(list.join(" "));
  return `# Completion of sluice for bash. Load it with: source <(sluice completion bash)
_sluice() {
  local current=\${COMP_WORDS[COMP_CWORD]} command=sluice value= word words= options= commands=
${walkOf(places, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"')}
  COMPREPLY=()
  if [[ -n $value ]]; then
    # --option=value comes as three words.
    [[ $current == '=' ]] && current=
    case "$command $value" in
${valueCases(places, (choices) => `words=${words(choices)}`)}
    esac
    [[ -n $words ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
    return
  fi
  case $command in
${placeCases(places, ({ commands, options, choices }) => [
  `commands=${words([...commands.map(({ name }) => name), ...choices])}`,
  `options=${words(options.flatMap(({ flags }) => flags))}`,
])}
  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ -n $commands ]]; then
    COMPREPLY=($(compgen -W "$commands" -- "$current"))
  fi
}
complete -o default -F _sluice sluice
`;
}
