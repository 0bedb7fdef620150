package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/config/wire"
	"postern/relay/addressbook"
)

// completionTime bounds how long the Tab key may take to answer.
const completionTime = 2 * time.Second

// completeRecipient completes names, "group:NAME" and addresses of the books, as
// --to takes them. It offers nothing where the books can't be asked.
func (a *app) completeRecipient(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	prefix, text := "", begun
	if rest, ok := strings.CutPrefix(begun, "group:"); ok {
		prefix, text = "group:", rest
	}
	var offered []string
	for _, e := range a.begunEntries(cmd.Context(), text) {
		if prefix == "" && !e.Group && e.Address() != "" {
			offered = append(offered, append(append([]string{e.Name}, e.Nicknames...), e.Addresses...)...)
		}
		groups := e.Groups
		if e.Group {
			groups = []string{e.Name}
		}
		for _, g := range groups {
			if prefix == "" {
				g = "group:" + g
			}
			offered = append(offered, g)
		}
	}
	return offers(offered, text, prefix), cobra.ShellCompDirectiveNoFileComp
}

// completeCard completes the names, addresses and UIDs that a card is found by.
func (a *app) completeCard(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var offered []string
	if len(args) == 0 {
		for _, e := range a.begunEntries(cmd.Context(), begun) {
			offered = append(append(offered, e.Name), e.Addresses...)
		}
	}
	return offers(offered, begun, ""), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) begunEntries(ctx context.Context, text string) []*addressbook.Entry {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	books, err := a.books()
	if err != nil {
		return nil
	}
	found, err := books.Find(ctx, text, "", 200)
	if err != nil {
		return nil
	}
	return found.Entries
}

// offers are those that begin as a text does, each once, behind a prefix.
func offers(list []string, begun, prefix string) []string {
	var all []string
	for _, s := range list {
		bare := strings.TrimPrefix(s, "group:")
		begins := strings.HasPrefix(strings.ToLower(s), strings.ToLower(begun)) || bare != s && strings.HasPrefix(strings.ToLower(bare), strings.ToLower(begun))
		if begins && s == wire.Line(s) && !strings.ContainsAny(s, "\t\n") {
			all = append(all, prefix+s)
		}
	}
	if len(all) == 0 { // as a name is found by the beginning of a word that is not the first
		for _, s := range list {
			if k := strings.ToLower(" " + begun); len(begun) > 1 && s == wire.Line(s) && strings.Contains(strings.ToLower(s), k) {
				all = append(all, prefix+s)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
