package definition

import (
	"context"
	"net"
	"strings"
	"time"

	"postern/config/wire"
)

// Resolver is what Suggest asks; net.Resolver is one.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Suggestion is a key of an upstream that suits an address.
type Suggestion struct {
	Key, Value string // "provider" or "host"
	Why        string // a clause
}

// suggestTimeout bounds all questions to DNS together.
const suggestTimeout = 3 * time.Second

// mailboxes are the domains whose addresses are mailboxes of a provider.
var mailboxes = map[string]string{
	"gmail.com": "gmail", "googlemail.com": "gmail",
	"outlook.com": "outlook.com", "hotmail.com": "outlook.com", "live.com": "outlook.com", "msn.com": "outlook.com",
	"yahoo.com": "yahoo", "ymail.com": "yahoo",
	"icloud.com": "icloud", "me.com": "icloud", "mac.com": "icloud",
	"fastmail.com": "fastmail", "fastmail.fm": "fastmail",
}

// exchangers are the ends of the names of MX hosts by which a provider receives
// the mail of its customers' domains.
var exchangers = []struct{ suffix, provider string }{
	{".mail.protection.outlook.com", "microsoft365"},
	{".google.com", "gmail"},
	{".googlemail.com", "gmail"},
	{".messagingengine.com", "fastmail"},
	{".mail.icloud.com", "icloud"},
}

// Suggest tells which upstream an address signs in to: by its domain, by where the
// domain receives mail, or by its SRV records (RFC 6186, RFC 8314). DNS can
// lie: it can only choose among providers that are known, and of the records
// just the domain is taken, which the relay then checks the certificate for.
func Suggest(ctx context.Context, dns Resolver, address string) (Suggestion, bool) {
	_, domain, _ := strings.Cut(address, "@")
	domain, ok := wire.CanonicalDomain(domain)
	if !ok || !strings.Contains(domain, ".") {
		return Suggestion{}, false
	}
	if provider := mailboxes[domain]; provider != "" {
		return Suggestion{"provider", provider, domain + " is one of its domains"}, true
	}
	ctx, cancel := context.WithTimeout(ctx, suggestTimeout)
	defer cancel()
	list, _ := dns.LookupMX(ctx, domain+".") // no answer, no suggestion
	for _, mx := range list {
		host := strings.ToLower(strings.TrimSuffix(mx.Host, "."))
		for _, e := range exchangers {
			if strings.HasSuffix(host, e.suffix) {
				return Suggestion{"provider", e.provider, domain + " receives its mail there"}, true
			}
		}
	}
	for _, service := range []string{"submissions", "submission"} {
		_, records, _ := dns.LookupSRV(ctx, service, "tcp", domain+".")
		for _, r := range records {
			if r.Target != "." && r.Target != "" {
				return Suggestion{"host", domain, "it has SRV records of a server for its users"}, true
			}
		}
	}
	return Suggestion{}, false
}
