//go:build linux

package main

import "strings"

// willReturn is called before a message is sent that the upstream refuses for
// good: what is owed is a notice to its sender, and no more than one.
func (b *books) willReturn(number string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returns[number] = true
}

// returned is called when the upstream has a notice about a message. messageID
// is that of the notice, which begins with its queue ID.
func (b *books) returned(number, messageID string) {
	id, _, _ := strings.Cut(messageID, ".")
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.returns[number] {
		b.unknown++
		return
	}
	if b.notices[number] == nil {
		b.notices[number] = map[string]int{}
	}
	b.notices[number][id]++
}

// done tells whether what was promised of a message has been done. mu is held.
func (b *books) done(number string) bool {
	if b.returns[number] {
		return len(b.notices[number]) > 0
	}
	return b.arrived[number] > 0
}

// closeNotices enters the notices into the balance. mu is held.
func (b *books) closeNotices(r *balance, inDoubt map[string]int) {
	for number, ids := range b.notices {
		r.Notices += len(ids)
		if len(ids) > 1 {
			r.NoticedTwice = append(r.NoticedTwice, number)
		}
		for id, n := range ids {
			r.Duplicates += n - 1
			if inDoubt[id] < n-1 {
				r.Unexplained = append(r.Unexplained, number+" "+id)
			}
		}
	}
}
