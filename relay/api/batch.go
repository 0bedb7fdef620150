package api

import (
	"encoding/json"
	"fmt"
)

// result is what became of one mail of a batch.
type result struct {
	accepted accepted
	failed   *failure // nil: it was accepted
}

// batch takes in a list of up to most mails, in the order of the request; fresh
// is where the next one is decoded to. permissive: each on its own; otherwise
// the first that fails is the failure of all.
func (r *request) batch(most int, permissive bool, fresh func() described) ([]result, *failure) {
	var list []json.RawMessage
	b, f := r.decode(&list)
	if f != nil {
		return nil, f
	}
	if !r.hold(int64(len(b))) { // which list holds as well
		return nil, noMemory
	}
	if len(list) == 0 || len(list) > most {
		return nil, invalid(fmt.Sprintf("a batch has 1 to %d mails, not %d", most, len(list)))
	}
	k, f := r.key(b)
	if f != nil {
		return nil, f
	}
	results := make([]result, len(list))
	mails, at := make([]*mail, 0, len(list)), make([]int, 0, len(list))
	for i, one := range list {
		m, f := read(one, fresh())
		switch {
		case f == nil:
			mails, at = append(mails, m), append(at, i)
		case permissive:
			results[i].failed = f
		default:
			return nil, located(f, fmt.Sprintf("[%d]", i))
		}
	}
	all, f := r.sendAll(mails, k, "", permissive)
	if f != nil {
		return nil, f
	}
	for i, o := range all {
		results[at[i]] = result{o.accepted, o.failed}
	}
	return results, nil
}

// read decodes one mail of a batch.
func read(b []byte, into described) (*mail, *failure) {
	if f := decode(b, into); f != nil {
		return nil, f
	}
	return into.mail()
}
