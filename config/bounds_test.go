package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const boundsUpstream = "[upstream.office]\nhost = \"mail.example\"\n"

func repeated(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// However much is wrong, a page of it is told, and how much more there is.
func TestProblemsThatAreToldEndSomewhere(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		count int
		first string
	}{
		"routes to a missing upstream": {boundsUpstream + repeated(5000, "[[route]]\nfrom = [\"a%d@example.com\"]\nupstream = [\"offcie\"]\n"), 5000,
			`route[0].upstream[0]: there is no upstream "offcie" (did you mean "office"?)`},
		"unknown keys":         {boundsUpstream + "[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n" + repeated(5000, "k%d = 1\n"), 5000, "route[0].k0: unknown key"},
		"patterns":             {boundsUpstream + "[[route]]\nfrom = [" + repeated(5000, "\"a%d@@\",") + "]\nupstream = [\"office\"]\n", 5000, "route[0].from[0]: "},
		"an upstream repeated": {boundsUpstream + "[[route]]\nfrom = [\"*\"]\nupstream = [" + repeated(5001, "\"office\", #%d\n") + "]\n", 5000, "route[0].upstream[1]: "},
	} {
		_, err := Load(writeConfig(t, c.text))
		var problems *Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%s: %v", name, err)
		}
		if len(problems.List) != maxTold+1 || problems.Count() != c.count || !strings.Contains(problems.List[0].String(), c.first) {
			t.Errorf("%s: %d told of %d, first %s", name, len(problems.List), problems.Count(), problems.List[0])
		}
		if last := problems.List[maxTold].Text; last != fmt.Sprintf("and %d more problems", c.count-maxTold) {
			t.Errorf("%s: last %q", name, last)
		}
	}
}

func TestWarningsThatAreToldEndSomewhere(t *testing.T) {
	cfg, err := Load(writeConfig(t, boundsUpstream+"[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n"+repeated(3000, "[upstream.u%d]\nhost = \"mail.example\"\n")))
	if err != nil {
		t.Fatal(err)
	}
	if last := cfg.Warnings[len(cfg.Warnings)-1]; len(cfg.Warnings) != maxTold+1 || last.Text != "and 2800 more warnings" {
		t.Errorf("%d warnings, last %s", len(cfg.Warnings), last)
	}
}

// A hint that would name thousands names some of them.
func TestHintsNameSome(t *testing.T) {
	_, err := Load(writeConfig(t, repeated(3000, "[upstream.u%d]\nhost = \"mail.example\"\n")+"[[route]]\nfrom = [\"*\"]\nupstream = [\"somewhere\"]\n"))
	if text := err.Error(); len(text) > 1000 || !strings.Contains(text, "and 2980 more") {
		t.Errorf("%.2000s", text)
	}
}

// What would be kept for each key of such a text grows with the square of it.
func TestKeysThatAreRefused(t *testing.T) {
	long := strings.Repeat("k", 1<<20)
	for name, c := range map[string]struct{ text, want string }{
		"dotted":           {strings.Repeat("a.", 4000) + "a = 1\n", ":1: nests values more than 32 deep"},
		"dotted header":    {"x = 1\n[" + strings.Repeat("a.", 4000) + "a]\n", ":2: nests values more than 32 deep"},
		"dotted in tables": {"a" + strings.Repeat(".a", 20) + " = { b" + strings.Repeat(".b", 20) + " = 1 }\n", ":1: nests values more than 32 deep"},
		"long":             {"[" + long + "]\n" + repeated(80, "k%d = 1\n"), "has too many or too long keys"},
	} {
		_, err := Load(writeConfig(t, c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	doc := &document{file: "f"}
	doc.parse("a" + strings.Repeat(".a", 31) + " = { b = 1 }\n[" + strings.Repeat("c.", 31) + "c]\nd = 1\n")
	if len(doc.problems.list) > 0 {
		t.Errorf("32 deep: %v", doc.problems.list)
	}
}

func TestListenersHaveABound(t *testing.T) {
	_, err := Load(writeConfig(t, boundsUpstream+"[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n"+repeated(1001, "[[listener]]\naddress = \"127.0.0.1:%d\"\n# 1\n")))
	if err == nil || !strings.Contains(err.Error(), "listener[1000]: is one of 1001, and there can be 1000") {
		t.Errorf("%.500v", err)
	}
}

// A reader that has no other way to a daemon is told what is wrong with that
// way, whatever else is wrong.
func TestLocateBesideManyProblems(t *testing.T) {
	_, err := Locate(writeConfig(t, repeated(1000, "[[route]]\nname = \"${MISSING_%d}\"\n")+"[spool]\ndir = \"${MISSING_DIR}\"\n"))
	if err == nil || !strings.Contains(err.Error(), "MISSING_DIR") {
		t.Errorf("%.500v", err)
	}
}

// Routes that have to be compared with each other: where there are too many
// that is said, and nothing is looked at for minutes.
func TestGuardsThatAreTooMany(t *testing.T) {
	text := boundsUpstream +
		repeated(2500, "[[route]]\nfrom = [\"a%d@example.com\"]\nunix_user = [\"root\"]\nupstream = [\"office\"]\n") +
		repeated(2500, "[[route]]\nfrom = [\"b%d@example.com\"]\nupstream = [\"office\"]\n")
	cfg, err := Load(writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) != 2 || !strings.Contains(fmt.Sprint(cfg.Warnings), "too many routes, users and senders to compare") {
		t.Errorf("%v", cfg.Warnings)
	}
}
