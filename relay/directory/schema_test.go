package directory

import (
	"fmt"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"postern/config"
)

var (
	ad   = schemaOf(config.SchemaActiveDirectory, &rawEntry{})
	inet = schemaOf(config.SchemaInetOrgPerson, &rawEntry{})
)

func raw(attributes map[string][]string) *rawEntry {
	return (*rawEntry)(ldap.NewEntry("CN=x,DC=y", attributes))
}

func TestEntries(t *testing.T) {
	e := ad.entry(raw(map[string][]string{
		"objectClass": {"top", "user"}, "displayName": {"Alice Liddell"}, "cn": {"Alice"}, "sAMAccountName": {"alice"}, "sn": {"Liddell"},
		"proxyAddresses": {"smtp:al@x.test", "SMTP:alice@x.test", "X500:/o=x", "smtp:not an address", "SIP:alice@sip.test"}, "mail": {"Alice@x.test"},
	}))
	if got := strings.Join(e.Addresses, " "); got != "alice@x.test al@x.test" || e.Kind != Person || e.hidden {
		t.Error(got, e)
	}
	for text, want := range map[string]bool{"alice liddell": true, "ALICE": true, "al@X.test": true, "liddell": false, "": false} {
		if e.Is(text) != want {
			t.Error(text)
		}
	}
	if !e.Begins("lid") || !e.Begins("alice l") || e.Begins("iddell") {
		t.Error("prefix")
	}
	if e := ad.entry(raw(map[string][]string{"objectClass": {"user"}, "msExchHideFromAddressLists": {"TRUE"}})); !e.hidden {
		t.Error("not hidden")
	}
	if e := ad.entry(raw(map[string][]string{"objectClass": {"msExchDynamicDistributionList"}, "msExchQueryFilter": {"(Company -eq 'x')"}})); e.Kind != Dynamic || e.rule != "(Company -eq 'x')" {
		t.Error(e)
	}
	if e := inet.entry(raw(map[string][]string{"objectClass": {"groupOfURLs"}, "memberURL": {"ldap:///??sub?(x=y)"}})); e.Kind != Dynamic {
		t.Error(e)
	}
	if e := inet.entry(raw(nil)); e.Name == "" || e.Address() != "" {
		t.Error(e)
	}
}

// tree is the shape of a filter, without its values.
func tree(p *ber.Packet) string {
	out := fmt.Sprint(p.ClassType, p.Tag)
	for _, c := range p.Children {
		out += "(" + tree(c) + ")"
	}
	return out
}

// FuzzFilter: whatever a text holds, the filter has the shape that it has for
// another text, and stays one.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"ali", "*", ")(objectClass=*", `\2a`, "a\x00b", "é", "\xff", "(&(cn=x))", "a*)(|(mail=*", "  "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.TrimSpace(text) == "" {
			return
		}
		shape := func(filter string) string {
			p, err := ldap.CompileFilter(filter)
			if err != nil {
				t.Fatalf("%q: %v", filter, err)
			}
			return tree(p)
		}
		words := strings.Fields(text)
		plain := strings.TrimSpace(strings.Repeat("x ", min(len(words), 8)))
		for _, s := range []schema{ad, inet} {
			for i, build := range []func(string) string{
				func(text string) string { return s.find("", text) }, func(text string) string { return s.exact("", text) },
				func(text string) string { return s.prefix("", text) }, s.groups,
				func(text string) string { return s.find("(&(a=b)(|(cn=*%s*)(mail=%s)))", text) },
			} {
				if got, want := shape(build(text)), shape(build(plain)); got != want {
					t.Errorf("%d of %s: %q makes %s, not %s", i, s.kind, text, got, want)
				}
			}
		}
	})
}

// FuzzSound: what is sound is read by the library without a panic.
func FuzzSound(f *testing.F) {
	f.Add([]byte{2, 1, 1, 0x65, 7, 10, 1, 0, 4, 0, 4, 0})
	f.Add([]byte{2, 1, 1, 0x64, 4, 4, 0, 0x30, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		n := 0
		if sound(content, 1, &n) {
			operation(content)
			_, _ = ber.DecodePacketErr(append([]byte{0x30, 0x84, byte(len(content) >> 24), byte(len(content) >> 16), byte(len(content) >> 8), byte(len(content))}, content...))
		}
	})
}
