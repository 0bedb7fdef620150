package manual

import (
	"fmt"
	"strings"

	"postern/config"
)

func (b *Book) settingsName() string { return b.Root.Name() + ".toml" }

// settings is the page of the configuration.
func (b *Book) settings() string {
	p := &page{}
	p.title(b.settingsName(), "5", b.Date, b.program())
	p.section("NAME")
	p.flow(b.settingsName() + " - configuration of " + b.Root.Name() + "(1)")
	p.section("DESCRIPTION")
	p.paragraphs(format)
	p.section("KEYS AT THE TOP")
	p.keys(b.Settings, "")
	p.section("TABLES")
	for _, table := range b.Settings {
		if heading, path := heading(table); heading != "" {
			p.subsection(heading)
			p.flow(table.Help)
			p.keys(b.Settings, path)
		}
	}
	p.section("FILES")
	p.item(b.Config, "The configuration where --config names no other.")
	p.item(strings.TrimSuffix(b.Config, b.settingsName())+"conf.d/*.toml", "Further tables, read in the order of the names.")
	p.section("EXAMPLE")
	p.flow("All mail of this machine goes to one server:")
	p.literal(strings.Split(example, "\n"))
	p.section("SEE ALSO")
	var names []string
	for _, c := range subcommands(b.Root) {
		if one := c.Name(); one == "check" || one == "explain" || one == "reload" || one == "serve" {
			names = append(names, name(c)+"(1)")
		}
	}
	p.flow(strings.Join(append([]string{b.Root.Name() + "(1)"}, names...), ", "))
	return p.String()
}

// heading is how a table begins in the file, and the path of its keys; it is
// empty for what is no table.
func heading(s config.Setting) (text, path string) {
	path = s.Name
	if s.Table != "" {
		path = s.Table + "." + s.Name
	}
	switch s.Kind {
	case "table":
		return "[" + path + "]", path
	case "tables":
		return "[[" + path + "]]", path
	case "named tables":
		return "[" + path + ".NAME]", path + ".NAME"
	}
	return "", ""
}

// keys are those of one table that are no tables themselves.
func (p *page) keys(settings []config.Setting, table string) {
	for _, s := range settings {
		if text, _ := heading(s); s.Table != table || text != "" {
			continue
		}
		texts := []string{s.Help}
		if len(s.Choices) > 0 {
			texts = append(texts, "One of: "+strings.Join(s.Choices, ", ")+".")
		}
		if s.Default != nil {
			texts = append(texts, "Default: "+written(s.Default)+".")
		} else {
			texts = append(texts, "Without it: "+s.Unset+".")
		}
		if s.Restart {
			texts = append(texts, "A change takes a restart.")
		}
		p.item(fmt.Sprintf("%s (%s)", s.Name, s.Kind), texts...)
	}
}

// written is a default as the file would write it.
func written(v any) string {
	switch v := v.(type) {
	case string:
		return `"` + v + `"`
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, written(one))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return fmt.Sprint(v)
}

const format = "The file is TOML. `postern check` reads it and tells everything that is wrong with it at once: the line, the key, and what to do. " +
	"An unknown key is an error. `postern reload` has the running relay read it again, and changes nothing where anything is wrong.\n\n" +
	"Durations are text with a unit (\"90s\", \"5m\", \"1h30m\", \"5d\", \"1w\"), sizes too (\"35MB\", \"256MiB\"). " +
	"Permissions are octal text (\"0660\"). Relative paths start at the folder of the file.\n\n" +
	"${NAME} in a value stands for a variable of the environment, ${NAME:-default} for one that may be unset, $${ for ${ itself."

const example = `[[listener]]
address = "127.0.0.1:2525"

[upstream.office]
host = "smtp.example.com"
username = "app1@example.com"
password_file = "/etc/postern/office.password"

[[route]]
from = ["*"]
upstream = ["office"]`
