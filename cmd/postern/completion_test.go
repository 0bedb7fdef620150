//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completionLibrary is what the script for bash needs.
const completionLibrary = "/usr/share/bash-completion/bash_completion"

// completionScript has the script of a shell written, and returns its path.
func completionScript(t *testing.T, shell string) string {
	t.Helper()
	r := perform(t, "", "completion", shell)
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(r.stdout), 0o600); r.code != exitOK || !strings.Contains(r.stdout, "postern") || err != nil {
		t.Fatal(r.stderr, err)
	}
	return path
}

// The shells can read their scripts.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(err)
			}
			if out, err := exec.Command(path, "-n", completionScript(t, shell)).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// bash, asked as it is by the Tab key, offers commands, flags and arguments.
func TestCompletionInBash(t *testing.T) {
	bash, library := needed(t, "bash"), completionLibrary
	if _, err := os.Stat(library); err != nil {
		if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	script := completionScript(t, "bash")
	for line, want := range map[string][]string{
		"postern qu":              {"queue"},
		"postern queue re":        {"release", "remove", "retry"},
		"postern queue list --up": {"--upstream"},
		"postern import n":        {"nullmailer"},
		"postern bogus ":          {},
	} {
		words := strings.Split(line, " ")
		const driver = `
source "$1"; source "$2"; shift 2
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
complete -p postern >/dev/null || exit 3
function=$(complete -p postern); function=${function##*-F }; function=${function%% *}
compopt() { :; }
"$function" postern "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.Command(bash, slices.Concat([]string{"--norc", "-c", driver, "driver", library, script, line}, words)...)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		got := []string{}
		for _, offer := range strings.Split(string(out), "\n") {
			if word, _, _ := strings.Cut(strings.TrimSpace(offer), " "); word != "" {
				got = append(got, word)
			}
		}
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q (%v)", line, got, want, err)
		}
	}
}

// TestNamesInFish has fish complete names as the Tab key does: those with blanks
// and signs of the shell come in one word.
func TestNamesInFish(t *testing.T) {
	fish := needed(t, "fish")
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, strings.Replace(capturing, "ADDR", "127.0.0.1:1", 1)+"[book.team]\nprovider = \"vcards\"\ndir = \"DIR/book\"\n")
	h.must("book", "add", "--name", "O'Brien (Bob) $HOME", "--email", "bob@example.com", "--group", "Field north")
	for line, want := range map[string]string{
		"postern book show --config " + h.config + " O":          "O'Brien (Bob) $HOME\n",
		"postern book show --config " + h.config + " bob":        "bob@example.com\n",
		"postern send --config " + h.config + " --to group:f":    "group:Field north\n",
		"postern send --config " + h.config + " --cc nobody-has": "",
	} {
		cmd := exec.Command(fish, "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, completionScript(t, "fish"), line)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+h.dir)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%q: %q %v, want %q", line, out, err, want)
		}
	}
}

// The scripts of cobra are changed in places that are there.
func TestScriptsAreChanged(t *testing.T) {
	for shell, changes := range scriptChanges {
		script, err := os.ReadFile(completionScript(t, shell))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if !strings.Contains(string(script), c.new) {
				t.Errorf("%s: no longer there: %s", shell, c.old)
			}
		}
	}
}
