package statefile

import (
	"context"
	"fmt"
	"path/filepath"

	"postern/spool"
)

// State is spool.State in the state folder of one relay:
//
//	budget/NAME                  KindRates
//	pause/NAME                   KindPause
//	tls/upstream-NAME.json       KindTLS
//	oauth/upstream-NAME.token    KindToken
//	oauth/key                    KindTokenKey
//	carddav/NAME.json            an address book (relay/addressbook)
//
// NAME is as SafeName has it. What else lies beside them is told at Folder.
type State struct {
	Dir string
	// Step is that of each Folder: for tests. It may be nil.
	Step func(operation string) error
}

var _ spool.State = (*State)(nil)

// place is the folder and the file of a fact.
func (s *State) place(f spool.Fact) (d *Folder, file string) {
	name := SafeName(f.Name)
	var folder string
	switch f.Kind {
	case spool.KindRates:
		folder, file = "budget", name
	case spool.KindPause:
		folder, file = "pause", name
	case spool.KindTLS:
		folder, file = "tls", "upstream-"+name+".json"
	case spool.KindToken:
		folder, file = "oauth", "upstream-"+name+".token"
	case spool.KindTokenKey:
		folder, file = "oauth", "key"
	default:
		panic(fmt.Sprintf("statefile: no such kind: %q", f.Kind))
	}
	return &Folder{Dir: filepath.Join(s.Dir, folder), Step: s.Step}, file
}

// Read implements spool.State.
func (s *State) Read(_ context.Context, f spool.Fact) ([]byte, error) {
	d, name := s.place(f)
	return d.Read(name, f.Kind.Limit())
}

// Has implements spool.State.
func (s *State) Has(f spool.Fact) bool {
	d, name := s.place(f)
	return d.Has(name)
}

// Write implements spool.State. It makes the folder where there is none.
func (s *State) Write(_ context.Context, f spool.Fact, content []byte) error {
	d, name := s.place(f)
	if err := d.Prepare(); err != nil {
		return err
	}
	return d.Write(name, content)
}

// Remove implements spool.State.
func (s *State) Remove(_ context.Context, f spool.Fact) error {
	d, name := s.place(f)
	return d.Remove(name)
}

// SetAside implements spool.State.
func (s *State) SetAside(_ context.Context, f spool.Fact) (string, error) {
	d, name := s.place(f)
	return d.SetAside(name)
}

// Lock implements spool.State. It makes the folder where there is none.
func (s *State) Lock(ctx context.Context, f spool.Fact) (unlock func(), err error) {
	d, name := s.place(f)
	return d.Lock(ctx, name)
}

// Where implements spool.State: it is the path of the file.
func (s *State) Where(f spool.Fact) string {
	d, name := s.place(f)
	return d.path(name)
}
