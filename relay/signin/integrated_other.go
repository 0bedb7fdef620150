//go:build !windows

package signin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

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
	if own.Kerberos.Keytab != "" || own.Kerberos.Cache != "" {
		return &own, nil
	}
	cache, named := os.LookupEnv("KRB5CCNAME")
	if !named {
		cache = fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid())
	}
	kind, path, typed := strings.Cut(cache, ":")
	if !typed {
		kind, path = "FILE", cache
	}
	keytab := strings.TrimPrefix(os.Getenv("KRB5_CLIENT_KTNAME"), "FILE:")
	_, err := os.Stat(path)
	switch {
	case kind == "FILE" && err == nil:
		own.Kerberos.Cache = path
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
