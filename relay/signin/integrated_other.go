//go:build !windows

package signin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/emersion/go-sasl"
)

// integratedLines sign in as the account that runs this process, by the
// tickets or the keytab that it has.
func integratedLines() []mechanism {
	return []mechanism{integratedLine("GSSAPI"), integratedLine("GSS-SPNEGO")}
}

func integratedLine(name string) mechanism {
	kerberos := gssapiClient(name)
	return mechanism{name: name, key: "integrated", lacks: lacksHostName,
		client: func(ctx context.Context, r *Request) (sasl.Client, error) {
			own, err := r.asProcess()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			return kerberos(ctx, own)
		}}
}

// asProcess is the request with the credentials of whoever runs the process,
// where none are configured: those of $KRB5CCNAME, of the default cache, or
// of $KRB5_CLIENT_KTNAME.
func (r *Request) asProcess() (*Request, error) {
	own := *r
	own.Username, own.Password = "", nil
	if own.Kerberos.Keytab != "" || own.Kerberos.CCache != "" {
		return &own, nil
	}
	cache, named := os.LookupEnv("KRB5CCNAME")
	if !named {
		cache = fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid())
		if err := ownTickets(cache); err != nil {
			return nil, err
		}
	}
	kind, path, typed := strings.Cut(cache, ":")
	if !typed {
		kind, path = "FILE", cache
	}
	keytab := strings.TrimPrefix(os.Getenv("KRB5_CLIENT_KTNAME"), "FILE:")
	_, err := os.Stat(path)
	switch {
	case kind == "FILE" && err == nil:
		own.Kerberos.CCache = path
	case keytab != "":
		own.Kerberos.Keytab = keytab
	case kind != "FILE":
		return nil, fmt.Errorf("tickets in %s: cannot be read, only files can; set ccache or keytab", kind)
	default:
		return nil, errors.New("the account that runs this process has no tickets in " + path +
			"; get some by kinit, or set keytab, ccache, $KRB5CCNAME or $KRB5_CLIENT_KTNAME")
	}
	return &own, nil
}

// ownTickets refuses tickets that somebody else has put in a folder of
// everybody's: the relay would sign in as whom they choose. None at all are
// not refused.
func ownTickets(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || ok && int(st.Uid) != os.Geteuid() {
		return errors.New(path + " is not a file of the account that runs this process; remove it, or set keytab or ccache")
	}
	return nil
}
