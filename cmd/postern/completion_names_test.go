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
	"postern book remove --config CONFIG \u00c4":   "Ärger & Söhne; \"GmbH\"",
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
	h.must("book", "add", "--name", "Anna", "--email", "anna@example.com")
	return h, append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+h.dir, "LC_ALL=C.UTF-8", "TERM=dumb")
}

// typed has a shell read a line at its prompt, in a terminal of its own, complete
// the last word by the Tab key and carry the line out, and returns that word.
func typed(t *testing.T, h *harness, env []string, shell, setup, line string) string {
	t.Helper()
	const driver = `
zmodload zsh/zpty || exit 3
zpty prompt "${(@)argv[6,-1]}"
zpty -w prompt "postern() { if [ \"\$1\" = __complete ]; then command postern \"\$@\"; else for last; do :; done; printf %s \"\$last\" >$1; exit; fi }; out=$1; library=$2; script=$3; $4; echo >$1.ready"
while [[ ! -s $1.ready ]]; do zpty -r -t prompt said || sleep 0.01; done
zpty -n -w prompt "$5"$'\t\n'
while zpty -r prompt said 2>/dev/null; do :; done`
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"-f", "-c", driver, "driver", out, completionLibrary, completionScript(t, shell), setup, strings.Replace(line, "CONFIG", h.config, 1), needed(t, shell)}
	if shell == "zsh" {
		args = append(args, "-f", "-i")
	} else {
		args = append(args, "--norc", "--noprofile", "-i")
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, needed(t, "zsh"), args...)
	cmd.Env, cmd.Dir = env, h.dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %q: %v\n%s", shell, line, err, said)
	}
	word, err := os.ReadFile(out)
	if err != nil {
		t.Error(err)
	}
	return string(word)
}

// What bash and zsh make of names at their prompts, with blanks and signs of their
// own, is the name as it is looked up.
func TestNamesAtPrompts(t *testing.T) {
	if _, err := os.Stat(completionLibrary); err != nil && os.Getenv("POSTERN_REQUIRE_INTEROP") == "" {
		t.Skip(err)
	}
	for shell, setup := range map[string]string{
		"zsh":  "unsetopt prompt_cr prompt_sp; autoload -Uz compinit && compinit -u -D; source $script",
		"bash": "source $library; source $script",
	} {
		t.Run(shell, func(t *testing.T) {
			needed(t, shell)
			needed(t, "zsh")
			h, env := quotable(t)
			// Two begin so, in letters of their own: bash leaves the word alone.
			several := map[string]string{"bash": "ANN", "zsh": "Anna"}[shell]
			if got := typed(t, h, env, shell, setup, "postern send --config CONFIG --to ANN"); got != several {
				t.Errorf("several: %q, want %q", got, several)
			}
			for line, want := range offered {
				if got := typed(t, h, env, shell, setup, line); got != want {
					t.Errorf("%q: %q, want %q", line, got, want)
				}
			}
			unharmed(t, h)
		})
	}
}
