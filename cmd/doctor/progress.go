package doctor

import (
	"slices"

	"postern/relay/upstream"
)

// doing says what an examination is about.
var doing = map[upstream.Step]string{
	upstream.StepToken: "getting an access token", upstream.StepConnect: "looking up the name, and connecting",
	upstream.StepBanner: "waiting for the greeting", upstream.StepHello: "asking what the upstream can do",
	upstream.StepHandshake: "agreeing on TLS", upstream.StepSignIn: "signing in",
	upstream.StepRehearse: "asking whether senders are accepted", upstream.StepAddresses: "looking at each address",
}

// settled are the findings about a report that is not whole yet which nothing that
// follows changes.
func settled(list []Finding, r *upstream.Report) []Finding {
	came := func(step upstream.Step) bool {
		return slices.ContainsFunc(r.Steps, func(t upstream.Taken) bool { return t.Step == step })
	}
	return slices.DeleteFunc(list, func(f Finding) bool {
		switch {
		case f.Status == Skipped, f.ID == UpstreamDNS:
			return true
		case f.ID == UpstreamWay, f.ID == UpstreamTLS && !came(upstream.StepHandshake):
			return !came(upstream.StepSignIn) && r.Fault == nil
		}
		return false
	})
}
