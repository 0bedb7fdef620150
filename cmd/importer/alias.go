package importer

import (
	"errors"
	"fmt"
	"strings"

	"postern/config"
	"postern/config/alias"
)

// settleAliases keeps of the aliases what Postern takes, and tells of the rest:
// a file with commands or mailboxes in it, and one of another machine.
func (f *Found) settleAliases() {
	file := f.AliasFile
	if f.AliasFile.Value != "" && (!f.src.here() || !strings.HasPrefix(file.Value, "/") || !plain(file.Value)) {
		f.note(file.Place, "the aliases in "+shown(file.Value)+" are those of another machine, or cannot be named", "copy the file, and set aliases of [submission]")
		f.AliasFile = Setting{}
	}
	err := f.aliasError()
	if err != nil && f.AliasFile.Value != "" {
		f.note(file.Place, "the aliases in "+shown(file.Value)+" are not taken as they stand: "+err.Error(), "mend a copy of the file, and set aliases of [submission]")
		f.AliasFile = Setting{}
		err = f.aliasError()
	}
	if err != nil {
		for _, a := range f.Aliases {
			f.note(a.Place, "the alias "+shown(a.Name)+" is not taken: "+err.Error(), "set alias of [submission]")
		}
		f.Aliases = nil
	}
	if len(f.Aliases) == 0 && f.AliasFile.Value == "" {
		f.LocalDomains = nil
	}
}

// aliasError is what is wrong with the aliases, in a sentence; nil: nothing.
func (f *Found) aliasError() error {
	s := config.Submission{Domain: f.Domain.Value, Aliases: f.AliasFile.Value, LocalDomains: f.LocalDomains, Alias: map[string][]string{}}
	for _, a := range f.Aliases {
		s.Alias[a.Name] = a.To
	}
	if !s.HasAliases() {
		return nil
	}
	_, err := s.ReadAliases(config.ReadFile)
	var problems alias.Problems
	if errors.As(err, &problems) && len(problems) > 1 {
		return fmt.Errorf("%s, and %d more", problems[0].String(), len(problems)-1)
	}
	return err
}
