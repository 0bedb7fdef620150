package console

import (
	"net/url"
	"strings"

	"postern/cmd/definition"
)

// lead is a link of a page that says what is wrong.
type lead struct{ Path, Text string }

// leads lead to what a request was about, by its path and its form, so that
// whoever has met with a change by somebody else sees what is there now.
func (s *Server) leads(r *request) []lead {
	section, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	name, form := r.PathValue("name"), r.Form
	switch {
	case section == "books":
		var all []lead
		if uid := form.Get("uid"); uid != "" {
			all = append(all, lead{bookPath(name) + "/entry?" + url.Values{"who": {uid}}.Encode(), "The entry as it is now"})
		}
		return append(all, lead{bookPage(name), "The book " + name})
	case section == "definitions" && r.PathValue("kind") != "":
		return s.definitionLeads(definition.Kind(r.PathValue("kind")), form.Get("name"))
	case section == "upstreams":
		return []lead{{(&url.URL{Path: "/upstreams/" + name}).String(), "The upstream " + name}}
	case section == "message-files":
		return []lead{{"/message-files", "Message files"}}
	case section == "made":
		return []lead{{madePath(r.PathValue("id"), 0), "The messages"}}
	}
	return nil
}

// definitionLeads lead to a definition, unless it is gone, and to all of them.
func (s *Server) definitionLeads(kind definition.Kind, name string) []lead {
	all := lead{"/definitions", "All definitions"}
	_, key := settingsOf(s.Config(), kind, name)
	if store, err := s.definitionStore(); key == "" && err == nil {
		if _, err := store.Read(kind, name); err == nil { // not in force
			key = name
		}
	}
	if key == "" {
		return []lead{all}
	}
	return []lead{{formPath(kind, name), "The " + string(kind) + " " + name + " as it is now"}, all}
}
