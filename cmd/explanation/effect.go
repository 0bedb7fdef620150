package explanation

import (
	"fmt"
	"strings"

	"postern/config"
	"postern/relay/route"
	"postern/relay/signin"
	"postern/relay/upstream"
)

// Recipient is what becomes of a message for one recipient.
type Recipient struct {
	route.Explanation
	// Upstreams tells of each upstream of the decision what is in effect.
	Upstreams map[string]Effect `json:"upstreams,omitempty"`
	// Copies are for whom the administrator wants one of the message.
	Copies []Copy `json:"copies,omitempty"`
}

// Effect is what an upstream is, with the figures of its provider and without
// secrets.
type Effect struct {
	Settings map[string]any `json:"settings"`
	// Mechanisms are those that can be signed in by, the one that goes first
	// at the top, and then the others with what they lack.
	Mechanisms []Foreseen `json:"mechanisms,omitempty"`
	// Rewrite tells what becomes of the message; nil: it goes as it is.
	Rewrite *Rewritten `json:"rewrite,omitempty"`
}

// Foreseen is a mechanism, and what keeps it from being used.
type Foreseen struct {
	Mechanism string `json:"mechanism"`
	Obstacle  string `json:"obstacle,omitempty"`
}

func effectOf(cfg *config.Config, names []string, rewrites map[string]*Rewritten) map[string]Effect {
	all, _ := cfg.Redacted()["upstream"].(map[string]any)
	effects := map[string]Effect{}
	for _, name := range names {
		up := cfg.Upstreams[name]
		if up == nil {
			continue
		}
		var e Effect
		e.Settings, _ = all[name].(map[string]any)
		for _, v := range foresee(up) {
			e.Mechanisms = append(e.Mechanisms, Foreseen(v))
		}
		e.Rewrite = rewrites[name]
		effects[name] = e
	}
	return effects
}

// foresee tells how an upstream will be signed in to; nil: it will not, or by
// ourselves.
func foresee(up *config.Upstream) []signin.Verdict {
	if up.Provider == config.CaptureProvider {
		return nil
	}
	return upstream.Foresee(up, up.TLS != config.TLSOff)
}

// inWords says of an upstream how it will be signed in to, and what bounds
// what goes to it.
func inWords(up *config.Upstream) []string {
	var lines []string
	able, unable := sortOut(foresee(up))
	switch {
	case len(able) > 1:
		lines = append(lines, "signs in by the first of these that it offers: "+strings.Join(able, ", "))
	case len(able) == 0 && len(unable) > 0:
		lines = append(lines, "cannot sign in")
	}
	if len(unable) > 0 {
		lines = append(lines, "not by "+strings.Join(unable, "; "))
	}
	if up.TLS == config.TLSOpportunistic && len(able) > 0 {
		inClear, _ := sortOut(upstream.Foresee(up, false))
		if inClear == nil {
			inClear = []string{"nothing"}
		}
		lines = append(lines, "where it offers no TLS only by "+strings.Join(inClear, ", "))
	}
	bounds := []string{count(up.MaxConnections, "connection")}
	if len(up.Rate) > 0 {
		rates := make([]string, len(up.Rate))
		for i, r := range up.Rate {
			rates[i] = r.String()
		}
		bounds = append(bounds, "a rate of "+strings.Join(rates, " and "))
	}
	if up.MaxRecipients > 0 {
		bounds = append(bounds, count(up.MaxRecipients, "recipient")+" at a time")
	}
	if up.MaxMessageSize > 0 {
		bounds = append(bounds, "messages of "+config.FormatSize(up.MaxMessageSize))
	}
	return append(lines, "at most "+strings.Join(bounds, ", "))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sortOut parts the mechanisms that can be used from the others, of which
// those that lack the same are named together.
func sortOut(verdicts []signin.Verdict) (able, unable []string) {
	var obstacles []string
	lacking := map[string][]string{} // by obstacle
	for _, v := range verdicts {
		if v.Obstacle == "" {
			able = append(able, v.Mechanism)
			continue
		}
		if lacking[v.Obstacle] == nil {
			obstacles = append(obstacles, v.Obstacle)
		}
		lacking[v.Obstacle] = append(lacking[v.Obstacle], v.Mechanism)
	}
	for _, o := range obstacles {
		unable = append(unable, fmt.Sprintf("%s (%s)", strings.Join(lacking[o], ", "), o))
	}
	return able, unable
}
