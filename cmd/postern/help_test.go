package main

import "testing"

// A word that names no command is a usage error, also after help and
// completion.
func TestHelpAndCompletionOfNothing(t *testing.T) {
	for want, lines := range map[int][][]string{
		exitUsage: {{"help", "bogus"}, {"help", "queue", "bogus"}, {"completion", "bogus"}},
		exitOK:    {{"help"}, {"help", "queue", "list"}, {"completion"}, {"completion", "bash"}},
	} {
		for _, args := range lines {
			if r := perform(t, "", args...); r.code != want {
				t.Errorf("%v: exit %d, want %d; %s", args, r.code, want, r.stderr)
			}
		}
	}
}
