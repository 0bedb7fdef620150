package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/cmd/console"
	"postern/config"
	"postern/config/wire"
	"postern/queue"
)

// login logs in with the provider of an upstream by a code that somebody types
// elsewhere, and has the queue try again.
func (d *daemon) login(ctx context.Context, name, operator string, show console.ShowCode) error {
	up := d.state.Load().cfg.Upstreams[name]
	switch {
	case up == nil:
		return fmt.Errorf("there is no upstream %s", wire.Line(name))
	case up.OAuth == nil || up.OAuth.Flow != config.FlowDevice:
		return fmt.Errorf("nobody logs in to %s by a code: flow = \"device\" has one, and `postern upstream login %s` knows the other ways", wire.Line(name), wire.Line(name))
	}
	if _, err := d.tokens.Login(ctx, &up.Account, typist{show}); err != nil {
		return err
	}
	_, err := d.queue.Retry(ctx, queue.Select{Upstream: name}, operator)
	return err
}

// typist shows a code to whoever looks at a page.
type typist struct{ show console.ShowCode }

func (t typist) TypeCode(address, code string, until time.Time) { t.show(address, code, until) }

func (typist) Open(string) {}

func (typist) Paste(context.Context) (string, error) {
	return "", errors.New("nothing can be pasted into a page")
}
