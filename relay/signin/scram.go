package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"postern/config"
)

// maxIterations bounds the work that an upstream can ask of us: about a
// second of one processor.
const maxIterations = 2_000_000

// scramExchange is SCRAM (RFC 5802, RFC 7677), bound to the TLS connection or
// not.
type scramExchange struct {
	name string
	conv *scram.ClientConversation
	step int
}

// scramLine is the line of the table for one hash. A bound one goes before
// every other: whoever sits in between with a certificate of their own cannot
// pass it on.
func scramLine(name string, strength int, hash scram.HashGeneratorFcn, bound bool) mechanism {
	m := mechanism{name: name, key: config.Mechanism(strings.ToLower(name)), strength: strength, stored: true, lacks: lacksPassword}
	if bound {
		m.name, m.strength = name+"-PLUS", strength+30 // RFC 5802 §4
		m.lacks = func(r *Request) string {
			if r.unconnected && r.TLS {
				return lacksPassword(r)
			}
			if _, err := scramBinding(r.State); err != nil {
				return "cannot be bound: " + err.Error()
			}
			return lacksPassword(r)
		}
	}
	m.client = func(ctx context.Context, r *Request) (sasl.Client, error) {
		password, err := r.password(ctx)
		if err != nil {
			return nil, err
		}
		return newSCRAM(r, m.name, password, hash, bound)
	}
	return m
}

func newSCRAM(r *Request, name, password string, hash scram.HashGeneratorFcn, bound bool) (sasl.Client, error) {
	client, err := hash.NewClient(r.Username, password, "")
	if err != nil {
		// The error of stringprep quotes what it was given.
		return nil, fmt.Errorf("%s: user name or password holds characters that SASLprep prohibits", name)
	}
	binding, err := scramBinding(r.State)
	s := &scramExchange{name: name}
	switch {
	case bound && err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case bound:
		s.conv = client.NewConversationWithChannelBinding(binding)
	case err == nil:
		// RFC 5802 §6, the flag "y": we could, and the upstream seems not to.
		// If it could too, somebody has removed its -PLUS, and it will refuse.
		s.conv = client.NewConversationAdvertisingChannelBinding()
	default:
		s.conv = client.NewConversation()
	}
	return s, nil
}

func (s *scramExchange) Start() (string, []byte, error) {
	first, err := s.conv.Step("")
	return s.name, []byte(first), err
}

func (s *scramExchange) Next(challenge []byte) ([]byte, error) {
	s.step++
	if s.conv.Done() {
		return nil, errMore
	}
	if s.step == 1 {
		if err := checkIterations(challenge); err != nil {
			return nil, err
		}
	}
	response, err := s.conv.Step(string(challenge))
	if err != nil {
		return nil, sanitized(s.step, challenge)
	}
	// The last response, to the server's proof, is an empty line; never nil.
	return []byte(response), nil
}

// verified: RFC 5802 §5: the server's signature is checked, or it could be
// anybody.
func (s *scramExchange) verified() error {
	if !s.conv.Valid() {
		return errors.New("the upstream did not prove that it knows the password")
	}
	return nil
}

// checkIterations looks for i= before any work is done for it.
func checkIterations(first []byte) error {
	for attr := range bytes.SplitSeq(first, []byte(",")) {
		if value, ok := bytes.CutPrefix(attr, []byte("i=")); ok {
			if n, err := strconv.Atoi(string(value)); err != nil || n > maxIterations {
				return fmt.Errorf("the upstream asks for more than %d iterations", maxIterations)
			}
		}
	}
	return nil
}

// sanitized says what is wrong without the upstream's bytes, which the errors
// of the library quote.
func sanitized(step int, challenge []byte) error {
	switch { // RFC 5802 §7, server-error-value
	case bytes.Contains(challenge, []byte("e=server-does-support-channel-binding")):
		return errors.New("the upstream can bind the sign-in to TLS, but does not seem to offer it here: " +
			"somebody in between may have removed its offer")
	case bytes.Contains(challenge, []byte("e=channel-bindings-dont-match")):
		return errors.New("the upstream sees another TLS connection than this one: somebody is in between, or a proxy ends TLS before it")
	case bytes.Contains(challenge, []byte("e=unsupported-channel-binding-type")):
		return errors.New("the upstream does not know the channel binding of this TLS version")
	case step == 1:
		return errors.New("the upstream's first message is not valid for this exchange")
	}
	return errors.New("the upstream's proof is not valid: it does not know the password, or refused ours")
}
