package config

import (
	"strings"
	"testing"
)

// The route of the package, which captures what no other one takes, may come to
// nothing. Every other route that can never match is told, with the file.
func TestLastRouteThatCaptures(t *testing.T) {
	const all = "[[route]]\nname = \"all\"\nfrom = [\"*\"]\nupstream = [\"office\"]\n"
	const captures = "[upstream.capture]\nprovider = \"capture\"\n[[route]]\nname = \"capture\"\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"the package's":      {map[string]string{"50-all.toml": all, "zz.toml": captures + "from = [\"*\"]\nupstream = [\"capture\"]\n"}, ""},
		"behind the main":    {map[string]string{"zz.toml": captures + "from = [\"*@example.com\"]\nupstream = [\"capture\"]\n[[route]]\nname = \"b\"\nfrom = [\"a@example.com\"]\nupstream = [\"office\"]\n"}, `"b" can never match: "route 1" on line 5 of postern.toml`},
		"not the last":       {map[string]string{"50-all.toml": all, "yy.toml": captures + "from = [\"*\"]\nupstream = [\"capture\"]\n", "zz.toml": strings.Replace(all, `"all"`, `"more"`, 1)}, `"capture" can never match: "all" on line 1 of 50-all.toml`},
		"one file":           {map[string]string{"zz.toml": all + captures + "from = [\"*\"]\nupstream = [\"capture\"]\n"}, `"capture" can never match`},
		"would be delivered": {map[string]string{"50-all.toml": all, "zz.toml": captures + "from = [\"*@test.example\"]\nupstream = [\"capture\"]\n"}, `"capture" can never match`},
		"would be captured":  {map[string]string{"50.toml": captures + "from = [\"*\"]\nupstream = [\"capture\"]\n", "zz.toml": all}, `"all" can never match`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(further(t, "postern.toml", furtherMain, c.files))
			if err != nil {
				t.Fatal(err)
			}
			told := ""
			for _, w := range cfg.Warnings {
				if strings.Contains(w.Text, "can never match") {
					told += w.String() + "\n"
				}
			}
			if c.want == "" && told != "" || !strings.Contains(told, c.want) {
				t.Errorf("%q, want %q", told, c.want)
			}
		})
	}
}
