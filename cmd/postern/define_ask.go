package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"postern/cmd/definition"
	"postern/config"
)

// ask asks on a terminal for what a definition of its kind needs and no flag
// tells.
func (d *define) ask(ctx context.Context, def *definition.Definition) error {
	switch {
	case d.kind == definition.Upstream:
		return d.askUpstream(ctx, def)
	case d.terminal() == 0:
		return nil
	case d.kind == definition.Route:
		return d.askRoute(def)
	case d.kind == definition.Book:
		return d.askBook(def)
	}
	return d.askAlert(def)
}

// askUpstream asks for user and server where no flag tells them, and finds the
// server by the address of the user where that can be.
func (d *define) askUpstream(ctx context.Context, def *definition.Definition) error {
	given := func(keys ...string) bool { return d.given(def, keys...) }
	typing := d.terminal() > 0
	if typing && !given("username") && def.Values["auth"] != "none" {
		if err := d.question(def, "username", "User, such as billing@example.com (empty: no sign-in): "); err != nil {
			return err
		}
	}
	if given("host", "provider") {
		return nil
	}
	user, _ := def.Values["username"].(string)
	found, ok := definition.Suggest(ctx, net.DefaultResolver, user)
	if ok {
		fmt.Fprintf(d.stderr, "%s %s: %s\n", found.Key, found.Value, safe(found.Why))
	}
	switch {
	case typing && ok:
		if err := d.question(def, "host", "Another server or provider (empty: this one): "); err != nil {
			return err
		}
	case typing:
		if err := d.question(def, "host", "Server or provider: "); err != nil {
			return err
		}
	}
	if ok && !given("host") {
		def.Values[found.Key] = found.Value
	}
	if host, typed := def.Values["host"].(string); typed && isProvider(host) {
		delete(def.Values, "host")
		def.Values["provider"] = host
	}
	if typing && !d.otherSignIn(def) {
		return d.application(def)
	}
	return nil
}

// application asks for what a login with Microsoft takes: its device flow needs
// nothing else. Other providers also want a secret, which is in a file.
func (d *define) application(def *definition.Definition) error {
	provider, _ := def.Values["provider"].(string)
	tokens, tenant := config.ProviderTokens(provider)
	if tokens != config.OAuthMicrosoft365 {
		return nil
	}
	if err := d.question(def, "oauth.client_id", "Client ID of your application, see docs/oauth.md (empty: sign in with a password): "); err != nil || def.Values["oauth.client_id"] == nil {
		return err
	}
	def.Values["oauth.flow"] = string(config.FlowDevice)
	if tenant == "" {
		return d.question(def, "oauth.tenant", "Tenant, such as example.onmicrosoft.com: ")
	}
	return nil
}

// given tells whether a flag has told one of the keys.
func (d *define) given(def *definition.Definition, keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		_, there := def.Values[key]
		return there || d.files[key] != nil && *d.files[key] != ""
	})
}

// question asks for one key; an empty answer leaves it unset.
func (d *define) question(def *definition.Definition, key, text string) error {
	fmt.Fprint(d.stderr, text)
	line, err := d.typed(d.terminal()-1, func() (string, error) { return d.asked.ReadString('\n') })
	if err != nil {
		return err
	}
	if line = strings.TrimSpace(line); line != "" {
		def.Values[key] = line
	}
	return nil
}

// isProvider tells whether a word is a provider, and no host.
func isProvider(word string) bool {
	return slices.ContainsFunc(definition.Keys(definition.Upstream), func(s config.Setting) bool {
		return s.Name == "provider" && slices.Contains(s.Choices, word)
	})
}

// terminal is the descriptor of the terminal that the operator types on, plus
// one; 0: there is none.
func (d *define) terminal() int {
	if f, ok := d.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return int(f.Fd()) + 1
	}
	return 0
}

// otherSignIn tells whether the flags say where a secret comes from, or that
// none is needed.
func (d *define) otherSignIn(def *definition.Definition) bool {
	for key := range def.Values {
		if strings.HasPrefix(key, "oauth.") || strings.HasPrefix(key, "password_") || key == "keytab" || key == "ccache" {
			return true
		}
	}
	return d.given(def, "password", "oauth.client_secret") || slices.Contains([]any{"none", "external", "integrated", "anonymous"}, def.Values["auth"])
}
