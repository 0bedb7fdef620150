package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/signin"
	"postern/spool"
)

// Report is what an examination of an upstream showed: facts, without a
// judgement. Text that the upstream sent has no control bytes.
type Report struct {
	Way              // that the session went, or that came furthest
	Others    []Way  // that were tried, where port and TLS are found out
	Lookup    Lookup // of the host
	Addresses []Reach
	Remote    string  // address that the session went to; empty: none
	Verified  bool    // the certificate was checked, by its chain or its pin
	SignIn    *SignIn // nil: none was wanted, or it did not come to it
	// Rehearsed are the envelopes that were tried.
	Rehearsed []Rehearsed
	Fault     *spool.Fault // what kept the session from being opened; nil: nothing
	Took      time.Duration
	// Doing is the step that goes on, of a report that is not whole yet.
	Doing Step

	seen func() // is told of each step as it begins and ends; nil: nobody is
}

// Way is one way to an upstream.
type Way struct {
	Target string // host and port; empty: it did not come to any
	Port   int
	TLS    config.UpstreamTLS // never TLSAuto
	// Steps are those that were taken, in their order. One that failed is the
	// last. STARTTLS itself is none of them: where it is not offered, or
	// refused, Fault alone says so.
	Steps     []Taken
	Banner    string // text of the greeting
	Hellos    []Hello
	Handshake *Handshake   // nil: none that came as far as a certificate
	Fault     *spool.Fault // what ended it before EHLO, over TLS where that is wanted; nil: nothing
}

// Lookup is how the host was resolved.
type Lookup struct {
	Host    string
	Literal bool // it is an address, or within this process
	Skipped bool // the examination was ended before
	Took    time.Duration
	Err     error
}

// Reach tells whether one address takes connections.
type Reach struct {
	Address netip.Addr
	Tried   bool // false: the only one, which the session says everything about
	Took    time.Duration
	Err     string // in words; empty: it does
}

// Step is a step of opening a session.
type Step string

// The steps, in the order of a session.
const (
	StepToken     Step = "token" // of OAuth 2.0
	StepConnect   Step = "connect"
	StepBanner    Step = "banner"
	StepHello     Step = "ehlo"
	StepHandshake Step = "handshake"
	StepSignIn    Step = "signin"
)

// What an examination does afterwards. Neither is among Way.Steps.
const (
	StepRehearse  Step = "rehearse"
	StepAddresses Step = "addresses"
)

// Taken is a step that was taken.
type Taken struct {
	Step  Step
	Took  time.Duration
	Fault *spool.Fault // nil: it went well
}

// Hello is what one EHLO announced. A HELO announces nothing and leaves none.
type Hello struct {
	Encrypted  bool // it came over TLS
	Extensions []string
	MaxSize    int64 // bytes; 0: none was said
}

// Announces tells whether keyword was announced.
func (h *Hello) Announces(keyword string) bool {
	return slices.ContainsFunc(h.Extensions, func(line string) bool {
		name, _, _ := strings.Cut(line, " ")
		return strings.EqualFold(name, keyword)
	})
}

// Handshake is what TLS came to.
type Handshake struct {
	Version string // "TLS 1.3"; empty: it was broken off before
	Cipher  string
	Resumed bool
	// Names are those of which the certificate has to bear one.
	Names []string
	// Chain is as the upstream showed it, its own certificate first.
	Chain []*x509.Certificate
	// Invalid is why the chain is not good for any of Names, whether the
	// configuration asks for that or not; nil: it is good.
	Invalid error
}

// SignIn is how the mechanism was chosen.
type SignIn struct {
	Auth      config.Mechanism
	Offered   []string // as announced
	Verdicts  []signin.Verdict
	Mechanism string // that was tried; empty: none could be
}

// step begins one step, and notes it at its end, where there is a report:
//
//	defer s.notes.step(StepConnect)(&fault)
func (r *Report) step(step Step) func(**spool.Fault) {
	if r == nil {
		return func(**spool.Fault) {}
	}
	r.begin(step)
	began := time.Now()
	return func(fault **spool.Fault) {
		r.Steps = append(r.Steps, Taken{step, time.Since(began), *fault})
		r.begin("")
	}
}

// begin tells whoever looks on what goes on.
func (r *Report) begin(step Step) {
	r.Doing = step
	if r.seen != nil {
		r.seen()
	}
}

// sofar is a copy that the examination does not change any more.
func (r *Report) sofar() *Report {
	c := *r
	c.seen = nil
	c.Steps, c.Hellos, c.Others, c.Rehearsed = slices.Clone(r.Steps), slices.Clone(r.Hellos), slices.Clone(r.Others), slices.Clone(r.Rehearsed)
	return &c
}

// way begins one way, and notes how it ended, as step does.
func (r *Report) way(w way) func(**spool.Fault) {
	if r == nil {
		return func(**spool.Fault) {}
	}
	if r.Target != "" {
		r.Others = append(r.Others, r.Way)
		r.Way = Way{}
	}
	r.Target, r.Port, r.TLS = w.String(), w.port, w.tls
	return func(fault **spool.Fault) { r.Way.Fault = *fault }
}

// choose tells of the way that the fault of the session is about.
func (r *Report) choose() {
	for i := range r.Others {
		if r.Fault != nil && r.Others[i].Fault == r.Fault {
			r.Way, r.Others[i] = r.Others[i], r.Way
			return
		}
	}
}

func (r *Report) banner(got *reply) {
	if r != nil {
		r.Banner = wire.Text(string(got.text), maxText)
	}
}

func (r *Report) hello(got *reply, encrypted bool) {
	if r == nil {
		return
	}
	x := parseExtensions(string(got.text), nil)
	h := Hello{Encrypted: encrypted, MaxSize: x.maxSize}
	for _, line := range strings.Split(string(got.text), "\n")[1:] {
		if line = strings.TrimSpace(wire.Text(line, maxText)); line != "" {
			h.Extensions = append(h.Extensions, line)
		}
	}
	r.Hellos = append(r.Hellos, h)
}

// watch has conf note the certificates, whatever comes of them. names are
// those of which they have to bear one.
func (r *Report) watch(conf *tls.Config, names []string) *tls.Config {
	if r == nil {
		return conf
	}
	check := conf.VerifyConnection
	conf = conf.Clone()
	conf.VerifyConnection = func(state tls.ConnectionState) error {
		r.Handshake = &Handshake{
			Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite), Resumed: state.DidResume,
			Names: names, Chain: state.PeerCertificates, Invalid: checkChain(state, conf.RootCAs, names),
		}
		if check != nil {
			return check(state)
		}
		return nil
	}
	return conf
}

// unverified notes the certificates of a handshake that failed at their check.
func (r *Report) unverified(err error, names []string) {
	var failed *tls.CertificateVerificationError
	if r != nil && errors.As(err, &failed) {
		r.Handshake = &Handshake{Names: names, Chain: failed.UnverifiedCertificates, Invalid: failed.Err}
	}
}

func (r *Report) signIn(request *signin.Request, mechanism string) {
	if r != nil {
		r.SignIn = &SignIn{
			Auth: request.Auth, Offered: request.Offered, Verdicts: signin.Explain(request), Mechanism: mechanism,
		}
	}
}
