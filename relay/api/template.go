package api

import (
	"errors"
	"fmt"
	"net/http"

	"postern/config/wire"
	"postern/relay/merge"
)

// fill makes what the template of a mail makes of its values. Few do so at a
// time: a template may make much of little.
func (r *request) fill(m *mail, where string) (*merge.Filled, *failure) {
	select {
	case r.server.filling <- struct{}{}:
	case <-r.Context().Done():
		return nil, unavailable
	}
	defer func() { <-r.server.filling }()
	folder := r.settings.messages
	folder.Book = r
	held := int64(0)
	defer func() { r.server.memory.Give(r.client.Connection(), held) }()
	folder.Memory = func(n int64) bool {
		taken := r.server.memory.Take(r.client.Connection(), n)
		if taken {
			held += n
		}
		return taken
	}
	filled, err := folder.Fill(r.Context(), m.template, m.values)
	var wrong *merge.Problems
	switch {
	case errors.Is(err, merge.ErrUnknown):
		return nil, &failure{status: http.StatusUnprocessableEntity, name: nameInvalid, text: fmt.Sprintf("%stemplate.id: there is no template %q", where, wire.Line(m.template))}
	case errors.Is(err, merge.ErrMemory):
		return nil, noMemory
	case errors.As(err, &wrong):
		p := problems{}
		for _, one := range wrong.List {
			p.add(where+"template", one.String())
		}
		return nil, p.failure()
	case err != nil:
		return nil, unavailable
	}
	if !r.hold(int64(2 * (len(filled.Mail.Text) + len(filled.Mail.HTML) + len(filled.Mail.Calendar)))) {
		return nil, noMemory
	}
	return filled, nil
}
