package directory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/config"
)

// Expansion is whom a group stands for.
type Expansion struct {
	Members []Member
	Loops   []string // groups that hold themselves, each by its path: "A > B > A"
	Missing []string // members that no mail can go to, and why
	Age     time.Duration
}

// Member is one address of a group.
type Member struct {
	Name    string
	Address string
	Path    []string // names of the groups by which it came
}

// Bounds of an expansion, whatever a directory says.
const (
	maxDepth  = 50
	maxGroups = 5_000
	maxTold   = 100
	maxRanges = 2_000
)

// Expand lists the addresses of a group and of the groups in it, each once and
// at most limit. The error is an *Away, also where the directory has not told
// all members, an *Unusable or a *TooMany.
func (d *Directory) Expand(ctx context.Context, group *Entry, limit int) (*Expansion, error) {
	if group.Kind == Dynamic {
		return nil, dynamic(group)
	}
	v, age, err := d.answers.Get(fmt.Sprintf("expand %d %s", limit, group.ID), func() (any, int, error) {
		var out *Expansion
		err := d.ask(ctx, 12, func(ctx context.Context, s *session) error {
			w := &walk{d: d, s: s, limit: limit, out: &Expansion{}, open: map[string]bool{}, done: map[string]bool{}, seen: map[string]bool{}}
			out = w.out
			return w.group(ctx, group)
		})
		if err != nil {
			return nil, 0, err
		}
		return out, len(out.Members), nil
	})
	if err != nil {
		return nil, err
	}
	out := *v.(*Expansion)
	out.Age = age
	return &out, nil
}

func dynamic(e *Entry) error {
	hint := "give it an address, or write to its members"
	if a := e.Address(); a != "" {
		hint = "write to its address, " + a + "; the mail server knows the members"
	}
	return &Unusable{Text: e.Name + " is a dynamic group, which can't be taken apart: its rule is " + e.rule, Hint: hint}
}

// walk goes through groups in groups.
type walk struct {
	d     *Directory
	s     *session
	limit int
	out   *Expansion
	path  []string
	open  map[string]bool // groups of the path, by their DN
	done  map[string]bool // groups that were gone through
	seen  map[string]bool // addresses
}

func (w *walk) group(ctx context.Context, e *Entry) error {
	key := sameDN(e.ID)
	switch {
	case w.open[key]:
		w.loop(e)
		return nil
	case w.done[key]:
		return nil
	case len(w.path) >= maxDepth, len(w.done) >= maxGroups:
		return &Unusable{Text: fmt.Sprintf("the group has more than %d groups in it, or %d in each other", maxGroups, maxDepth)}
	}
	w.open[key] = true
	w.path = append(w.path, e.Name)
	defer func() {
		w.path = w.path[:len(w.path)-1]
		delete(w.open, key)
		w.done[key] = true
	}()
	members, err := w.members(ctx, e)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := w.member(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) loop(e *Entry) {
	from := max(0, slices.Index(w.path, e.Name))
	w.out.Loops = tell(w.out.Loops, strings.Join(append(slices.Clone(w.path[from:]), e.Name), " > "))
}

func (w *walk) member(ctx context.Context, e *Entry) error {
	if e.Kind == Group {
		return w.group(ctx, e)
	}
	address := e.Address()
	switch {
	case e.Kind == Dynamic && address == "":
		return dynamic(e)
	case address == "":
		w.missing(e.Name + " has no address")
		return nil
	}
	// The members of a dynamic group are known to the mail server alone: mail for
	// them goes to its address.
	if k := strings.ToLower(address); !w.seen[k] {
		w.seen[k] = true
		w.out.Members = append(w.out.Members, Member{e.Name, address, slices.Clone(w.path)})
	}
	if len(w.out.Members) > w.limit {
		return &TooMany{w.limit}
	}
	return nil
}

func (w *walk) missing(text string) { w.out.Missing = tell(w.out.Missing, text) }

func tell(list []string, text string) []string {
	if len(list) >= maxTold || slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// sameDN is a DN as others are compared with it.
func sameDN(dn string) string {
	if parsed, err := ldap.ParseDN(dn); err == nil {
		dn = parsed.String()
	}
	return strings.ToLower(dn)
}

// members are the entries of those who are in a group.
func (w *walk) members(ctx context.Context, e *Entry) ([]*Entry, error) {
	dns, uids, err := w.named(ctx, e.ID)
	if err != nil {
		return nil, err
	}
	byDN := map[string]*Entry{}
	if w.s.schema.kind == config.SchemaActiveDirectory && len(dns) > maxAlone {
		if err := w.backwards(ctx, e.ID, byDN); err != nil {
			return nil, err
		}
	}
	var rest []string
	for _, dn := range dns {
		if byDN[sameDN(dn)] == nil {
			rest = append(rest, dn)
		}
	}
	if err := w.fetch(ctx, rest, byDN); err != nil {
		return nil, err
	}
	var out []*Entry
	for _, dn := range dns {
		if m := byDN[sameDN(dn)]; m != nil {
			out = append(out, m)
		}
	}
	named, err := w.byUID(ctx, uids)
	return append(out, named...), err
}

// maxAlone is how many members are read one by one where a search for all of
// them would do.
const maxAlone = 20

// named are the members as the group has them: DNs, or names of posixGroup.
// Active Directory gives no more than 1,500 at a time, and an empty member
// beside member;range=0-1499 (MS-ADTS 3.1.1.3.1.3.3).
func (w *walk) named(ctx context.Context, dn string) (dns, uids []string, err error) {
	attrs := []string{"member", "uniqueMember", "memberUid"}
	from := 0
	for range maxRanges {
		more, next := false, from == 0
		there, before := false, len(dns)
		_, err := w.s.search(ctx, query{base: dn, alone: true, filter: "(objectClass=*)", attrs: attrs}, func(r *rawEntry) bool {
			there = true
			for _, a := range r.Attributes {
				name, option, ranged := strings.Cut(strings.ToLower(a.Name), ";range=")
				switch name {
				case "member", "uniquemember":
					if start, _, _ := strings.Cut(option, "-"); ranged && start != strconv.Itoa(from) {
						continue
					}
					next = true
					dns = append(dns, bareDNs(a.Values)...)
				case "memberuid":
					uids = append(uids, a.Values...)
				}
				more = more || ranged && !strings.HasSuffix(option, "-*")
			}
			return true
		})
		switch {
		case err != nil:
			return nil, nil, err
		case !there:
			return nil, nil, &broken{fmt.Errorf("the group %s is not to be read", line(dn)), false}
		case len(dns) > maxEntries:
			return nil, nil, &TooMany{w.limit}
		case next && !more:
			return dns, uids, nil
		case !next || len(dns) == before:
			return nil, nil, &broken{fmt.Errorf("it doesn't go on with the members of %s", line(dn)), true}
		}
		from = len(dns)
		attrs = []string{fmt.Sprintf("member;range=%d-*", from)}
	}
	return nil, nil, &broken{fmt.Errorf("the members of %s have no end", line(dn)), true}
}

// bareDNs leaves out the identifier behind a uniqueMember (RFC 4517 §3.3.21).
func bareDNs(values []string) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		if at := strings.LastIndex(v, "#'"); at > 0 && strings.HasSuffix(v, "'B") {
			v = v[:at]
		}
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// backwards finds the members by what they are in, many at a time. Those of
// other domains are not found so.
func (w *walk) backwards(ctx context.Context, dn string, into map[string]*Entry) error {
	q := query{base: w.s.base, filter: "(memberOf=" + ldap.EscapeFilter(dn) + ")", attrs: w.s.schema.attributes(), page: pageSize}
	_, err := w.s.search(ctx, q, func(r *rawEntry) bool {
		into[sameDN(r.DN)] = w.s.schema.entry(r)
		return true
	})
	return err // whoever a limit has left out is read by itself
}

// fetch reads entries by their DNs.
func (w *walk) fetch(ctx context.Context, dns []string, into map[string]*Entry) error {
	for _, dn := range dns {
		found := false
		out, err := w.s.search(ctx, query{base: dn, alone: true, filter: "(objectClass=*)", attrs: w.s.schema.attributes()}, func(r *rawEntry) bool {
			into[sameDN(dn)], found = w.s.schema.entry(r), true
			return true
		})
		switch {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax):
			w.missing(line(dn) + " is not there")
		case err != nil:
			return err
		case len(out.referrals) > 0:
			return &Unusable{Text: line(dn) + ", which is in the group, is on another server", Hint: "have url name a global catalog (port 3269), which has all domains"}
		case out.incomplete != "":
			return incomplete(out.incomplete)
		case !found:
			w.missing(line(dn) + " may not be read")
		}
	}
	return nil
}

func incomplete(why string) error {
	return &broken{fmt.Errorf("it has not told all members (%s)", why), false}
}

// byUID reads the members of a posixGroup (RFC 2307 §5.3).
func (w *walk) byUID(ctx context.Context, uids []string) (all []*Entry, _ error) {
	const atOnce = 50
	for len(uids) > 0 {
		some := uids[:min(atOnce, len(uids))]
		uids = uids[len(some):]
		var filter strings.Builder
		unread := map[string]bool{}
		for _, uid := range some {
			filter.WriteString("(uid=" + value(uid) + ")")
			unread[folded(uid)] = true
		}
		out, err := w.s.search(ctx, query{base: w.s.base, filter: "(|" + filter.String() + ")", attrs: w.s.schema.attributes(), page: pageSize}, func(r *rawEntry) bool {
			for _, uid := range r.all("uid") {
				delete(unread, folded(uid))
			}
			all = append(all, w.s.schema.entry(r))
			return true
		})
		if err == nil && out.incomplete != "" {
			err = incomplete(out.incomplete)
		}
		if err != nil {
			return nil, err
		}
		for _, uid := range some {
			if unread[folded(uid)] {
				w.missing(line(uid) + " is not there")
			}
		}
	}
	return all, nil
}
