package signin

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	ntlmssp "github.com/Azure/go-ntlmssp"
	"github.com/emersion/go-sasl"
)

// Offsets and identifiers of [MS-NLMP]; all numbers are little-endian.
const (
	ntlmSignature     = "NTLMSSP\x00"
	ntlmFlags         = 12   // of the NEGOTIATE message, §2.2.1.1
	ntlmRequestTarget = 0x04 // in the first byte of the flags, §2.2.2.5
	ntlmTargetInfo    = 40   // of the CHALLENGE message: length, space, offset, §2.2.1.2
	ntlmChallengeHead = 48   // length of that message without version and payload
	avEnd             = 0x0000
	avChannelBindings = 0x000A // §2.2.2.1
)

// ntlm is NTLM with NTLMv2 ([MS-SMTPNTLM], [MS-NLMP]). Nothing in it proves
// who the other side is; the channel binding lets it at least notice that a
// sign-in was passed on.
type ntlm struct {
	user, password string
	binding        []byte // 16 bytes, or nil
	first          []byte // the NEGOTIATE message
	repeated       bool
	answered       bool
}

func ntlmClient(ctx context.Context, r *Request) (sasl.Client, error) {
	password, err := r.password(ctx)
	if err != nil {
		return nil, err
	}
	return &ntlm{user: r.account(), password: password, binding: windowsBinding(r.State)}, nil
}

// account is the user name with its domain. One that has a domain of its own,
// DOMAIN\user or user@domain, keeps it.
func (r *Request) account() string {
	if r.Domain == "" || strings.ContainsAny(r.Username, `\@`) {
		return r.Username
	}
	return r.Domain + `\` + r.Username
}

// lacksWindowsAccount: in "auto", only an account that is said to be one of
// Windows is tried. For others NTLM would be one more wrong password.
func lacksWindowsAccount(r *Request) string {
	if r.Auth == "auto" && r.Domain == "" && !strings.Contains(r.Username, `\`) {
		return "needs a domain"
	}
	return lacksPassword(r)
}

func (n *ntlm) Start() (string, []byte, error) {
	first, err := ntlmssp.NewNegotiateMessage("", "") // of this machine; they are not needed
	if err != nil {
		return "", nil, err
	}
	// Without it Samba sends no target information, and so no domain to sign
	// in to and nothing to bind to.
	first[ntlmFlags] |= ntlmRequestTarget
	n.first = first
	return "NTLM", first, nil
}

func (n *ntlm) Next(challenge []byte) ([]byte, error) {
	switch {
	case n.answered:
		return nil, errMore
	case len(challenge) == 0 && !n.repeated:
		// "334 NTLM supported": this server has not looked at the command's
		// initial response ([MS-SMTPNTLM] §2.2.1.2).
		n.repeated = true
		return n.first, nil
	}
	challenge, err := n.bound(challenge)
	if err != nil {
		return nil, err
	}
	response, err := ntlmssp.NewAuthenticateMessage(challenge, n.user, n.password, nil)
	if err != nil {
		return nil, errors.New("the upstream's challenge cannot be answered by NTLMv2")
	}
	n.answered = true
	return response, nil
}

func (n *ntlm) verified() error {
	if !n.answered {
		return errors.New("the upstream accepted without a challenge")
	}
	return nil
}

// bound returns the challenge with the channel binding in its target
// information, which the client copies into its response ([MS-NLMP] §3.1.5.1.2).
func (n *ntlm) bound(challenge []byte) ([]byte, error) {
	if len(challenge) < ntlmChallengeHead || string(challenge[:8]) != ntlmSignature || challenge[8] != 2 {
		return nil, errors.New("the upstream's challenge is not one of NTLM")
	}
	length := int(binary.LittleEndian.Uint16(challenge[ntlmTargetInfo:]))
	offset := int(binary.LittleEndian.Uint32(challenge[ntlmTargetInfo+4:]))
	if length == 0 {
		return challenge, nil // an old server, or one outside a domain
	}
	if offset < ntlmChallengeHead || offset > len(challenge) || length > len(challenge)-offset {
		return nil, errors.New("the upstream's challenge is cut short")
	}
	if n.binding == nil {
		return challenge, nil
	}
	info, err := withBinding(challenge[offset:offset+length], n.binding)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), challenge...)
	binary.LittleEndian.PutUint16(out[ntlmTargetInfo:], uint16(len(info)))
	binary.LittleEndian.PutUint16(out[ntlmTargetInfo+2:], uint16(len(info)))
	binary.LittleEndian.PutUint32(out[ntlmTargetInfo+4:], uint32(len(out)))
	return append(out, info...), nil
}

// withBinding copies a list of AV_PAIRs and replaces the channel binding.
func withBinding(pairs, binding []byte) ([]byte, error) {
	var out []byte
	for {
		if len(pairs) < 4 {
			return nil, errors.New("the upstream's target information has no end")
		}
		id, n := binary.LittleEndian.Uint16(pairs), 4+int(binary.LittleEndian.Uint16(pairs[2:]))
		if id == avEnd {
			break
		}
		if n > len(pairs) {
			return nil, errors.New("the upstream's target information is cut short")
		}
		if id != avChannelBindings {
			out = append(out, pairs[:n]...)
		}
		pairs = pairs[n:]
	}
	out = binary.LittleEndian.AppendUint16(out, avChannelBindings)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(binding)))
	out = append(out, binding...)
	if len(out)+4 > 0xFFFF {
		return nil, errors.New("the upstream's target information is too long")
	}
	return append(out, 0, 0, 0, 0), nil
}
