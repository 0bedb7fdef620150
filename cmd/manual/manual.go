// Package manual writes manual pages from what the program itself knows: its
// commands with their flags, and the keys of its configuration. So a page cannot
// tell of a flag that is not there.
//
// It reads nothing and decides nothing.
package manual

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"postern/config"
)

// Book is what the pages are made of.
type Book struct {
	Root     *cobra.Command
	Settings []config.Setting
	Exits    []Exit
	Version  string // of the program: "v1.2.3"
	Date     string // of the pages: "2006-01-02"
	Config   string // the path of the configuration where none is named
}

// Exit is a code that commands end with.
type Exit struct {
	Code int
	Text string
}

// Pages are the texts of all pages, by the names of their files:
// "postern.1", "postern-queue-list.1", "postern.toml.5".
func (b *Book) Pages() map[string]string {
	pages := map[string]string{b.settingsName() + ".5": b.settings()}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		pages[name(c)+".1"] = b.command(c)
		for _, inner := range subcommands(c) {
			visit(inner)
		}
	}
	visit(b.Root)
	return pages
}

// subcommands are those with a page of their own. What cobra makes by itself
// has its text in its help.
func subcommands(c *cobra.Command) (shown []*cobra.Command) {
	if c.Name() == "completion" {
		return nil
	}
	for _, inner := range c.Commands() {
		if inner.IsAvailableCommand() && inner.Name() != "help" {
			shown = append(shown, inner)
		}
	}
	return shown
}

func name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func (b *Book) program() string { return b.Root.Name() + " " + b.Version }

func (b *Book) command(c *cobra.Command) string {
	c.InitDefaultHelpFlag()
	p := &page{}
	p.title(name(c), "1", b.Date, b.program())
	p.section("NAME")
	p.flow(name(c) + " - " + uncapital(c.Short))
	p.section("SYNOPSIS")
	if len(subcommands(c)) > 0 {
		p.WriteString(bold(c.CommandPath()) + " [flags] COMMAND ...\n")
	} else {
		p.WriteString(bold(c.CommandPath()) + escape(strings.TrimPrefix(c.UseLine(), c.CommandPath())) + "\n")
	}
	p.section("DESCRIPTION")
	text := c.Long
	if text == "" {
		text = strings.TrimSuffix(c.Short, ".") + "."
	}
	p.paragraphs(text)
	if c.Example != "" {
		p.section("EXAMPLES")
		p.literal(strings.Split(strings.TrimRight(c.Example, "\n"), "\n"))
	}
	if inner := subcommands(c); len(inner) > 0 {
		p.section("COMMANDS")
		for _, one := range inner {
			p.item(name(one)+"(1)", capital(one.Short)+".")
		}
	}
	if !c.DisableFlagParsing { // else its text tells of its flags
		p.section("OPTIONS")
		c.NonInheritedFlags().VisitAll(p.flag)
		c.InheritedFlags().VisitAll(p.flag)
	}
	if c == b.Root {
		p.section("EXIT STATUS")
		p.flow("Those of sysexits.h; a command tells in its own page what else they mean there.")
		for _, e := range b.Exits {
			p.item(fmt.Sprint(e.Code), capital(e.Text)+".")
		}
		p.section("FILES")
		p.item(b.Config, "The configuration. Further files stand in conf.d beside it.")
	}
	p.section("SEE ALSO")
	p.flow(b.seeAlso(c))
	return p.String()
}

// seeAlso are the pages around a command's.
func (b *Book) seeAlso(c *cobra.Command) string {
	var names []string
	if c.HasParent() {
		names = append(names, name(c.Parent())+"(1)")
		for _, other := range subcommands(c.Parent()) {
			if other != c && c.Parent() != b.Root {
				names = append(names, name(other)+"(1)")
			}
		}
	}
	if c.Parent() != b.Root && c.HasParent() {
		names = append(names, b.Root.Name()+"(1)")
	}
	return strings.Join(append(names, b.settingsName()+"(5)"), ", ")
}

// flag is the entry of one flag in a list.
func (p *page) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	value, text := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if value != "" {
		name += " " + value
	}
	text = capital(text) + "."
	if given := f.DefValue; given != "" && given != "false" && given != "0" && given != "[]" {
		text += " Default: " + given + "."
	}
	p.item(name, text)
}

// first is text with another first letter, where the word is an ordinary one
// and no name such as DKIM.
func first(text string, change func(rune) rune) string {
	r, n := utf8.DecodeRuneInString(text)
	if next, _ := utf8.DecodeRuneInString(text[n:]); unicode.IsUpper(next) {
		return text
	}
	return string(change(r)) + text[n:]
}

func capital(text string) string   { return first(text, unicode.ToUpper) }
func uncapital(text string) string { return first(text, unicode.ToLower) }
