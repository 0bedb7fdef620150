package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"postern/config"
)

// Receiver tells somebody. Send tells of everything in due at once; where it
// returns an error, all of it is told again later. It ends when ctx is done,
// and its errors hold no secret.
type Receiver interface {
	Send(ctx context.Context, from string, due []Open) error
}

// Message is what a command gets on its standard input.
type Message struct {
	Relay  string  `json:"relay"` // its hostname
	Alerts []Entry `json:"alerts"`
}

// Entry is one trouble of a Message.
type Entry struct {
	Status string `json:"status"` // "firing" or "resolved"
	Trouble
	Ended time.Time `json:"ended,omitzero"`
}

func messageOf(from string, due []Open) *Message {
	m := &Message{Relay: from}
	for i := range due {
		e := Entry{Status: "firing", Trouble: due[i].Trouble, Ended: due[i].Over}
		if !e.Ended.IsZero() {
			e.Status = "resolved"
		}
		m.Alerts = append(m.Alerts, e)
	}
	return m
}

// Command is a program that gets a Message as JSON. It has the environment of
// a password_command. Nobody reads what it prints. Where it has not ended when ctx is
// done, it ends with whatever it has started.
type Command []string

// Send implements Receiver.
func (c Command) Send(ctx context.Context, from string, due []Open) error {
	text, err := json.Marshal(messageOf(from, due))
	if err != nil {
		return err
	}
	return config.TellCommand(ctx, c, nil, bytes.NewReader(append(text, '\n')))
}

// Alertmanager is one that speaks API v2.
type Alertmanager struct {
	Address  string // without the path of the API
	Username string // empty: nobody signs in
	Password config.Secret
}

// alertmanagerPath is of its API v2.
const alertmanagerPath = "api/v2/alerts"

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 4096

// posted is one alert as the API has it.
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt,omitzero"`
}

// Resend is how often an Alertmanager is told of what is open, as Prometheus
// tells it: what it has not heard of for its resolve_timeout, five minutes by
// default, is over for it. When people are told again is its repeat_interval.
const Resend = time.Minute

// Send implements Receiver.
func (a Alertmanager) Send(ctx context.Context, from string, due []Open) error {
	var body []posted
	for i := range due {
		o := &due[i]
		p := posted{
			Labels:      map[string]string{"alertname": "Postern", "kind": o.Kind, "instance": from, "severity": string(o.Severity)},
			Annotations: map[string]string{"summary": o.Text, "waiting": fmt.Sprint(o.Waiting)},
			StartsAt:    o.Since, EndsAt: o.Over,
		}
		if o.Subject != "" {
			p.Labels["subject"] = o.Subject
		}
		for name, text := range map[string]string{"words": o.Words, "meaning": o.Meaning, "remedy": o.Remedy, "command": o.Command} {
			if text != "" {
				p.Annotations[name] = text
			}
		}
		body = append(body, p)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	to, err := url.JoinPath(a.Address, alertmanagerPath)
	if err != nil {
		return errors.New("the address cannot be read")
	}
	password, err := a.Password.Read(ctx)
	if err != nil {
		return err
	}
	return post(ctx, to, a.Username, password, text)
}

// client follows no redirect, which would take a password elsewhere, and keeps no
// connection open for the next trouble.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: sendTimeout, MaxResponseHeaderBytes: 64 << 10},
}

func post(ctx context.Context, to, user, password string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := client.Do(req)
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err // without the address, which the configuration has
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s: %s", resp.Status, harmless(string(said)))
	}
	return nil
}
