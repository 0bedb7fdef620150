package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/cmd/control"
	"postern/cmd/history"
	"postern/spool"
)

// shownRecipients is how many of a message's recipients a page has.
const shownRecipients = 200

// messaged is the page of one message.
type messaged struct {
	ID      string
	Message *control.Message // nil: it is not in the queue
	// Unreadable: it is in the queue, unless the store has set it aside.
	Unreadable bool
	Held       bool
	Omitted    int // recipients that are left out
	Life       *lived
}

func (s *Server) message(w http.ResponseWriter, r *request) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such message"))
		return
	}
	page := &messaged{ID: id.String()}
	d, err := s.Store.Detail(r.Context(), id)
	switch {
	case errors.Is(err, spool.ErrNotFound):
	case errors.Is(err, spool.ErrDamaged):
		page.Unreadable = true
	case err != nil:
		s.fail(w, r, http.StatusServiceUnavailable, err)
		return
	default:
		waits := control.NewReasons(s.Queue, s.Standin)
		page.Message = control.NewMessage(d, time.Now(), func(upstream string) string {
			return waits.Of(r.Context(), id, upstream, d.Envelope.From)
		})
		all := page.Message.Recipients
		page.Held = slices.ContainsFunc(all, func(one control.Recipient) bool { return one.Status == "held" })
		page.Omitted = max(0, len(all)-shownRecipients)
		page.Message.Recipients = all[:len(all)-page.Omitted]
	}
	s.page(w, r, http.StatusOK, "message", "Message "+page.ID, page)
}

// source is the content, as a text that no browser makes anything of.
func (s *Server) source(w http.ResponseWriter, r *request) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such message"))
		return
	}
	c, err := s.Store.Content(r.Context(), id)
	if err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, spool.ErrNotFound) {
			status = http.StatusNotFound
		}
		s.fail(w, r, status, err)
		return
	}
	defer c.Close()
	asSource(w.Header(), c.Size())
	if r.Form.Get("download") != "" {
		attach(w.Header(), id.String()+".eml")
	}
	_, _ = io.Copy(w, io.NewSectionReader(c, 0, c.Size()))
}

// lived is what the history has to tell.
type lived struct {
	Query   string
	Asked   bool
	Lives   []told
	From    time.Time // it begins there; zero: it is empty
	More    bool
	Problem string
}

// told is the life of one message, or of mail that was refused.
type told struct {
	ID      string
	Lines   []sentence
	Omitted int
}

type sentence struct {
	Time time.Time
	Bad  bool // it did not go as it should
	Text string
}

// lookFor is how long a search may take, with those before it.
const lookFor = 20 * time.Second

// search looks in the history. One search runs at a time: each reads as fast as
// the disk gives.
func (s *Server) search(ctx context.Context, q history.Query) *lived {
	page := &lived{Query: q.Text, Asked: true}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	select {
	case s.searching <- struct{}{}:
		defer func() { <-s.searching }()
	case <-ctx.Done():
		page.Problem = "Others are searching. Try again in a while."
		return page
	}
	found, err := s.Search(ctx, q)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		page.Problem = "The search took too long. `postern trace` has no such limit."
		return page
	case err != nil:
		page.Problem = err.Error()
		return page
	}
	page.From, page.More = found.From, found.More
	if len(found.Missing) > 0 {
		page.Problem = "There may be more: " + strings.Join(found.Missing, "; ") + "."
	}
	for i := range found.Lives {
		page.Lives = append(page.Lives, tell(&found.Lives[i]))
	}
	slices.Reverse(page.Lives) // the last one first
	return page
}

// tell puts a life into sentences.
func tell(l *history.Life) told {
	t := told{ID: l.ID, Omitted: l.Omitted}
	for _, raw := range l.Lines {
		line := history.Read(raw)
		bad := line.Event == "mail-refused" || line.Event == "delivery-attempt" && line.Result != "delivered"
		t.Lines = append(t.Lines, sentence{line.Time, bad, line.Sentence(l.ID)})
	}
	return t
}

// life is the timeline of a message: a part of its page, or, without JavaScript,
// a page.
func (s *Server) life(w http.ResponseWriter, r *request) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such message"))
		return
	}
	s.page(w, r, http.StatusOK, "life", "Timeline of "+id.String(), &messaged{ID: id.String(), Life: s.search(r.Context(), history.Query{Text: id.String(), Limit: 1})})
}

// trace searches the history for whatever is asked.
func (s *Server) trace(w http.ResponseWriter, r *request) {
	page := &lived{Query: r.Form.Get("q")}
	if page.Query != "" {
		page = s.search(r.Context(), history.Query{Text: page.Query})
	}
	if id, err := spool.ParseID(page.Query); err == nil && len(page.Lives) == 1 {
		http.Redirect(w, r.Request, "/messages/"+id.String(), http.StatusSeeOther)
		return
	}
	s.page(w, r, http.StatusOK, "trace", "Trace", page)
}
