package directory

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"postern/config/wire"
)

// explain is an error in words, and what to do about it.
func explain(err error) (text, hint string) {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var dns *net.DNSError
	var sys *os.SyscallError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time", ""
	case errors.Is(err, context.Canceled):
		return "the question was taken back", ""
	case errors.As(err, &unknown):
		return "its certificate is not of an authority that is known here", "set ca_file to the certificate of that authority"
	case errors.As(err, &name):
		return wire.Line("its certificate is for another name: " + name.Error()), "use the name that the certificate has in url"
	case errors.As(err, &dns):
		return "no such host is known: " + wire.Line(dns.Err), ""
	case errors.As(err, &sys):
		return sys.Err.Error(), ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "it ended the connection", ""
	}
	var e *ldap.Error
	if !errors.As(err, &e) {
		return wire.Line(err.Error()), ""
	}
	return explainResult(e)
}

// explainResult is a result of RFC 4511 §4.1.9 in words.
func explainResult(e *ldap.Error) (text, hint string) {
	said := ""
	if e.Err != nil {
		said = strings.Trim(strings.TrimSpace(e.Err.Error()), "\x00")
	}
	switch e.ResultCode {
	case ldap.ErrorNetwork:
		if strings.Contains(said, "response channel closed") || strings.Contains(said, "connection closed") {
			return "it ended the connection", ""
		}
		return wire.Line(said), ""
	case ldap.LDAPResultInvalidCredentials:
		return "the sign-in is refused: " + wrongCredentials(said), "correct username and password"
	case ldap.LDAPResultStrongAuthRequired, ldap.LDAPResultConfidentialityRequired:
		if strings.Contains(said, "Sign or Seal") {
			return "it wants a security layer of Kerberos, though there is TLS", `use auth = "simple", or in Samba: ldap server require strong auth = allow_sasl_over_tls`
		}
		return "it wants TLS: " + wire.Line(said), `use ldaps://, or remove tls = "off"`
	case ldap.LDAPResultAuthMethodNotSupported, ldap.LDAPResultInappropriateAuthentication:
		return "it doesn't know that way to sign in: " + wire.Line(said), "choose another auth"
	case ldap.LDAPResultNoSuchObject:
		return "it has no such base", "correct base, or remove it"
	case ldap.LDAPResultInsufficientAccessRights:
		return "the account may not read it", "choose another account, or give it the right to read"
	case ldap.LDAPResultOperationsError:
		if strings.Contains(said, "successful bind") || strings.Contains(said, "without authentication") {
			return "it answers nobody who has not signed in", "set auth and an account"
		}
	}
	what := fmt.Sprintf("%s (%d)", ldap.LDAPResultCodeMap[e.ResultCode], e.ResultCode)
	if said != "" {
		what += ": " + wire.Line(said)
	}
	return what, ""
}

// accountStates are the codes that Active Directory puts behind "data" (Win32
// error codes, in hexadecimal).
var accountStates = map[string]string{
	"525": "there is no such user", "52e": "the password or the name is wrong", "530": "not at this time",
	"531": "not from this machine", "532": "the password has expired", "533": "the account is disabled",
	"701": "the account has expired", "773": "the password has to be changed", "775": "the account is locked",
}

func wrongCredentials(said string) string {
	if _, rest, ok := strings.Cut(said, "data "); ok {
		code, _, _ := strings.Cut(rest, ",")
		if state := accountStates[strings.ToLower(strings.TrimSpace(code))]; state != "" {
			return state
		}
	}
	return "the password or the name is wrong"
}
