package signin

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"postern/config/wire"
)

// kdcCode finds the number in the library's errors, which are text alone once
// they have been wrapped.
var kdcCode = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\((\d+)\) (?:KDC|KRB)_[A-Z_]+`)
})

// remedies says what the codes of RFC 4120 §7.5.9 mean for an administrator.
var remedies = map[string]string{
	"1":  "the user's account or its keys have expired; renew them at the KDC",
	"6":  "the KDC knows no such user; check username and realm",
	"7":  "the KDC knows no such service; the upstream's principal is smtp/ and its host name: set host to the name that it has there, or spn",
	"12": "the KDC's policy forbids it, for instance at this hour or from this machine",
	"14": "the KDC has no AES key for the user or the service; allow AES for the account (msDS-SupportedEncryptionTypes = 24) and set its password anew. RC4 is not supported",
	"18": "the account is locked, disabled or expired; unlock it at the KDC",
	"23": "the password has expired; set a new one",
	"24": "the password or the keytab is wrong",
	"25": "the KDC wants another way to prove the password than it was offered",
	"29": "the KDC cannot do it now",
	"31": "the password or the keytab is wrong, or the upstream's key is not the KDC's",
	"32": "the ticket has expired; renew it by kinit, or configure a keytab",
	"33": "the ticket is not yet valid; check the clocks",
	"37": "the clocks of this machine and the other one differ by more than five minutes; run NTP on both",
	"41": "the message was altered, or the upstream's key is not the KDC's",
	"44": "the upstream's key is older or newer than the ticket; export its keytab anew, or wait for the ticket to expire",
	"45": "the upstream has no key for the ticket; its keytab lacks this principal",
	"68": "the user belongs to another realm; set realm",
}

// kerberosError says why there is no ticket, with the remedy.
type kerberosError struct {
	text string
	away bool
}

func (e *kerberosError) Error() string { return e.text }

// Temporary reports that nobody refused anything: no KDC has answered.
func (e *kerberosError) Temporary() bool { return e.away }

// explainKerberos turns an error of the library into a sentence with a remedy.
func explainKerberos(err error) error {
	text := err.Error()
	if m := kdcCode().FindStringSubmatch(text); m != nil {
		if remedy := remedies[m[1]]; remedy != "" {
			return &kerberosError{text: remedy + " (" + m[0][strings.IndexByte(m[0], ' ')+1:] + ")", away: m[1] == "29"}
		}
		return fmt.Errorf("the KDC refused: %s", m[0])
	}
	switch {
	case strings.Contains(text, "clock skew"):
		return errors.New("the clocks of this machine and the KDC differ by more than five minutes; run NTP on both")
	case strings.Contains(text, "no entry in keytab") || strings.Contains(text, "matching key not found in keytab"):
		return errors.New("the keytab has no AES key for the user and the realm; check username and realm, or export it anew")
	case strings.Contains(text, "ommunicat"), strings.Contains(text, "Networking_Error"), strings.Contains(text, "KDC SRV"):
		return &kerberosError{text: "no KDC of the realm answers; check realm, krb5.conf and the network", away: true}
	case strings.Contains(text, "integrity"), strings.Contains(text, "ecrypt"):
		return errors.New("the KDC's answer cannot be read: the password or the keytab is wrong")
	}
	return errors.New("no ticket: " + wire.Text(text, 300))
}
