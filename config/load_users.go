package config

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"postern/config/visible"
)

// readUsers reads names with their hashes. A hash is never repeated.
func readUsers(t *table, l *Listener) {
	users := t.sub("users")
	if !t.has("users") {
		return
	}
	l.Users = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(users.values)) {
		var hash string
		if !users.text(name, &hash) {
			continue
		}
		if strings.ContainsFunc(name, func(r rune) bool {
			return r != ' ' && (r < 0x80 && !visible.Rune(r) || r >= 0x80 && !visible.Addressable(r))
		}) {
			t.problem("users", strconv.QuoteToASCII(name)+" contains a character that cannot be seen", "names that look alike are one name to a reader")
		}
		if !knownHash(hash) {
			users.problem(name, "is not a stored password", "make one with: postern passwd")
		}
		l.Users[name] = hash
	}
	if users.values != nil && len(users.values) == 0 {
		t.problem("users", "is empty", "add a user, or remove the key")
	}
	checkMixedUsers(t, l.Users)
}

// checkMixedUsers warns about users whose clients will be refused: most clients
// take the strongest mechanism that is offered, for whomever they sign in.
func checkMixedUsers(t *table, users map[string]string) {
	var without []string
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if !isVerifier(users[name]) {
			without = append(without, strconv.Quote(name))
		}
	}
	if n := len(without); n > 0 && n < len(users) {
		t.warn("users", "SCRAM-SHA-256 is offered, and clients that choose it cannot sign in as "+strings.Join(without, ", "),
			"give all users verifiers (postern passwd --scheme scram-sha-256), or none")
	}
}

// The stored forms that sign-in verifies: argon2id and bcrypt in the form of
// crypt(3), verifiers for SCRAM-SHA-256 as RFC 5803 and as Dovecot write them.
var (
	argonForm  = regexp.MustCompile(`^\$argon2id\$v=19\$(?:[mtp]=[0-9]{1,7},){2}[mtp]=[0-9]{1,7}\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{22,}$`)
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$(?:0[4-9]|1[0-9]|20)\$[./A-Za-z0-9]{53}$`)
	scramForm  = regexp.MustCompile(`^(?:SCRAM-SHA-256\$|\{SCRAM-SHA-256\})([0-9]{4,8})[:,][A-Za-z0-9+/]{11,}={0,2}[$,][A-Za-z0-9+/]{43}=[:,][A-Za-z0-9+/]{43}=$`)
)

func knownHash(hash string) bool {
	return argonForm.MatchString(hash) || bcryptForm.MatchString(hash) || isVerifier(hash)
}

// isVerifier reports whether a stored password is a verifier for SCRAM, with
// at least the iterations of RFC 7677 §4.
func isVerifier(hash string) bool {
	parts := scramForm.FindStringSubmatch(hash)
	if parts == nil {
		return false
	}
	iterations, err := strconv.Atoi(parts[1])
	return err == nil && iterations >= 4096 && iterations <= 10_000_000
}
