//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// offered are lines of a prompt whose last word is begun, and what the Tab key
// makes of that word: what the command is given then.
var offered = map[string]string{
	"postern book show --config CONFIG O":          "O'Brien (Bob) $HOME",
	"postern book show --config CONFIG bob":        "bob@example.com",
	"postern send --config CONFIG --to group:F":    "group:Field north",
	"postern send --config CONFIG --to group:f":    "group:Field north",
	"postern book show --config CONFIG o":          "O'Brien (Bob) $HOME",
	"postern send --config CONFIG --to lee":        "Alice Lee", // by a word that is not the first
	"postern send --config CONFIG --to zo":         "Zoë ",      // what two have in common
	"postern send --config CONFIG --cc bobb":       "bobby",
	"postern send --config CONFIG --to Quo":        commands,
	"postern send --config CONFIG --cc nobody-has": "nobody-has",
	`postern send --config CONFIG --to "Alice L`:   "Alice Lee", // quotes that are not closed
	`postern send --config CONFIG --to 'alice l`:   "Alice Lee",
	`postern send --config CONFIG --to alice\ l`:   "Alice Lee",
	`postern book show --config CONFIG "o`:         "O'Brien (Bob) $HOME",
	`postern book show --config CONFIG 'O`:         "O'Brien (Bob) $HOME",
	"postern book show --config CONFIG 'Är":        "Ärger & Söhne; \"GmbH\"",
	`postern send --config CONFIG --to "group:f`:   "group:Field north",
	"postern send --config CONFIG --to Anna@e":     "anna@example.com", // signs at which bash parts words
	`postern send --config CONFIG --to "Anna@e`:    "anna@example.com",
	"postern book remove --config CONFIG \u00c4":   "Ärger & Söhne; \"GmbH\"",
	"postern book show --config CONFIG är":         "Ärger & Söhne; \"GmbH\"", // small letters beyond ASCII
	"postern book show --config CONFIG 'äR":        "Ärger & Söhne; \"GmbH\"",
	"postern send --config CONFIG --to émi":        "Émile ",
	"postern send --config CONFIG --to ZOË\\ N":    "Zoë North",
	`postern send --config CONFIG --to "nie`:       "Eva Niece", // in quotes, by a word that is not the first
	`postern send --config CONFIG --to 'nie`:       "Eva Niece",
	`postern send --config CONFIG --to "söd`:       "Eva Södergran",
	`postern send --config CONFIG --to 'söd`:       "Eva Södergran",
	"postern send --config CONFIG --to söd":        "Eva Södergran",
	`postern book show --config CONFIG 'söhn`:      "Ärger & Söhne; \"GmbH\"",
	`postern send --config CONFIG --to "öz`:        "öz|#", // two with nothing in common: quotes stay open
	`postern send --config CONFIG --to 'öz`:        "öz|#",
	"postern send --config CONFIG --to öz":         "öz",
	`postern send --config CONFIG --to "wor`:       "wor|#",
	`postern send --config CONFIG --to 'wor`:       "wor|#",
	"postern send --config CONFIG --to wor":        "wor",
}

// commands is a name that a shell would carry out, if it looked at it twice.
const commands = "Quote `touch pwned` $(touch pwned); <(touch pwned) {a,b} *"

// unharmed tells of a name that was carried out.
func unharmed(t *testing.T, h *harness) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(h.dir, "pwned")); err == nil {
		t.Error("a name was carried out")
	}
}

// quotable is a harness with a book of names that shells have to quote, and the
// environment in which the shells find it.
func quotable(t *testing.T) (*harness, []string) {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n")
	h.must("book", "add", "--name", "O'Brien (Bob) $HOME", "--email", "bob@example.com", "--nickname", "bobby", "--group", "Field north")
	h.must("book", "add", "--name", "Ärger & Söhne; \"GmbH\"", "--email", "info@example.com")
	h.must("book", "add", "--name", "Alice Lee", "--email", "x@example.com", "--nickname", "Zz")
	h.must("book", "add", "--name", "Zoë North", "--email", "1@example.com")
	h.must("book", "add", "--name", "Zoë South", "--email", "2@example.com")
	h.must("book", "add", "--name", commands, "--email", "q@example.com")
	h.must("book", "add", "--name", "Émile Zola", "--email", "3@example.com")
	h.must("book", "add", "--name", "Émile Durkheim", "--email", "4@example.com")
	h.must("book", "add", "--name", "Eva Niece", "--email", "5@example.com")
	h.must("book", "add", "--name", "Eva Södergran", "--email", "6@example.com")
	h.must("book", "add", "--name", "Ida Özil", "--email", "7@example.com")
	h.must("book", "add", "--name", "Max Öztürk", "--email", "8@example.com")
	h.must("book", "add", "--name", "Max Worth", "--email", "9@example.com")
	h.must("book", "add", "--name", "Ida Worth", "--email", "10@example.com")
	h.must("book", "add", "--name", "Anna", "--email", "anna@example.com")
	return h, append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+h.dir, "LC_ALL=C.UTF-8", "TERM=dumb")
}

// prompts are how shells are started, and told to keep what the command is given.
var prompts = map[string]struct {
	options []string
	setup   string
	several string // what becomes of ANN, with which two begin, in letters of their own
}{
	"zsh":  {[]string{"-f", "-i"}, "unsetopt prompt_cr prompt_sp; setopt interactive_comments; autoload -Uz compinit && compinit -u -D; source SCRIPT; " + keepsWord, "Anna"},
	"bash": {[]string{"--norc", "--noprofile", "-i"}, "source LIBRARY; source SCRIPT; " + keepsWord, "ANN"},
	"fish": {[]string{"--no-config", "-i"}, `source SCRIPT; function postern; if test "$argv[1]" = __complete; command postern $argv; else; string replace -a \n "|" -- "$argv[-1]" >>OUT; end; end`, "ANN"},
}

const keepsWord = `newline=$'\n'; postern() { if [ "$1" = __complete ]; then command postern "$@"; else for last; do :; done; printf "%s\\n" "${last//$newline/|}" >>OUT; fi }`

// typed has a shell read lines at its prompt, in a terminal of its own, complete
// the last word of each by the Tab key and carry the line out, and returns these
// words.
func typed(t *testing.T, h *harness, env []string, shell string, lines []string) []string {
	t.Helper()
	const driver = `
zmodload zsh/zpty || exit 3
zpty prompt "${(@)argv[4,-1]}"
zpty -w prompt "$2; echo >$1"
while [[ ! -s $1 ]]; do zpty -r -t prompt said || sleep 0.01; done
n=1
for line in "${(@f)3}"; do
	# A quote that is still open is closed by a line that is else a comment.
	quote=${line//[^\'\"]/}
	zpty -n -w prompt "$line"$'\t\n'${quote:+"#$quote"$'\n'}
	(( n++ ))
	while (( $(wc -l <$1) < n )); do
		zpty -r -t prompt said && print -rn -- "$said" || sleep 0.01
	done
done
zpty -d prompt`
	out := filepath.Join(t.TempDir(), "out")
	p := prompts[shell]
	setup := strings.NewReplacer("OUT", out, "SCRIPT", completionScript(t, shell), "LIBRARY", completionLibrary).Replace(p.setup)
	all := strings.ReplaceAll(strings.Join(lines, "\n"), "CONFIG", h.config)
	args := append([]string{"-f", "-c", driver, "driver", out, setup, all, needed(t, shell)}, p.options...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, needed(t, "zsh"), args...)
	cmd.Env, cmd.Dir = env, h.dir
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", shell, err, said[max(0, len(said)-2000):])
	}
	words, err := os.ReadFile(out)
	if err != nil {
		t.Error(err)
	}
	return strings.Split(string(words), "\n")[1:]
}

// What shells make of names at their prompts, with blanks and signs of their own,
// in quotes and without, is the name as it is looked up.
func TestNamesAtPrompts(t *testing.T) {
	if _, err := os.Stat(completionLibrary); err != nil && os.Getenv("POSTERN_REQUIRE_INTEROP") == "" {
		t.Skip(err)
	}
	h, env := quotable(t)
	for shell, p := range prompts {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			needed(t, shell)
			needed(t, "zsh")
			lines, want := []string{"postern send --config CONFIG --to ANN"}, []string{p.several}
			for line, word := range offered {
				lines, want = append(lines, line), append(want, word)
			}
			got := typed(t, h, env, shell, lines)
			for i := range lines {
				if i >= len(got) || got[i] != want[i] {
					t.Errorf("%q: %q, want %q", lines[i], got[min(i, len(got)-1)], want[i])
				}
			}
			unharmed(t, h)
		})
	}
}
