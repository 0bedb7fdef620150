package signin

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// maxIterations bounds the work that an upstream can ask of us: about a
// second of one processor.
const maxIterations = 2_000_000

// scramExchange is SCRAM (RFC 5802, RFC 7677) without channel binding.
type scramExchange struct {
	name string
	conv *scram.ClientConversation
	step int
}

func scramClient(name string, hash scram.HashGeneratorFcn) func(user, password string) (sasl.Client, error) {
	return func(user, password string) (sasl.Client, error) {
		client, err := hash.NewClient(user, password, "")
		if err != nil {
			// The error of stringprep quotes what it was given.
			return nil, fmt.Errorf("%s: user name or password holds characters that SASLprep prohibits", name)
		}
		return &scramExchange{name: name, conv: client.NewConversation()}, nil
	}
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
		return nil, sanitized(s.step)
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
func sanitized(step int) error {
	if step == 1 {
		return errors.New("the upstream's first message is not valid for this exchange")
	}
	return errors.New("the upstream's proof is not valid: it does not know the password, or refused ours")
}
