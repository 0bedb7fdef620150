package main

import (
	"regexp"
	"slices"
	"strings"

	"postern/cmd/definition"
	"postern/config"
)

// inFlags makes findings about the file of this definition speak of the flags of
// the command. Whoever has typed these has not seen the file, which may be gone
// by then. Findings about other files stay as they are.
func (d *define) inFlags(file string, list []config.Problem) []config.Problem {
	list = slices.Clone(list)
	for i := range list {
		if p := &list[i]; p.File == file {
			*p = d.spoken(p)
		}
	}
	return list
}

// spoken is one finding in the words of the command.
func (d *define) spoken(p *config.Problem) config.Problem {
	name := d.cmd.Flags().Arg(0)
	key := strings.TrimPrefix(p.Key, string(d.kind)+"."+name)
	if rest, ok := strings.CutPrefix(key, string(d.kind)+"["); ok {
		_, key, _ = strings.Cut(rest, "]")
	}
	key, _, _ = strings.Cut(strings.TrimPrefix(key, "."), "[")
	inner, _, nested := strings.Cut(key, ".")
	if !nested {
		inner = ""
	}
	out := config.Problem{Key: string(d.kind) + " " + name, Text: d.flagged(p.Text, inner), Hint: d.flagged(p.Hint, inner)}
	if flag := d.flagFor(key); flag != "" {
		out.Key = flag
	}
	if d.kind == definition.Upstream && key == "" && strings.HasPrefix(p.Text, "no route leads") {
		from := "*@example.com"
		if f := d.cmd.Flags().Lookup("username"); f != nil && strings.Contains(f.Value.String(), "@") {
			from = f.Value.String()
		}
		out.Hint = "this makes one: postern route add " + shellWord(name) + " --from " + shellWord(from) + " --upstream " + shellWord(name)
	}
	return out
}

// flagFor is the flag that sets a key; empty: there is none.
func (d *define) flagFor(key string) string {
	if d.files[key] != nil {
		key += "_file"
	}
	if key == "" || d.cmd.Flags().Lookup(flagOf(key)) == nil {
		return ""
	}
	return "--" + flagOf(key)
}

// inWords puts what flags can say where a text lists ways of the file, in words
// that are no keys.
var inWords = strings.NewReplacer(
	"password_file, password_command, password_env, password_credential, password", "password_file, password_env and password_credential",
	"url, alertmanager, command and mail", "--url-file, --alertmanager, and --mail-to with --mail-upstream",
	"both username and", "both --username and",
	"or file for", "or --file for",
	"move it up, or remove it", "--before or --first asks it earlier, but not before what stands in postern.toml",
	"write an [[alert]] of its own for each", "add an alert of its own for each",
)

var (
	oauthTable = regexp.MustCompile(`an? \[[^\]]+\.oauth\] table`)
	assignment = regexp.MustCompile(`\b([a-z0-9_.]+) = ("[^"]*"|\[[^\]]*\]|[0-9]+|true|false)`)
	afterSet   = regexp.MustCompile(`\b(set|and|or) ([a-z0-9_]+)\b`)
	aSecret    = regexp.MustCompile(`\b(and|or) a password\b`)
	aKey       = regexp.MustCompile(`\b[a-z0-9]+(_[a-z0-9]+)+\b`)
)

// flagged puts flags where a text has keys of TOML; inner is the table that it
// is about, empty: that of the definition.
func (d *define) flagged(text, inner string) string {
	flag := func(key string) string {
		if inner != "" {
			if f := d.flagFor(inner + "." + key); f != "" {
				return f
			}
		}
		return d.flagFor(key)
	}
	text = inWords.Replace(text)
	text = aSecret.ReplaceAllString(text, "$1 password_file")
	text = oauthTable.ReplaceAllString(text, "the flags --oauth-flow and --oauth-client-id, and what else docs/oauth.md says of your provider")
	text = assignment.ReplaceAllStringFunc(text, func(found string) string {
		key, value, _ := strings.Cut(found, " = ")
		f := flag(key)
		if f == "" {
			return found
		}
		var each []string
		for one := range strings.SplitSeq(strings.Trim(value, "[]"), ", ") {
			each = append(each, f+" "+shellWord(strings.Trim(one, `"`)))
		}
		return strings.Join(each, " ")
	})
	text = afterSet.ReplaceAllStringFunc(text, func(found string) string {
		word, key, _ := strings.Cut(found, " ")
		// "and a password" names no key, "set username" does.
		if f := flag(key); f != "" && (word == "set" || strings.Contains(key, "_")) {
			return word + " " + f
		}
		return found
	})
	return aKey.ReplaceAllStringFunc(text, func(key string) string {
		if f := flag(key); f != "" {
			return f
		}
		return key
	})
}

// shellWord is a word as a shell takes it.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("@%+=:,./-_", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
