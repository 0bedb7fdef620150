package upstream

import (
	"slices"
	"strconv"
	"strings"

	"postern/config/wire"
)

// extensions is what EHLO announced (RFC 5321 §4.1.1.1), within what the
// configuration allows.
type extensions struct {
	pipelining bool
	chunking   bool
	binaryMIME bool
	eightBit   bool
	smtpUTF8   bool
	startTLS   bool
	dsn        bool
	requireTLS bool
	priority   bool
	deliverBy  bool
	minBy      int64 // seconds; 0: no minimum
	size       bool
	maxSize    int64 // bytes; 0: not said
	auth       []string
	maxRcpt    int // RFC 9422; 0: not said
	maxMail    int
}

// maxMechanisms is how many mechanisms of AUTH are looked at: several times what
// any server has, so that a reply full of names takes no time.
const maxMechanisms = 100

// parseExtensions reads the reply to EHLO. The first line is a greeting.
// Keywords count in any case (RFC 5321 §2.4). without are not to be used.
func parseExtensions(text string, without []string) extensions {
	var x extensions
	lines := strings.Split(text, "\n")
	for _, line := range lines[1:] {
		keyword, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		keyword = strings.ToUpper(keyword)
		// "AUTH=LOGIN PLAIN" is how servers announced it before RFC 2554.
		if rest, ok := strings.CutPrefix(keyword, "AUTH="); ok {
			keyword, args = "AUTH", rest+" "+args
		}
		if !slices.Contains(without, keyword) {
			x.set(keyword, strings.Fields(args))
		}
	}
	return x
}

// restrict applies what the configuration knows of limits that the upstream
// does not announce; of two the smaller one counts, and zero is none.
func (x *extensions) restrict(recipients int, size int64) {
	if recipients > 0 && (x.maxRcpt == 0 || recipients < x.maxRcpt) {
		x.maxRcpt = recipients
	}
	if size > 0 && (x.maxSize == 0 || size < x.maxSize) {
		x.maxSize = size
	}
}

func (x *extensions) set(keyword string, args []string) {
	switch keyword {
	case "PIPELINING":
		x.pipelining = true
	case "CHUNKING":
		x.chunking = true
	case "BINARYMIME":
		x.binaryMIME = true
	case "8BITMIME":
		x.eightBit = true
	case "SMTPUTF8":
		x.smtpUTF8 = true
	case "STARTTLS":
		x.startTLS = true
	case "DSN":
		x.dsn = true
	case "REQUIRETLS":
		x.requireTLS = true
	case "MT-PRIORITY":
		x.priority = true
	case "DELIVERBY":
		x.deliverBy = true
		x.minBy = number(args)
	case "SIZE":
		x.size = true
		x.maxSize = number(args)
	case "AUTH":
		// Servers that announce both forms of AUTH name mechanisms twice.
		for _, name := range args {
			if name = strings.ToUpper(wire.Text(name, 40)); len(x.auth) < maxMechanisms && !slices.Contains(x.auth, name) {
				x.auth = append(x.auth, name)
			}
		}
	case "LIMITS":
		x.limits(args)
	}
}

// limits reads RFC 9422: how many recipients a transaction and how many
// transactions a session may have.
func (x *extensions) limits(args []string) {
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.ToUpper(arg), "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			continue
		}
		switch name {
		case "RCPTMAX":
			x.maxRcpt = n
		case "MAILMAX":
			x.maxMail = n
		}
	}
}

// number is the first argument; 0 where there is none that makes sense.
func number(args []string) int64 {
	if len(args) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
