package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"postern/config"
	"postern/relay/upstream"
	"postern/relay/upstream/upstreamtest"
	"postern/spool"
)

// The codes by which an upstream says no: those of RFC 5321 §4.2.3, RFC 4954
// §6, RFC 3207 §4 and RFC 7504, and some that no RFC has.
var refusals = []int{
	400, 420, 421, 432, 450, 451, 452, 453, 454, 455, 458, 459, 471, 499,
	500, 501, 502, 503, 504, 510, 511, 521, 523, 524, 525, 530, 534, 535, 538, 541, 550, 551, 552, 553, 554, 555, 556, 571, 599,
}

// stageCase is a dialogue up to the command that is refused.
type stageCase struct {
	name    string
	stage   spool.Stage
	begun   bool // a message has been begun by then
	tls     config.UpstreamTLS
	auth    string
	binary  bool
	script  upstreamtest.Script
	instead map[int]string // codes that mean something else here, and why
}

func stageCases() []stageCase {
	helo := map[int]string{}
	for _, code := range refusals {
		if code >= 500 {
			helo[code] = "HELO follows (RFC 5321 §3.2)"
		}
	}
	rcpts := upstreamtest.Script{"* hello", "C: MAIL FROM:<from@a.example>", "S: 250 ok", "C: RCPT TO:<to@b.example>"}
	chunk := upstreamtest.Script{"* hello 8BITMIME|BINARYMIME|CHUNKING", "C: MAIL FROM:<from@a.example> BODY=BINARYMIME",
		"S: 250 ok", "C: RCPT TO:<to@b.example>", "S: 250 ok", "C: BDAT 24", "* body 24"}
	return []stageCase{
		{name: "greeting", stage: spool.StageGreet, script: nil},
		{name: "EHLO", stage: spool.StageGreet, script: upstreamtest.Script{"S: 220 mx", "C: EHLO relay.example"}, instead: helo},
		{name: "HELO", stage: spool.StageGreet, script: upstreamtest.Script{"S: 220 mx", "C: EHLO relay.example", "S: 502 no", "C: HELO relay.example"}},
		{name: "STARTTLS", stage: spool.StageTLS, tls: config.TLSVerify, script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS"}},
		{name: "STARTTLS, opportunistic", stage: spool.StageTLS, tls: config.TLSOpportunistic, script: upstreamtest.Script{"* hello STARTTLS", "C: STARTTLS"}},
		{name: "AUTH PLAIN", stage: spool.StageSignIn, auth: "plain", script: upstreamtest.Script{"* hello AUTH PLAIN", "C? AUTH PLAIN "}},
		{name: "AUTH LOGIN", stage: spool.StageSignIn, auth: "login", script: upstreamtest.Script{"* hello AUTH LOGIN", "C? AUTH LOGIN"}},
		{name: "AUTH LOGIN, at the password", stage: spool.StageSignIn, auth: "login",
			script: upstreamtest.Script{"* hello AUTH LOGIN", "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: dXNlcg==", "S: 334 UGFzc3dvcmQ6", "C: cGVuY2ls"}},
		{name: "AUTH CRAM-MD5, at the response", stage: spool.StageSignIn, auth: "cram-md5",
			script: upstreamtest.Script{"* hello AUTH CRAM-MD5", "C: AUTH CRAM-MD5", "S: 334 PDFAbXg+", "C? "}},
		{name: "AUTH SCRAM-SHA-256, at once", stage: spool.StageSignIn, auth: "scram-sha-256",
			script: upstreamtest.Script{"* hello AUTH SCRAM-SHA-256", "C? AUTH SCRAM-SHA-256 "}},
		{name: "MAIL", stage: spool.StageMail, begun: true, script: upstreamtest.Script{"* hello", "C: MAIL FROM:<from@a.example>"}},
		{name: "RCPT", stage: spool.StageRcpt, begun: true, script: rcpts},
		{name: "DATA", stage: spool.StageData, begun: true, script: append(rcpts[:len(rcpts):len(rcpts)], "S: 250 ok", "C: DATA")},
		{name: "dot", stage: spool.StageDot, begun: true, script: upstreamtest.Script{"* hello PIPELINING", "* mail"}},
		{name: "BDAT", stage: spool.StageBody, begun: true, binary: true, script: chunk},
		{name: "BDAT LAST", stage: spool.StageDot, begun: true, binary: true, script: append(chunk[:len(chunk):len(chunk)], "S: 250 ok", "C: BDAT 0 LAST")},
	}
}

// Every refusal at every stage: before a message is begun it is the session's
// fault and no message is touched; from then on it is the message's answer,
// once, with the code and the words of the upstream, and nothing counts as
// delivered.
func TestRefusedAtEveryStage(t *testing.T) {
	b := newBench(t)
	for _, c := range stageCases() {
		for _, code := range refusals {
			if c.instead[code] != "" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", c.name, code), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.refuse(t, b, code) })
			})
		}
	}
}

func (c *stageCase) refuse(t *testing.T, b *bench, code int) {
	said := fmt.Sprintf("%d %d.7.9 generic failure", code, code/100)
	script := append(c.script[:len(c.script):len(c.script)], "S: "+said, "* ignore")
	up := &config.Upstream{Host: "mx.example", Port: 25, TLS: config.TLSOff, Account: config.Account{Name: "test", Auth: "none"}, CAFile: b.ca}
	if c.tls != "" {
		up.TLS = c.tls
	}
	if c.auth != "" {
		up.Auth, up.Username, up.Password = config.Mechanism(c.auth), "user", config.NewSecret("pencil")
	}
	env := envelopeTo("to@b.example")
	if c.binary {
		env.Body = spool.BodyBinaryMIME
	}
	feed := upstreamtest.NewFeed()
	feed.Add(env, []byte("Subject: test\r\n\r\nHello\r\n"))
	err := playTo(t, b, script, up, feed)
	for _, breach := range feed.Breaches() {
		t.Error(breach)
	}
	var fault *spool.Fault
	if !c.begun {
		if !errors.As(err, &fault) || fault.Outcome.Stage != c.stage || fault.Outcome.Code != code || !strings.HasSuffix(fault.Outcome.Text, "generic failure") {
			t.Errorf("fault %+v", err)
		}
		if left := feed.Settled(); len(left) != 0 {
			t.Errorf("a message was touched: %+v", left)
		}
		return
	}
	settled := feed.Settled()
	if len(settled) != 1 || settled[0].Released || len(settled[0].Outcomes) != 1 {
		t.Fatalf("settled %+v", settled)
	}
	if o := settled[0].Outcomes[0]; o.Stage != c.stage || o.Code != code || o.Enhanced != fmt.Sprintf("%d.7.9", code/100) || o.Text != "generic failure" {
		t.Errorf("outcome %s", describeOutcome(&o))
	}
	if (code == 421) != (err != nil) { // RFC 5321 §3.8: only that one is about the connection
		t.Errorf("the session ended with %v", err)
	}
}

// playTo lets an upstream play script to a session.
func playTo(t *testing.T, b *bench, script upstreamtest.Script, up *config.Upstream, feed upstream.Feed) error {
	client, server := upstreamtest.Pipe()
	var problems []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		problems = script.Play(server, b.certs)
	}()
	d := &upstream.Dialer{
		Hostname: func() string { return "relay.example" },
		Dial:     func(context.Context, string, string) (net.Conn, error) { return client, nil },
	}
	err := d.Deliver(t.Context(), up, feed)
	<-done
	for _, problem := range problems {
		t.Error(problem)
	}
	return err
}
