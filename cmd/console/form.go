package console

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"postern/cmd/definition"
	"postern/config"
	"postern/config/wire"
)

// formed is the form of one definition, made from the description of the keys.
type formed struct {
	Kind     definition.Kind
	Name     string
	Edit     bool
	Seen     string // definition.Stored.Digest; empty: it is new
	Groups   []fields
	Problems []string
	Others   []string // keys that are set and that the form leaves as they are
	Places   []spot   // where a new route may stand; empty: it is no question
}

// fields are a part of a form.
type fields struct {
	Title  string // empty: those at the top
	Open   bool   // something in it is set
	Fields []field
}

// field is one key.
type field struct {
	Key     string // its path in the table
	ID      string // of the input, and its name
	Help    string
	Default string // in words
	As      string // "text", "number", "choice", "list", "secret"
	Choices []string
	Value   string // never that of a secret
	Kept    bool   // a secret that is there already
	Problem string
}

const (
	valuePrefix  = "v."
	secretPrefix = "s."
	maxListed    = 500 // values of one list
)

// firstKeys are those that most definitions need; the others stand behind them.
var firstKeys = map[definition.Kind][]string{
	definition.Upstream: {"provider", "region", "host", "port", "tls", "auth", "username", "password"},
	definition.Route:    {"from", "to", "upstream", "reject", "expect"},
	definition.Book:     {"provider", "url", "username", "password"},
	definition.Alert:    {"url", "alertmanager", "username", "password", "mail.to", "mail.upstream", "severity"},
}

// formKeys are the keys that a form has. Files, variables and credentials of the
// machine are for those who may look into it: with them, whoever has the role
// could have a secret of another definition sent to a server of their own.
func formKeys(kind definition.Kind) []config.Setting {
	return slices.DeleteFunc(definition.Keys(kind), func(s config.Setting) bool {
		return s.Kind == "path" || !s.Secret && (strings.HasSuffix(s.Name, "_env") || strings.HasSuffix(s.Name, "_credential"))
	})
}

// newForm is a form with values; secrets are those that there are.
func newForm(kind definition.Kind, name string, values map[string]any, secrets []string) *formed {
	f := &formed{Kind: kind, Name: name}
	groups := map[string]*fields{}
	var order []*fields
	group := func(title string) *fields {
		if groups[title] == nil {
			groups[title] = &fields{Title: title}
			order = append(order, groups[title])
		}
		return groups[title]
	}
	group("")
	known := formKeys(kind)
	for _, s := range known {
		one := fieldOf(&s)
		one.Value, one.Kept = textOf(values[s.Name]), s.Secret && slices.Contains(secrets, s.Name)
		title, _, inner := strings.Cut(s.Name, ".")
		if !inner {
			title = "More settings"
		}
		if slices.Contains(firstKeys[kind], s.Name) {
			title = ""
		}
		g := group(title)
		g.Fields = append(g.Fields, one)
		g.Open = g.Open || one.Value != "" || one.Kept
	}
	place := func(one field) int { return slices.Index(firstKeys[kind], one.Key) }
	slices.SortStableFunc(order[0].Fields, func(a, b field) int { return place(a) - place(b) })
	for _, g := range order {
		f.Groups = append(f.Groups, *g)
	}
	for name := range values {
		if !slices.ContainsFunc(known, func(s config.Setting) bool { return s.Name == name }) {
			f.Others = append(f.Others, name)
		}
	}
	slices.Sort(f.Others)
	return f
}

func fieldOf(s *config.Setting) field {
	one := field{Key: s.Name, ID: valuePrefix + s.Name, Help: s.Help, Default: s.Unset, As: "text", Choices: s.Choices}
	if s.Default != nil {
		one.Default = fmt.Sprint(s.Default)
	}
	if strings.HasPrefix(one.Default, "must ") { // which is no default
		one.Help, one.Default = one.Help+" It "+one.Default+".", ""
	}
	switch {
	case s.Secret:
		one.As, one.ID = "secret", secretPrefix+s.Name
	case definition.IsList(s.Kind):
		one.As = "list"
	case s.Kind == "boolean":
		one.As, one.Choices = "choice", []string{"true", "false"}
	case len(s.Choices) > 0:
		one.As = "choice"
	case s.Kind == "number":
		one.As = "number"
	}
	return one
}

// textOf is a value as the form has it.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []string:
		return strings.Join(v, "\n")
	}
	return fmt.Sprint(v)
}

// filledIn are the values and secrets of a form that was sent. What it does not
// have stays as in before.
func filledIn(kind definition.Kind, before map[string]any, form url.Values) (values map[string]any, secrets map[string]string, err error) {
	values, secrets = map[string]any{}, map[string]string{}
	known := formKeys(kind)
	for name, v := range before {
		if !slices.ContainsFunc(known, func(s config.Setting) bool { return s.Name == name && !s.Secret }) {
			values[name] = v
		}
	}
	for _, s := range known {
		if s.Secret {
			secret := form.Get(secretPrefix + s.Name)
			if strings.ContainsAny(secret, "\r\n\x00") || len(secret) > maxPassword {
				return nil, nil, errors.New(s.Name + ": this cannot be one")
			}
			if secret != "" {
				secrets[s.Name] = secret
			}
			continue
		}
		text := strings.TrimSpace(form.Get(valuePrefix + s.Name))
		if text = strings.ReplaceAll(text, "\r\n", "\n"); wire.EachLine(text) != text { // what is kept is what was shown
			return nil, nil, fmt.Errorf("%s: has a character that cannot be seen", s.Name)
		}
		switch {
		case text == "":
		case definition.IsList(s.Kind):
			var list []string
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); line != "" {
					list = append(list, line)
				}
			}
			if len(list) > maxListed {
				return nil, nil, fmt.Errorf("%s: these are more than %d", s.Name, maxListed)
			}
			values[s.Name] = list
		default:
			values[s.Name] = text
		}
	}
	return values, secrets, nil
}

// secretsIn are the secrets that values name files of.
func secretsIn(kind definition.Kind, values map[string]any) (list []string) {
	for _, s := range definition.Keys(kind) {
		if _, there := values[s.Name+"_file"]; s.Secret && there {
			list = append(list, s.Name)
		}
	}
	return list
}

// unguarded are the keys that say neither where a secret goes nor how well it is
// kept on the way.
var unguarded = []string{"sender", "max_connections", "max_messages", "max_age", "encode_long_lines", "without", "rate", "max_recipients", "max_message_size",
	"connect_timeout", "command_timeout", "data_timeout", "idle_close", "unix_user", "user", "console_user", "base", "schema", "filter", "timeout", "cache", "max_results",
	"refresh", "charset", "severity", "after", "repeat", "mail.to", "mail.from", "mail.upstream", "oauth.client_secret_ends"}

// retyped is an error where a secret that nobody has typed would go elsewhere: a
// definition can be pointed at a server of whoever edits it.
func retyped(kind definition.Kind, before, after map[string]any, secrets map[string]string) error {
	for _, secret := range secretsIn(kind, before) {
		if secrets[secret] != "" {
			continue
		}
		for _, s := range definition.Keys(kind) {
			if !slices.Contains(unguarded, s.Name) && !s.Secret && textOf(before[s.Name]) != textOf(after[s.Name]) {
				return fmt.Errorf("%s: type it again, since %s is another, and nobody but its owner may have it sent elsewhere", secret, s.Name)
			}
		}
	}
	return nil
}

// blame puts problems of this definition beside their fields, with the name of the
// field on top: it has no file yet. Others are told with their places.
func (f *formed) blame(err error) {
	var problems *config.Problems
	if !errors.As(err, &problems) {
		f.Problems = append(f.Problems, sentenceOf(err.Error()))
		return
	}
	problems = problems.ForOthers()
	for i := range problems.List {
		p := problems.List[i]
		if definition.StandsIn(p.File, f.Kind, f.Name) {
			p.File, p.Line = "", 0
			if one := f.fieldOf(p.Key); one != nil {
				p.Key = one.Key
				if one.Problem == "" {
					one.Problem = p.Text
				}
			}
		}
		f.Problems = append(f.Problems, p.String())
	}
}

// fieldOf is the field of a key of the configuration, whose group it opens; nil:
// the form has none.
func (f *formed) fieldOf(key string) (found *field) {
	for g := range f.Groups {
		for n := range f.Groups[g].Fields {
			one := &f.Groups[g].Fields[n]
			if strings.HasSuffix(key, "."+one.Key) || strings.Contains(key, "."+one.Key+"[") {
				if found == nil || len(one.Key) > len(found.Key) { // "mail.to" before "to"
					found, f.Groups[g].Open = one, true
				}
			}
		}
	}
	return found
}
