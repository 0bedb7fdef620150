package config

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// noName stands where this machine has no name that can be said in EHLO.
const noName = "localhost"

// MachineName is the name of this machine where it can stand in EHLO, and
// "localhost" otherwise: containers are called web_1, box.(none) or nothing.
func MachineName() string {
	name, err := os.Hostname()
	if err != nil {
		return noName
	}
	return nameFrom(name)
}

func nameFrom(machine string) string {
	if canonical, ok := hostName(machine); ok {
		return canonical
	}
	return noName
}

// hostName is the canonical form of a name for EHLO (RFC 5321 §4.1.1.1): a
// domain in ASCII, or an address literal.
func hostName(name string) (string, bool) {
	canonical, ok := CanonicalDomain(name)
	if !ok || len(canonical) > 255 {
		return "", false
	}
	if strings.HasPrefix(canonical, "[") {
		return canonical, isAddressLiteral(canonical)
	}
	for label := range strings.SplitSeq(canonical, ".") {
		if len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		if strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
		}) {
			return "", false
		}
	}
	return canonical, true
}

// DoubtfulHostname warns of a name that upstreams may refuse in EHLO: one
// without a dot, or one that names no machine in particular. Nil: it is good,
// or all upstreams are on this machine and do not care.
func (c *Config) DoubtfulHostname() *Problem {
	text := doubtOf(c.Hostname)
	if text == "" || !c.leavesMachine() {
		return nil
	}
	if machine, err := os.Hostname(); c.Hostname == noName && err == nil && nameFrom(machine) == noName {
		text += ": the machine is called " + strconv.QuoteToASCII(machine) + ", which EHLO cannot carry"
	}
	return &Problem{File: c.Path, Key: "hostname", Text: text,
		Hint: `upstreams such as Google's relay refuse it: set hostname to a full name of this machine, such as "app1.example.com"`}
}

// doubtOf is what is wrong with a canonical name; empty: nothing.
func doubtOf(name string) string {
	parent := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case name == "", strings.HasPrefix(name, "["):
		return ""
	case parent == noName, parent == "localdomain":
		return "EHLO and Message-ID say " + strconv.Quote(name) + ", which is no machine in particular"
	case !strings.Contains(name, "."):
		return "EHLO and Message-ID say " + strconv.Quote(name) + ", which has no domain"
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "EHLO and Message-ID say " + strconv.Quote(name) + ", which is an address without brackets"
	}
	return ""
}

// leavesMachine tells whether any upstream is another machine.
func (c *Config) leavesMachine() bool {
	for _, up := range c.Upstreams {
		if up.Provider != CaptureProvider && !isLoopback(up.Host) {
			return true
		}
	}
	return false
}
