package upstream

import (
	"context"

	"postern/relay/told"
)

// concealed stands for a reply that repeats a secret.
const concealed = "[words not shown: they repeat the password]"

// secrets are what an upstream was told.
type secrets struct{ told.Secrets }

// password adds what get returns.
func (t *secrets) password(get func(context.Context) (string, error)) func(context.Context) (string, error) {
	if get == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		secret, err := get(ctx)
		t.Add(secret)
		return secret, err
	}
}

// token adds what get returns.
func (t *secrets) token(get func(context.Context, string) (string, error)) func(context.Context, string) (string, error) {
	if get == nil {
		return nil
	}
	return func(ctx context.Context, refused string) (string, error) {
		secret, err := get(ctx, refused)
		t.Add(secret)
		return secret, err
	}
}
