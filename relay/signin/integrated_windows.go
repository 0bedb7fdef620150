package signin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/alexbrainman/sspi"
	"github.com/emersion/go-sasl"
)

// integratedLines sign in as the Windows account of this process or service,
// by SSPI: with Kerberos, with whatever Negotiate finds, or with NTLM. NTLM
// stays under TLS here too, and so does Negotiate, which may come to it.
func integratedLines() []mechanism {
	line := func(name, pkg string, layers, clear bool) mechanism {
		return mechanism{name: name, key: "integrated", clear: clear, lacks: lacksHostName,
			client: func(_ context.Context, r *Request) (sasl.Client, error) {
				context, err := newSSPI(pkg, r)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				return &gssapi{name: name, context: context, layers: layers}, nil
			}}
	}
	ntlm := mechanism{name: "NTLM", key: "integrated", clear: true, lacks: func(*Request) string { return "" },
		client: func(_ context.Context, r *Request) (sasl.Client, error) {
			context, err := newSSPI(sspi.NTLMSP_NAME, r)
			if err != nil {
				return nil, fmt.Errorf("NTLM: %w", err)
			}
			return &sspiNTLM{context: context}, nil
		}}
	return []mechanism{line("GSSAPI", sspi.MICROSOFT_KERBEROS_NAME, true, false), line("GSS-SPNEGO", sspi.NEGOSSP_NAME, false, true), ntlm}
}

const (
	maxSSPIToken = 1 << 16
	// A message with this quality is signed and not encrypted
	// (SECQOP_WRAP_NO_ENCRYPT).
	signOnly = 0x80000001
)

// sspiContext is a security context that Windows holds.
type sspiContext struct {
	credentials *sspi.Credentials
	context     *sspi.Context
	service     *uint16
	bindings    []byte // SEC_CHANNEL_BINDINGS, or empty
	mutual      bool
}

func newSSPI(pkg string, r *Request) (*sspiContext, error) {
	service, err := syscall.UTF16PtrFromString(r.service())
	if err != nil {
		return nil, err
	}
	credentials, err := sspi.AcquireCredentials("", pkg, sspi.SECPKG_CRED_OUTBOUND, nil)
	if err != nil {
		return nil, fmt.Errorf("no credentials of this account: %w", err)
	}
	wanted := uint32(sspi.ISC_REQ_CONNECTION)
	if pkg != sspi.NTLMSP_NAME {
		wanted = sspi.ISC_REQ_INTEGRITY | sspi.ISC_REQ_MUTUAL_AUTH
	}
	return &sspiContext{
		credentials: credentials, context: sspi.NewClientContext(credentials, wanted), service: service,
		bindings: sspiBindings(r), mutual: pkg == sspi.MICROSOFT_KERBEROS_NAME,
	}, nil
}

// sspiBindings is a SEC_CHANNEL_BINDINGS: four words for each address and two
// for the data, of which only the last two are set.
func sspiBindings(r *Request) []byte {
	data := endPoint(r.State)
	if data == nil {
		return nil
	}
	head := binary.LittleEndian.AppendUint32(make([]byte, 24), uint32(len(data)))
	return append(binary.LittleEndian.AppendUint32(head, 32), data...)
}

func (s *sspiContext) first() ([]byte, error) {
	out, _, err := s.update(nil)
	return out, err
}

func (s *sspiContext) next(token []byte) ([]byte, bool, error) {
	if len(token) == 0 {
		return nil, false, errors.New("the upstream sent no token")
	}
	out, done, err := s.update(token)
	if err == nil && done && s.mutual {
		if s.context.VerifySelectiveFlags(sspi.ISC_REQ_MUTUAL_AUTH) != nil {
			err = errors.New("the upstream did not prove who it is")
		}
	}
	return out, done, err
}

// update is one call of InitializeSecurityContext.
func (s *sspiContext) update(token []byte) (out []byte, done bool, err error) {
	in := make([]sspi.SecBuffer, 0, 2)
	if len(token) > 0 {
		in = append(in, sspi.SecBuffer{})
		in[0].Set(sspi.SECBUFFER_TOKEN, token)
	}
	if len(s.bindings) > 0 {
		in = append(in, sspi.SecBuffer{})
		in[len(in)-1].Set(sspi.SECBUFFER_CHANNEL_BINDINGS, s.bindings)
	}
	var given *sspi.SecBufferDesc
	if len(in) > 0 {
		given = sspi.NewSecBufferDesc(in)
	}
	made := make([]sspi.SecBuffer, 1)
	made[0].Set(sspi.SECBUFFER_TOKEN, make([]byte, maxSSPIToken))
	result := sspi.NewSecBufferDesc(made)
	switch code := s.context.Update(s.service, result, given); code {
	case sspi.SEC_E_OK:
		done = true
	case sspi.SEC_I_CONTINUE_NEEDED:
	case sspi.SEC_I_COMPLETE_NEEDED, sspi.SEC_I_COMPLETE_AND_CONTINUE:
		done = code == sspi.SEC_I_COMPLETE_NEEDED
		if code = sspi.CompleteAuthToken(s.context.Handle, result); code != sspi.SEC_E_OK {
			return nil, false, fmt.Errorf("SSPI: %w", code)
		}
	default:
		return nil, false, fmt.Errorf("SSPI: %w", code)
	}
	return made[0].Bytes(), done, nil
}

func (s *sspiContext) unwrap(message []byte) ([]byte, error) {
	if len(message) == 0 {
		return nil, errors.New("the upstream's message is empty")
	}
	parts := make([]sspi.SecBuffer, 2)
	parts[0].Set(sspi.SECBUFFER_STREAM, append([]byte(nil), message...))
	parts[1].Set(sspi.SECBUFFER_DATA, nil)
	var quality uint32
	if code := sspi.DecryptMessage(s.context.Handle, sspi.NewSecBufferDesc(parts), 0, &quality); code != sspi.SEC_E_OK {
		return nil, fmt.Errorf("the signature of the upstream's message is wrong: %w", code)
	}
	return parts[1].Bytes(), nil
}

func (s *sspiContext) wrap(message []byte) ([]byte, error) {
	_, _, block, trailer, err := s.context.Sizes()
	if err != nil {
		return nil, err
	}
	parts := make([]sspi.SecBuffer, 3)
	parts[0].Set(sspi.SECBUFFER_TOKEN, make([]byte, trailer))
	parts[1].Set(sspi.SECBUFFER_DATA, append([]byte(nil), message...))
	parts[2].Set(sspi.SECBUFFER_PADDING, make([]byte, max(block, 1)))
	if code := sspi.EncryptMessage(s.context.Handle, signOnly, sspi.NewSecBufferDesc(parts), 0); code != sspi.SEC_E_OK {
		return nil, fmt.Errorf("SSPI: %w", code)
	}
	var out []byte
	for i := range parts {
		out = append(out, parts[i].Bytes()...)
	}
	return out, nil
}

func (s *sspiContext) close() {
	if s.context.Handle != nil {
		_ = s.context.Release() // nothing is owed to anybody
	}
	_ = s.credentials.Release()
}

// sspiNTLM is NTLM by Windows.
type sspiNTLM struct {
	context  *sspiContext
	token    []byte
	repeated bool
	answered bool
}

func (n *sspiNTLM) Start() (_ string, _ []byte, err error) {
	n.token, err = n.context.first()
	return "NTLM", n.token, err
}

func (n *sspiNTLM) Next(challenge []byte) ([]byte, error) {
	switch {
	case n.answered:
		return nil, errMore
	case len(challenge) == 0 && !n.repeated:
		n.repeated = true // "334 NTLM supported"
		return n.token, nil
	}
	out, done, err := n.context.next(challenge)
	if err != nil {
		return nil, err
	}
	if !done || len(out) == 0 {
		return nil, errors.New("the upstream's challenge cannot be answered")
	}
	n.answered = true
	return out, nil
}

func (n *sspiNTLM) verified() error {
	if !n.answered {
		return errors.New("the upstream accepted without a challenge")
	}
	return nil
}

// Close lets Windows forget the context.
func (n *sspiNTLM) Close() error {
	n.context.close()
	return nil
}
