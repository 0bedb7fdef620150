package signin

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"
)

// external is EXTERNAL (RFC 4422 appendix A): the certificate that TLS has
// shown says who we are, and the user name, where there is one, as whom to act.
type external struct{ authzid string }

func externalClient(_ context.Context, r *Request) (sasl.Client, error) {
	if strings.ContainsRune(r.Username, 0) { // RFC 4422 appendix A.1
		return nil, errors.New("EXTERNAL: the user name holds a NUL")
	}
	return external{r.Username}, nil
}

func lacksCertificate(r *Request) string {
	switch {
	case !r.TLS:
		return "needs TLS, which shows the certificate"
	case !r.Certificate:
		return "needs a client certificate"
	}
	return ""
}

// Start answers with an empty response, never with none: the upstream need
// not ask (RFC 4422 §5).
func (e external) Start() (string, []byte, error) { return "EXTERNAL", []byte(e.authzid), nil }

func (external) Next([]byte) ([]byte, error) { return nil, errMore }
