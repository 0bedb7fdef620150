package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"postern/relay/submission"
	"postern/spool"
)

// A finished message goes in as it is, with CRLF at the end of each line,
// whatever its lines ended in.
func TestRawMessages(t *testing.T) {
	r := newRig(t, "")
	for name, c := range map[string]struct {
		query, body string
		from, to    string
		content     string // from the second header field on
		utf8        bool
	}{
		"by the query": {"?from=a%40example.com&to=b%40example.org,c%40example.org&to=d%40example.org",
			"From: other@example.com\r\nTo: nobody@example.org\r\n\r\nhi\r\n",
			"a@example.com", "b@example.org c@example.org d@example.org",
			"From: other@example.com\r\nTo: nobody@example.org\r\n", false},
		"null sender": {"?from=&to=b%40example.org", "From: a@example.com\r\n\r\nhi\r\n", "", "b@example.org", "From: a@example.com\r\n", false},
		"by the header": {"", "From: A <a@example.com>,\n z@example.com\nTo: \"B, b\" <b@example.org>,\n\tc@example.org\nCC: team: d@example.org, e@example.org;\nbcc: f@example.org\n\n.\n..\nhi\rthere",
			"a@example.com", "b@example.org c@example.org d@example.org e@example.org f@example.org",
			"From: A <a@example.com>,\r\n z@example.com\r\nTo: \"B, b\" <b@example.org>,\r\n\tc@example.org\r\nCC: team: d@example.org, e@example.org;\r\n", false},
		"sender":       {"", "Sender: s@example.com\nFrom: a@example.com\nTo: b@example.org\n\nhi", "s@example.com", "b@example.org", "Sender: s@example.com\r\nFrom: a@example.com\r\nTo: b@example.org\r\n", false},
		"quotes":       {"?to=%22odd%2C%20one%22%40example.org", "From: a@example.com\n\nhi", "a@example.com", `"odd, one"@example.org`, "From: a@example.com\r\n", false},
		"beyond ASCII": {"?to=j%C3%BCrgen%40b%C3%BCcher.example", "From: a@example.com\n\nhi", "a@example.com", "jürgen@xn--bcher-kva.example", "From: a@example.com\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, socket := range []bool{false, true} {
				a := r.do(call{path: "/v1/messages" + c.query, kind: mediaMail, body: c.body, socket: socket})
				if a.status != http.StatusOK {
					t.Fatalf("%d %s", a.status, a.body)
				}
				content, env := r.message(a.json(t)["id"].(string))
				var to []string
				for _, one := range env.Recipients {
					to = append(to, one.Address)
				}
				if env.From != c.from || strings.Join(to, " ") != c.to || env.SMTPUTF8 != c.utf8 {
					t.Errorf("from %q to %q utf8 %v", env.From, to, env.SMTPUTF8)
				}
				if !strings.Contains(content, "\r\n"+c.content) {
					t.Errorf("content %q", content)
				}
				if bare := strings.ReplaceAll(content, "\r\n", ""); strings.ContainsAny(bare, "\r\n") || !strings.HasSuffix(content, "\r\n") {
					t.Errorf("line ends: %q", content)
				}
				if !strings.Contains(content, "Received: from ") || strings.Contains(strings.ToLower(content), "bcc:") || !strings.Contains(content, "\r\nDate: ") {
					t.Errorf("header: %q", content)
				}
				switch {
				case socket && (env.Listener != "submit.sock" || env.User != "" || env.UnixUser == "" || !strings.Contains(content, "from localhost (local user "+env.UnixUser+")")):
					t.Errorf("socket: %+v %q", env, content)
				case !socket && (env.Listener != "http" || env.User != "shop" || !strings.Contains(content, "from [127.0.0.1] ([127.0.0.1])")):
					t.Errorf("address: %+v %q", env, content)
				}
			}
		})
	}
}

// What the query says beside addresses goes into the envelope, and into the
// From that a message lacks.
func TestRawSays(t *testing.T) {
	r := newRig(t, "")
	a := r.do(call{path: "/v1/messages?from=a%40example.com&to=b%40example.org&name=J%C3%BCrgen%20B.&notify=failure,DELAY&ret=hdrs&envid=a%20b&remark=x",
		kind: mediaMail, body: "Subject: s\n\nhi\n", socket: true})
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	content, env := r.message(a.json(t)["id"].(string))
	if env.Return != "HDRS" || env.EnvelopeID != "a+20b" || env.Recipients[0].Notify != spool.NotifyFailure|spool.NotifyDelay {
		t.Errorf("envelope %+v", env)
	}
	if !strings.Contains(content, "\r\nFrom: =?utf-8?b?SsO8cmdlbiBCLg==?= <a@example.com>\r\n") {
		t.Errorf("content %q", content)
	}
	for query, want := range map[string]string{
		"notify=never,delay": "notify:", "notify=later": "notify:", "ret=all": "ret:", "name=a%0d%0aBcc:x": "name:",
		"envid=" + strings.Repeat("x", 101): "envid:", "name=a&name=b": "name is given twice", "colour=red": `"colour\"`,
	} {
		a := r.do(call{path: "/v1/messages?from=a%40example.com&to=b%40example.org&" + query, kind: mediaMail, body: "hi", socket: true})
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

// Every way to give a token lets in, and the token's patterns hold for the
// envelope and for the fields that recipients see.
func TestTokens(t *testing.T) {
	r := newRig(t, fmt.Sprintf("[http.token.shop]\nhash = %q\nfrom = [\"shop@example.com\"]\n", secretHash()))
	raw := "From: %s\nTo: ann@example.org\n\nhi"
	for _, c := range []struct {
		call
		status int
	}{
		{call{path: "/v1/messages", kind: mediaMail, body: fmt.Sprintf(raw, "shop@example.com")}, 200},
		{call{path: "/v1/messages", kind: mediaMail, body: fmt.Sprintf(raw, "boss@example.com")}, 403},
		{call{path: "/v1/messages?from=shop%40example.com", kind: mediaMail, body: fmt.Sprintf(raw, "boss@example.com")}, 403},
		{call{path: "/v1/messages?from=shop%40example.com", kind: mediaMail, body: fmt.Sprintf(raw, "shop@example.com\nSender: boss@example.com")}, 403},
		{call{path: "/emails", body: with(`"from":"boss@example.com"`)}, 403},
		{call{path: "/emails", body: good}, 200},
		{call{path: "/emails", body: good, anonymous: true, header: []string{"Authorization: bearer " + secret}}, 200},
		{call{path: "/emails", body: good, anonymous: true, header: []string{"X-Postmark-Server-Token: " + secret}}, 200},
		{call{path: "/emails", body: good, anonymous: true, header: []string{"Authorization: Basic YXBpOmEtc2VjcmV0LXRva2Vu"}}, 200},
		{call{path: "/email", body: `{}`}, 403},
		{call{path: "/emails", body: good, socket: true}, 200},
		{call{path: "/emails", body: good, socket: true, header: []string{"Authorization: Bearer wrong"}}, 403},
		{call{path: "/emails", body: with(`"from":"boss@example.com"`), socket: true, header: []string{"Authorization: Bearer " + secret}}, 403},
		{call{path: "/emails", body: with(`"from":"boss@example.com"`), socket: true}, 200},
	} {
		if a := r.do(c.call); a.status != c.status {
			t.Errorf("%s %q %q: %d %s, want %d", c.path, c.body, c.header, a.status, a.body, c.status)
		}
	}
	if n := r.saw("SignedIn"); n != 1 {
		t.Errorf("the token was checked %d times", n)
	}
	if n := r.saw("SignInFailed"); n != 1 {
		t.Errorf("%d sign-ins failed", n)
	}
	// A reload counts at once, also for a connection that is open.
	r.apply(fmt.Sprintf("[http.token.other]\nhash = %q\n[http.token.shop]\nhash = %q\n", secretHash(), strings.Replace(secretHash(), "t=2", "t=3", 1)))
	if a := r.do(call{path: "/emails", body: with(`"from":"boss@example.com"`)}); a.status != 200 {
		t.Errorf("after a reload: %d %s", a.status, a.body)
	} else if _, env := r.message(a.json(t)["id"].(string)); env.User != "other" {
		t.Errorf("after a reload: %q", env.User)
	}
}

// A request that is made again is carried out once.
func TestKeys(t *testing.T) {
	r := newRig(t, "")
	key := []string{"Idempotency-Key: order/7"}
	first := r.do(call{path: "/emails", body: good, header: key})
	again := r.do(call{path: "/emails", body: good, header: key})
	if first.status != 200 || again.status != 200 || first.json(t)["id"] != again.json(t)["id"] || again.json(t)["repeated"] != true || first.json(t)["repeated"] != nil {
		t.Errorf("%s, then %s", first.body, again.body)
	}
	if a := r.do(call{path: "/emails", body: with(`"subject":"other"`), header: key}); a.status != 409 || a.json(t)["name"] != nameKeyReused {
		t.Errorf("another body: %d %s", a.status, a.body)
	}
	if a := r.do(call{path: "/emails", body: good, header: key, socket: true}); a.status != 200 || a.json(t)["repeated"] != nil {
		t.Errorf("the key of somebody else: %d %s", a.status, a.body)
	}
	if n := r.count(); n != 2 {
		t.Errorf("%d messages", n)
	}
	batch := "[" + good + "," + with(`"to":"bob@example.org"`) + "]"
	one := r.do(call{path: "/emails/batch", body: batch, header: key})
	two := r.do(call{path: "/emails/batch", body: batch, header: key})
	if one.status != 200 || two.status != 200 || strings.Count(two.body, `"repeated":true`) != 2 || r.count() != 4 {
		t.Errorf("batch: %s, then %s; %d messages", one.body, two.body, r.count())
	}
	// What streams is not compared: a message that is made again has another date.
	for i, want := range []any{nil, true} {
		a := r.do(call{path: "/v1/messages", kind: mediaMail, body: fmt.Sprintf("From: a@example.com\nTo: b@example.org\n\nhi %d", i), header: []string{"Idempotency-Key: raw"}})
		if a.status != 200 || a.json(t)["repeated"] != want {
			t.Errorf("raw: %d %s", a.status, a.body)
		}
	}
	for i, want := range []any{nil, true} {
		kind, body := asForm(t, "from=a@example.com\nto=b@example.org\ntext=hi\nfile@a.txt=a\n")
		a := r.do(call{path: "/v1/messages", kind: kind, body: body, header: []string{"Idempotency-Key: form"}})
		if a.status != 200 || a.json(t)["repeated"] != want {
			t.Errorf("form %d: %d %s", i, a.status, a.body)
		}
	}
}

// waiting is a store whose messages wait to be begun.
type waiting struct {
	submission.Acceptor
	begun, goOn chan struct{}
}

func (w waiting) Create(ctx context.Context) (spool.Draft, error) {
	w.begun <- struct{}{}
	<-w.goOn
	return w.Acceptor.Create(ctx)
}

func TestKeyInFlight(t *testing.T) {
	w := waiting{begun: make(chan struct{}), goOn: make(chan struct{})}
	r := newRigWith(t, "", func(a submission.Acceptor) submission.Acceptor { w.Acceptor = a; return w })
	key := []string{"Idempotency-Key: order/7"}
	var first *answered
	var done sync.WaitGroup
	done.Go(func() { first = r.do(call{path: "/emails", body: good, header: key}) })
	<-w.begun
	a := r.do(call{path: "/emails", body: good, header: key})
	if a.status != 409 || a.json(t)["name"] != nameKeyInFlight || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	close(w.goOn)
	done.Wait()
	if first.status != 200 {
		t.Errorf("the first: %d %s", first.status, first.body)
	}
}

// A batch is taken whole or not at all, or, permissively, each on its own.
func TestBatches(t *testing.T) {
	r := newRig(t, "")
	bad := with(`"to":"nobody@example.org"`)
	batch := "[" + good + "," + bad + "," + good + "," + `{"colour":1}` + "]"
	if a := r.do(call{path: "/emails/batch", body: batch}); a.status != 422 || r.count() != 0 {
		t.Errorf("%d %s, and %d messages", a.status, a.body, r.count())
	}
	a := r.do(call{path: "/emails/batch", body: batch, header: []string{"X-Batch-Validation: permissive"}})
	v := a.json(t)
	if a.status != 200 || len(v["data"].([]any)) != 2 || len(v["errors"].([]any)) != 2 || r.count() != 2 {
		t.Fatalf("%d %s, and %d messages", a.status, a.body, r.count())
	}
	for i, index := range []float64{1, 3} {
		if e := v["errors"].([]any)[i].(map[string]any); e["index"] != index || e["message"] == "" || e["name"] != nameInvalid {
			t.Errorf("%v", e)
		}
	}
	all := "[" + strings.TrimSuffix(strings.Repeat(good+",", maxBatch), ",") + "]"
	if a := r.do(call{path: "/emails/batch", body: all}); a.status != 200 || len(a.json(t)["data"].([]any)) != maxBatch || r.count() != 2+maxBatch {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Who has sent a message may ask for it and take it back; nobody else learns
// that there is one.
func TestStatusAndCancel(t *testing.T) {
	r := newRig(t, "")
	id := r.do(call{path: "/emails", body: good}).json(t)["id"].(string)
	if a := r.do(call{method: "GET", path: "/emails/" + id, socket: true}); a.status != 404 {
		t.Errorf("somebody else: %d %s", a.status, a.body)
	}
	if a := r.do(call{path: "/emails/" + id + "/cancel", socket: true}); a.status != 404 {
		t.Errorf("somebody else: %d %s", a.status, a.body)
	}
	a := r.do(call{method: "GET", path: "/emails/" + id})
	v := a.json(t)
	if a.status != 200 || v["id"] != id || v["from"] != "shop@example.com" || fmt.Sprint(v["to"]) != "[ann@example.org]" || v["last_event"] != "queued" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.do(call{path: "/emails/" + id + "/cancel"}); a.status != 200 {
		t.Errorf("cancel: %d %s", a.status, a.body)
	}
	if a := r.do(call{path: "/emails/" + id + "/cancel"}); a.status != 404 {
		t.Errorf("again: %d %s", a.status, a.body)
	}
}

func TestLastEvent(t *testing.T) {
	state := func(s spool.Status, attempts int) spool.RecipientState {
		r := spool.RecipientState{Status: s, Attempts: attempts}
		if attempts > 0 {
			r.Last = &spool.Outcome{Code: 451, Enhanced: "4.0.0", Text: "later"}
		}
		return r
	}
	for want, states := range map[string][]spool.RecipientState{
		"queued":           {state(spool.Pending, 0)},
		"delivery_delayed": {state(spool.Pending, 0), state(spool.Pending, 2)},
		"sent":             {state(spool.Pending, 1), state(spool.Delivered, 1)},
		"delivered":        {state(spool.Removed, 0), state(spool.Delivered, 1)},
		"bounced":          {state(spool.Pending, 1), state(spool.Delivered, 1), state(spool.Bounced, 1)},
		"canceled":         {state(spool.Removed, 1)},
	} {
		d := &spool.Detail{Envelope: &spool.Envelope{Recipients: make([]spool.Recipient, len(states))}, Recipients: states}
		if got := statusOf(d); got.LastEvent != want {
			t.Errorf("%s, want %s", got.LastEvent, want)
		}
	}
}

// Failures come in the words of the dialect.
func TestFailuresOfDialects(t *testing.T) {
	r := newRig(t, "")
	form, body := asForm(t, "from=a@elsewhere.example\nto=b@example.org\ntext=hi\n")
	for _, c := range []struct {
		call
		status int
		want   string
	}{
		{call{path: "/email", body: `{"From":"a@elsewhere.example","To":"b@example.org","TextBody":"x"}`}, 403, `{"ErrorCode":400,"Message":"<a@elsewhere.example> no route`},
		{call{path: "/email", body: `{"From":"a@example.com","To":"bob@","TextBody":"x","TrackOpens":true}`}, 422, `"Message":"TrackOpens: this relay tracks nobody"`},
		{call{path: "/email", body: `{}`, anonymous: true}, 401, `{"ErrorCode":10,`},
		{call{path: "/email", body: `{}`, socket: true}, 403, `{"ErrorCode":10,"Message":"requests of postmark are not taken from you`},
		{call{path: "/email/batch", body: `[{"From":"a@example.com","To":"b@example.org","TextBody":"x"},{"From":"a@example.com"}]`}, 200, `{"ErrorCode":300,"Message":"`},
		{call{path: "/v3/mail/send", body: `{"personalizations":[{"to":[{"email":"bob@"}]}],"from":{"email":"a@example.com"},"content":[{"type":"text/plain","value":"x"}]}`}, 422, `{"errors":[{"field":null,"help":null,"message":"personalizations[0].to: `},
		{call{path: "/v3/mail/send", body: `{"personalizations":[],"send_at":99999999999,"content":[{"type":"text/x"}]}`}, 422, `send_at: `},
		{call{path: "/v3/mail/send", body: `{"template_id":"x"}`}, 422, `unknown field \"template_id\"`},
		{call{path: "/v3/x/messages", kind: form, body: body}, 403, `{"message":"<a@elsewhere.example> no route`},
	} {
		if a := r.do(c.call); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %d %s", c.path, a.status, a.body)
		}
	}
	for line, want := range map[string]string{
		"template=x": "template: unknown field", "o:tracking=yes": "o:tracking: this relay tracks nobody", "o:testmode=yes": "o:testmode: unknown field",
		"o:deliverytime=Fri, 01 Jan 2999 00:00:00 +0000": "o:deliverytime: is more than 30 days ahead", "from=b@example.com": "from: is given twice",
	} {
		kind, body := asForm(t, "from=a@example.com\nto=b@example.org\ntext=hi\n"+line+"\n")
		if a := r.do(call{path: "/v3/x/messages", kind: kind, body: body}); a.status != 422 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", line, a.status, a.body)
		}
	}
}
