package main

import (
	"bytes"
	_ "embed"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// scriptChanges are changes to the scripts of cobra, which take what begins as the word
// that is completed, letter by letter, and a word in quotes only when they are
// closed. The program has chosen already, and names are found by small letters and
// by words that are not the first.
var scriptChanges = map[string][]struct{ old, new string }{
	"bash": {
		{"    local cur prev words cword split\n", "    local cur prev words cword split open=\n"},
		{`init_completion -n =: ||`, `init_completion -n =:@ ||`},
		{"    # Use eval to handle any environment variables and such\n", "    __postern_open\n    # Use eval to handle any environment variables and such\n"},
		{`compgen -W "${completions[*]}" -- "${cur}")`, `compgen -W "${completions[*]}")`},
		{`        IFS=$'\n' read -ra COMPREPLY -d '' < <(printf "%q\n" "${COMPREPLY[@]}")
        ;;
`, `        local i
        for i in ${!COMPREPLY[*]}; do
            __postern_quoted "${COMPREPLY[i]}"
            COMPREPLY[i]=$REPLY
        done
        ;;
`},
		{`            COMPREPLY[0]=$(printf "%q" "${COMPREPLY[0]}")
        fi
        return 0
`, `            __postern_quoted "${COMPREPLY[0]}"
            COMPREPLY[0]=$REPLY
        else
            __postern_several
        fi
        return 0
`},
		{`    __postern_handle_special_char "$cur" :
    __postern_handle_special_char "$cur" =
`, "    __postern_unbroken\n"},
		{"__postern_handle_special_char()\n", namesInBash + "__postern_handle_special_char()\n"},
	},
	"zsh": {
		{`    words=("${=words[1,CURRENT]}")
`, `    local before="${words[2,CURRENT-1]}"
    words=("${=words[1,CURRENT]}")
`},
		{`    __postern_debug "About to call: eval ${requestComp}"
`, `    # A word with a quote that is not closed is taken as it stands.
    case ${compstate[quote]} in
    \") requestComp="${words[1]} __complete ${before} ${(q)${(Q):-\"${PREFIX}\"}}" ;;
    \') requestComp="${words[1]} __complete ${before} ${(q)PREFIX}" ;;
    esac

    __postern_debug "About to call: eval ${requestComp}"
`},
		{`        if eval _describe $keepOrder "completions" completions $flagPrefix $noSpace; then
`, `        # What zsh takes for the same letter in capitals is of ASCII alone. Where it
        # finds nobody, all that the program offers is taken. Names that have not even
        # their first letter in common are listed: nothing would be left of the word.
        local one first=${completions[1][1]} alike=yes same=yes
        for one in "${completions[@]}"; do
            [[ ${one[1]} = "$first" ]] || same=
            [[ ${(L)one[1]} = "${(L)first}" ]] || alike=
        done
        [[ -z $alike && $compstate[insert] = *unambiguous ]] && compstate[insert]=
        if eval _describe $keepOrder "completions" completions $flagPrefix $noSpace -M "'m:{[:lower:][:upper:]}={[:upper:][:lower:]} l:|=* r:|=*'" ||
            { [[ -n $same || $compstate[insert] != *unambiguous ]] || compstate[insert]=; eval _describe $keepOrder "completions" completions $flagPrefix $noSpace -U }; then
`},
	},
	"fish": {
		{`    set -l lastArg (string escape -- (commandline -ct))
`, `    # Without its quotes and backslashes, also where a quote is not closed.
    set -l token (commandline -ct)
    set -l plain (string unescape -- $token; or string unescape -- $token\"; or string unescape -- $token\'; or printf %s $token)
    set -l lastArg (string escape -- "$plain")
`},
	},
}

// namesInBash has names stand at the prompt in the quotes that were begun, or else
// with backslashes, as readline would do without them.
//
//go:embed completion.bash
var namesInBash string

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
			case cmd.Name() == "fish":
				err = root.GenFishCompletion(&script, !bare)
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
