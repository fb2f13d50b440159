// The completion of zsh: as a file `_sluice` in a folder of `fpath`, or sourced.
import type { CommandPlace } from "./command-tree.ts";
import { placeCases, quote, valueCases, walkOf } from "./shell-cases.ts";

export function zshScript(places: readonly CommandPlace[]): string {
  return `#compdef sluice
# Completion of sluice for zsh. Load it with: source <(sluice completion zsh)
_sluice() {
  local command=sluice value= word
  local -a choices options commands
${walkOf(places, '"${(@)words[2,CURRENT-1]}"')}
  if [[ -z $value && $PREFIX == --*=* ]]; then
    value=\${PREFIX%%=*}
    compset -P '*='
  fi
  if [[ -n $value ]]; then
    case "$command $value" in
${valueCases(places, (choices) => `choices=(${choices.map(quote).join(" ")})`)}
    esac
    if (( $#choices )); then compadd -a choices; else _files; fi
    return
  fi
  case $command in
${placeCases(places, ({ commands, options, choices }) => [
  `commands=(${[...commands.map(({ name, text }) => described(name, text)), ...choices.map(quote)].join(" ")})`,
  `options=(${options.flatMap(({ flags, text }) => flags.map((flag) => described(flag, text))).join(" ")})`,
])}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe -o option options
  elif (( $#commands )); then
    _describe command commands
  else
    _files
  fi
}
if [[ $funcstack[1] == _sluice ]]; then _sluice "$@"; else compdef _sluice sluice; fi
`;
}

function described(word: string, text: string): string {
  return quote(`${word.replaceAll(":", "\\:")}:${text}`);
}
