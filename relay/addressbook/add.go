package addressbook

import (
	"errors"
	"io/fs"
	"sync"
)

// Added tells of one card of AddAll.
type Added struct {
	Entry *Entry // nil: Err
	Err   error  // ErrThere; or why it is no card that can be read again
}

// syncers is how many cards are put on the disk at once: a file system makes them
// durable together.
const syncers = 16

// AddAll writes new cards, as Add does, in one look at the folder. added has those
// that were tried, in their order. The error is one of the folder; what was written
// before it is in added.
func (f *Folder) AddAll(cards []*Card) (added []Added, err error) {
	w, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer w.close()
	f.Refresh()
	x, err := f.Index()
	if err != nil {
		return nil, err
	}
	waiting := make([]waiting, len(cards))
	seen := map[string]bool{}
	for i, c := range cards {
		waiting[i].prepare(f.Name, c, x, seen)
	}
	if err := w.putDown(waiting); err != nil {
		return nil, err
	}
	defer f.Refresh()
	for i := range waiting {
		one := &waiting[i]
		if one.Err == nil {
			// A link fails where there is a file, whoever has made it.
			err := w.r.Link(one.temp, one.Entry.File)
			_ = w.r.Remove(one.temp)
			switch {
			case errors.Is(err, fs.ErrExist):
				one.Err = ErrThere
			case err != nil:
				for _, left := range waiting[i+1:] {
					_ = w.r.Remove(left.temp)
				}
				return added, errors.Join(err, syncFolder(w.r))
			}
		}
		if one.Err != nil {
			one.Entry = nil
		}
		added = append(added, one.Added)
	}
	return added, syncFolder(w.r)
}

// waiting is a card on its way into a folder.
type waiting struct {
	Added
	text []byte
	temp string // its file; empty: none yet
}

func (w *waiting) prepare(book string, c *Card, x *Index, seen map[string]bool) {
	c = c.Modern()
	if c.UID() == "" {
		c.replace("UID", []line{{name: "UID", value: "urn:uuid:" + newUUID()}})
	}
	w.Entry, w.text = c.Entry(), c.Bytes()
	w.Entry.Book, w.Entry.File = book, fileName(w.Entry.UID)
	switch {
	case x.ByUID(w.Entry.UID) != nil || seen[w.Entry.UID]:
		w.Err = ErrThere
	default:
		w.Err = checkText(w.text)
	}
	seen[w.Entry.UID] = true
}

// putDown writes the texts under names that are no card's. After an error none of
// them is left.
func (w *writing) putDown(all []waiting) error {
	var running sync.WaitGroup
	errs := make([]error, syncers)
	for n := range min(syncers, len(all)) {
		running.Go(func() {
			for i := n; i < len(all) && errs[n] == nil; i += syncers {
				if all[i].Err == nil {
					all[i].temp, errs[n] = w.writeTemp(all[i].text)
				}
			}
		})
	}
	running.Wait()
	err := errors.Join(errs...)
	if err != nil {
		for _, one := range all {
			if one.temp != "" {
				_ = w.r.Remove(one.temp)
			}
		}
	}
	return err
}
