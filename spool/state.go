package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// State keeps small facts about upstreams that outlive the process. Relays
// that share a queue share them too. *statefile.State keeps them in the state
// folder of one relay.
//
// Each fact is read and replaced as a whole. Who reads, decides and writes
// holds Lock meanwhile. All methods may be called concurrently.
type State interface {
	// Read returns a fact. fs.ErrNotExist: there is none; ErrForm: what is
	// there is nothing that Write has made, or longer than the kind allows.
	Read(ctx context.Context, f Fact) ([]byte, error)
	// Has tells whether there is something, also what Read refuses.
	Has(f Fact) bool
	// Write replaces a fact. When it returns nil, a power cut leaves the new
	// one; when not, it leaves the last one or the new one.
	Write(ctx context.Context, f Fact, content []byte) error
	// Remove removes a fact, also one that Read refuses. fs.ErrNotExist: there
	// is none. When it returns nil, a power cut does not bring it back.
	Remove(ctx context.Context, f Fact) error
	// SetAside puts what is there, also what Read refuses, where nobody reads
	// it, and says where that is.
	SetAside(ctx context.Context, f Fact) (where string, err error)
	// Lock waits until nobody else, in any process, holds the fact, or ctx is
	// done. It doesn't keep out those who don't lock.
	Lock(ctx context.Context, f Fact) (unlock func(), err error)
	// Where says to a person where a fact is.
	Where(f Fact) string
}

// Fact names one fact: its kind and whom it is about, in most cases the name
// of an upstream. Any name will do.
type Fact struct {
	Kind Kind
	Name string
}

// Kind is what a fact tells. These are all that there are.
type Kind string

// The kinds of facts. What is not among them is forgotten with the process:
// senders that an upstream refuses are found out again by one message, and a
// message that is in doubt says so itself, in the spool.
const (
	KindRates    Kind = "rates"     // what the rates of an upstream have counted
	KindPause    Kind = "pause"     // whether an operator has paused an upstream
	KindTLS      Kind = "tls"       // what an upstream has shown of its TLS, and how it is reached
	KindToken    Kind = "token"     // the OAuth token of an account, sealed
	KindTokenKey Kind = "token key" // seals tokens where no key is configured; its name is empty
)

// Limit bounds the content of a fact, in bytes.
func (k Kind) Limit() int64 {
	switch k {
	case KindRates:
		return 1 << 20 // eight rates with some hundred entries each are far below
	case KindToken:
		return 256 << 10
	case KindTLS:
		return 8 << 10
	}
	return 4096
}

// ErrForm: a fact is not one that Write has made.
var ErrForm = errors.New("is not a file of ours, or too large to be one")

// DecodeFact reads the JSON of a fact and nothing else: no key that v doesn't
// have, and nothing behind it. Its error is an ErrForm.
func DecodeFact(content []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("more follows what was written")
		}
	}
	if err != nil {
		return fmt.Errorf("the file %w: %w", ErrForm, err)
	}
	return nil
}
