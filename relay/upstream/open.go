package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"postern/config"
	"postern/relay/signin"
	"postern/spool"
)

// Target is the host and port of up, for people, and for what is remembered
// about it; the host alone where the port is found out.
func Target(up *config.Upstream) string {
	if up.Port == 0 {
		return up.Host
	}
	return net.JoinHostPort(up.Host, strconv.Itoa(up.Port))
}

// open brings the session to where it can take mail. On a fault nothing was
// taken from the feed.
func (s *session) open(ctx context.Context) *spool.Fault {
	lacking := s.provide(ctx)
	if lacking != nil && s.notes == nil {
		return lacking
	}
	if fault := s.approach(ctx); fault != nil {
		return fault
	}
	if lacking != nil {
		return lacking // an examination has seen all that there is without a token
	}
	defer s.endWith(ctx)()
	if fault := s.signIn(ctx); fault != nil {
		return fault
	}
	s.reportOpen()
	return nil
}

// endWith closes the connection as soon as ctx is done, until stop is called:
// a session that is not open yet has nothing to finish.
func (s *session) endWith(ctx context.Context) (stop func() bool) {
	conn := s.connection.conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // closes without a last word to a peer that may not listen
	}
	return context.AfterFunc(ctx, func() { _ = conn.Close() })
}

// provide gets a token before the upstream waits for it. Without one there is
// nothing to connect for, but to have a look.
func (s *session) provide(ctx context.Context) (fault *spool.Fault) {
	if s.up.OAuth == nil {
		return nil
	}
	defer s.notes.step(StepToken)(&fault)
	if _, err := s.token(ctx, ""); err != nil {
		return s.fault(spool.StageSignIn, "no access token", err)
	}
	return nil
}

func (s *session) token(ctx context.Context, refused string) (string, error) {
	if s.dialer.Tokens == nil {
		return "", errors.New("nobody gives tokens for this upstream")
	}
	return s.dialer.Tokens.Token(ctx, &s.up.Account, refused)
}

// greet reads the banner and says hello.
func (s *session) greet() *spool.Fault {
	if fault := s.banner(); fault != nil {
		return fault
	}
	return s.hello()
}

func (s *session) banner() (fault *spool.Fault) {
	defer s.notes.step(StepBanner)(&fault)
	r, err := s.read(s.limits.command)
	if err != nil {
		return s.fault(spool.StageGreet, "no greeting", err)
	}
	s.attentive = r.code != 421
	s.notes.banner(&r)
	if !r.positive() {
		return s.refusal(spool.StageGreet, &r)
	}
	return nil
}

// hello sends EHLO, or HELO to whoever does not know it (RFC 5321 §3.2), and
// forgets whatever an earlier EHLO announced.
func (s *session) hello() (fault *spool.Fault) {
	defer s.notes.step(StepHello)(&fault)
	s.ext = extensions{}
	name := s.dialer.hostname()
	r, err := s.command("EHLO " + name)
	if err == nil && r.positive() {
		s.ext = parseExtensions(string(r.text), s.up.Without)
		if s.dialer.isPlain(s.up.Name) {
			s.ext.pipelining = false
		}
		s.notes.hello(&r, s.tls != nil)
		s.ext.restrict(s.up.MaxRecipients, s.up.MaxMessageSize)
		return nil
	}
	if err == nil && r.code/100 == 5 {
		r, err = s.command("HELO " + name)
	}
	if err != nil {
		return s.fault(spool.StageGreet, "no answer to EHLO", err)
	}
	if !r.positive() {
		return s.refusal(spool.StageGreet, &r)
	}
	s.ext.restrict(s.up.MaxRecipients, s.up.MaxMessageSize)
	return nil
}

// secure does STARTTLS where the configuration wants it (RFC 3207). What was
// offered and then fails is a fault in every mode: only an upstream that
// offers no TLS at all, and never did, is talked to in clear, and only in
// "opportunistic".
func (s *session) secure(ctx context.Context) *spool.Fault {
	if s.way.tls == config.TLSOpportunistic {
		s.recall() // now, because another session may have learnt something meanwhile
	}
	switch {
	case s.way.tls == config.TLSOff || s.way.tls == config.TLSImplicit:
		return nil
	case !s.ext.startTLS && s.way.tls == config.TLSOpportunistic:
		if err := s.mayGoInClear(); err != nil {
			return s.fault(spool.StageTLS, "no TLS", err)
		}
		s.dialer.tell(&TLSProblem{Upstream: s.up.Name, Remote: s.remote, Problem: "the upstream offers no STARTTLS", InClear: true})
		return nil
	case !s.ext.startTLS:
		return s.fault(spool.StageTLS, "no TLS",
			fmt.Errorf("the upstream offers no STARTTLS, which tls = %q requires", s.up.TLS))
	}
	s.sawOffer(ctx)
	r, err := s.command("STARTTLS")
	if err != nil {
		return s.fault(spool.StageTLS, "no answer to STARTTLS", err)
	}
	if r.code != 220 {
		return s.refusal(spool.StageTLS, &r)
	}
	// RFC 3207 §4.2: whatever was sent in clear behind the reply could come
	// from anybody (CVE-2011-0411).
	if !s.quiet() {
		return s.fault(spool.StageTLS, "no TLS",
			errors.New("the upstream, or somebody in between, sent plain text behind STARTTLS"))
	}
	if fault := s.handshake(ctx); fault != nil {
		return fault
	}
	return s.hello() // RFC 3207 §4.2: what was announced before does not count
}

func (s *session) handshake(ctx context.Context) (fault *spool.Fault) {
	defer s.notes.step(StepHandshake)(&fault)
	conf, err := s.dialer.tlsConfig(s.up, s.way)
	if err != nil {
		return s.fault(spool.StageTLS, "the TLS settings cannot be used",
			&Trouble{Cause: describe(err), Remedy: "Look at ca_file, cert_file and key_file.", ours: true, err: err})
	}
	if s.way.tls == config.TLSOpportunistic {
		conf = s.watchful(conf)
	}
	s.attentive = false
	s.shaken = shaken{up: s.up, names: namesOf(s.up, s.way)}
	conn := tls.Client(s.connection.conn, s.shaken.watch(s.notes.watch(conf, s.shaken.names)))
	_ = conn.SetDeadline(time.Now().Add(s.connectTime)) // fails where the handshake does
	if err := conn.HandshakeContext(ctx); err != nil {
		s.notes.unverified(err, s.shaken.names)
		return s.fault(spool.StageTLS, "TLS handshake failed", s.shaken.explain(err))
	}
	_ = conn.SetDeadline(time.Time{})
	state := conn.ConnectionState()
	s.tls, s.verified = &state, authenticates(s.up) || s.valid
	s.connection.upgrade(conn)
	if s.valid {
		s.sawValid(ctx)
	}
	return nil
}

// signIn carries out AUTH where the configuration wants it.
func (s *session) signIn(ctx context.Context) (fault *spool.Fault) {
	defer s.notes.step(StepSignIn)(&fault)
	if !s.up.SignsIn() {
		return nil
	}
	request := requestOf(s.up)
	request.Host, request.Port = s.way.host, s.way.port
	request.Offered, request.TLS, request.State = s.ext.auth, s.tls != nil, s.tls
	if s.up.OAuth != nil {
		request.Token = s.token
	}
	var told secrets
	request.Password, request.Token = told.password(request.Password), told.token(request.Token)
	mechanism, err := signin.Do(ctx, &authLines{exchange: s.line}, request)
	s.replies.told = told // from now on: the exchange itself has words of its own
	s.mechanism = mechanism
	s.notes.signIn(request, mechanism)
	var refused *signin.Refused
	if errors.As(err, &refused) {
		return &spool.Fault{Err: err, Outcome: spool.Outcome{
			Stage: spool.StageSignIn, Code: refused.Reply.Code, Enhanced: refused.Reply.Enhanced,
			Text: refused.Reply.Text, Remote: s.target, Cause: refused.Detail,
		}}
	}
	if err != nil {
		return s.fault(spool.StageSignIn, "sign-in failed", err)
	}
	return nil
}

// line sends one line of AUTH and reads its reply.
func (s *session) line(line []byte) (reply, error) {
	s.out = append(append(s.out, line...), "\r\n"...)
	return s.roundTrip()
}

// command sends one line and reads its reply.
func (s *session) command(line string) (reply, error) {
	s.out = append(append(s.out, line...), "\r\n"...)
	return s.roundTrip()
}

func (s *session) roundTrip() (reply, error) {
	if !s.quiet() {
		return reply{}, protocolError("the upstream sent more than it was asked for")
	}
	s.attentive = false
	if err := s.flush(s.limits.command); err != nil {
		return reply{}, err
	}
	s.ack.Now() // the tickets of TLS 1.3 come before the reply, and no read sees them
	r, err := s.read(s.limits.command)
	s.attentive = err == nil && r.code != 421 && s.quiet()
	return r, err
}

// fault is trouble of the session without an answer of the upstream.
func (s *session) fault(stage spool.Stage, text string, err error) *spool.Fault {
	if stage == spool.StageGreet && s.tls != nil && isAlert(err) {
		// TLS 1.3 tells of a refused client certificate only now.
		stage, text, err = spool.StageTLS, "the upstream refused TLS", s.shaken.explain(err)
	}
	cause := describe(err)
	if trouble := (*Trouble)(nil); s.notes != nil && errors.As(err, &trouble) {
		cause = trouble.Cause // whoever examines tells the remedy by itself
	}
	f := &spool.Fault{Err: err, Outcome: spool.Outcome{Stage: stage, Text: text, Remote: s.target, Cause: cause}}
	if stage == spool.StageTLS {
		s.dialer.tell(&TLSProblem{Upstream: s.up.Name, Remote: s.remote, Problem: f.Outcome.Cause, Downgrade: isDowngrade(err)})
	}
	return f
}

// isAlert tells an alert of the other side's TLS from an error of the network.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// refusal is an answer of the upstream that prevents the session.
func (s *session) refusal(stage spool.Stage, r *reply) *spool.Fault {
	f := &spool.Fault{Outcome: outcomeOf(stage, r)}
	f.Outcome.Remote = s.target
	if stage == spool.StageTLS {
		s.dialer.tell(&TLSProblem{Upstream: s.up.Name, Remote: s.remote, Problem: "STARTTLS was refused: " + f.Outcome.Text})
	}
	return f
}
