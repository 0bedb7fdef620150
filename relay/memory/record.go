package memory

import (
	"encoding/json"
	"errors"
	"time"

	"postern/spool"
)

// record is the content of a file.
type record struct {
	Peer    string    `json:"peer"`
	Offered time.Time `json:"offered,omitzero"`
	Valid   time.Time `json:"valid,omitzero"`
	Way     *Way      `json:"way,omitempty"`

	unsaved bool
}

func (r *record) facts() Facts {
	f := Facts{Offered: r.Offered, Valid: r.Valid, Unsaved: r.unsaved}
	if r.Way != nil {
		way := *r.Way
		f.Way = &way
	}
	return f
}

// changed is another record, of the same peer.
func (r *record) changed(change func(*Facts)) *record {
	f := r.facts()
	change(&f)
	return &record{Peer: r.Peer, Offered: f.Offered.UTC(), Valid: f.Valid.UTC(), Way: f.Way}
}

func (r *record) encode() []byte {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic(err) // texts, numbers and times of this era
	}
	return append(b, '\n')
}

// errRecord: the file does not say what we would have written.
var errRecord = errors.New("is damaged, or of another version")

func parse(content []byte) (*record, error) {
	r := new(record)
	if spool.DecodeFact(content, r) != nil {
		return nil, errRecord
	}
	w := r.Way
	if r.Peer == "" || w != nil && (w.Host == "" || w.Port < 1 || w.Port > 65535 || w.Found.IsZero()) {
		return nil, errRecord
	}
	return r, nil
}
