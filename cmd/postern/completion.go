package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// scriptChanges are changes to the scripts of cobra, which take what begins as the word
// that is completed, letter by letter. The program has chosen already, and names
// are found by small letters and by words that are not the first.
var scriptChanges = map[string][]struct{ old, new string }{
	"bash": {
		{`compgen -W "${completions[*]}" -- "${cur}")`, `compgen -W "${completions[*]}")`},
		{`            COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]}")
        fi
        return 0
`, `            COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]}")
        else
            __postern_several
        fi
        return 0
`},
		{"__postern_handle_special_char()\n", severalInBash + "__postern_handle_special_char()\n"},
	},
	"zsh": {
		{`completions $flagPrefix $noSpace`, `completions $flagPrefix $noSpace -M "'m:{[:lower:][:upper:]}={[:upper:][:lower:]} l:|=* r:|=*'"`},
	},
}

// severalInBash puts in what several names have in common, in the quotes of the
// shell, as readline would do without them. Where that is not what was typed, a
// name that has nothing in common with others makes readline leave the word alone.
const severalInBash = `__postern_several() {
    local common=${COMPREPLY[0]} one nocase=-u
    for one in "${COMPREPLY[@]}"; do
        while [[ ${one:0:${#common}} != "$common" ]]; do common=${common%?}; done
    done
    [[ -n $common ]] && common=$(printf "%q" "$common")
    shopt -q nocasematch && nocase=-s
    shopt -s nocasematch
    if (( ${#COMPREPLY[@]} > 1 && ${#common} > ${#cur} )) && [[ ${common:0:${#cur}} == "$cur" ]]; then
        COMPREPLY=("$common")
        [[ $(type -t compopt) == builtin ]] && compopt -o nospace
    elif (( ${#COMPREPLY[@]} > 1 )); then
        COMPREPLY+=(" ")
    fi
    shopt $nocase nocasematch
}

`

// completeNames has the scripts of the shells offer all that the program does.
func (a *app) completeNames(completion *cobra.Command) {
	for _, c := range completion.Commands() {
		changes := scriptChanges[c.Name()]
		if len(changes) == 0 {
			continue
		}
		c.RunE = func(cmd *cobra.Command, _ []string) error {
			bare, err := cmd.Flags().GetBool("no-descriptions")
			if err != nil {
				return err
			}
			var script bytes.Buffer
			switch root := cmd.Root(); {
			case cmd.Name() == "bash":
				err = root.GenBashCompletionV2(&script, !bare)
			case bare:
				err = root.GenZshCompletionNoDesc(&script)
			default:
				err = root.GenZshCompletion(&script)
			}
			if err != nil {
				return err
			}
			text := script.String()
			for _, change := range changes {
				text = strings.ReplaceAll(text, change.old, change.new)
			}
			_, err = io.WriteString(a.stdout, text)
			return err
		}
	}
}
