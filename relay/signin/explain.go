package signin

import "slices"

// Verdict says what the choice makes of one mechanism.
type Verdict struct {
	Mechanism string
	// Obstacle is why it cannot be used, in words that follow its name:
	// "is not offered"; empty: it can.
	Obstacle string
}

// Foresee tells in which order Do would choose, were r's connection open and
// everything offered: what the upstream offers, and whether TLS has something
// to bind to, shows only then.
func Foresee(r *Request) []Verdict {
	ahead := *r
	ahead.unconnected = true
	return Explain(&ahead)
}

// Explain tells what Do would choose and why: every mechanism that r.Auth
// allows, the usable ones first and the strongest of them first of all. It
// reads no secret and asks nobody.
func Explain(r *Request) []Verdict {
	var usable, others []mechanism
	reasons := make(map[string]string)
	for _, m := range mechanisms() {
		if !m.meant(r) {
			continue
		}
		if reason := m.obstacle(r); reason != "" {
			reasons[m.name] = reason
			others = append(others, m)
		} else {
			usable = append(usable, m)
		}
	}
	byStrength := func(a, b mechanism) int { return b.strength - a.strength }
	slices.SortStableFunc(usable, byStrength)
	slices.SortStableFunc(others, byStrength)
	var out []Verdict
	for _, m := range append(usable, others...) {
		out = append(out, Verdict{m.name, reasons[m.name]})
	}
	return out
}
