package api

import (
	"fmt"
	"testing"
	"testing/synctest"

	"postern/config"
	"postern/relay/origin"
	"postern/relay/passwd"
)

// counted are tokens of which n counts how often one was compared with a slow
// hash.
func counted(t *testing.T, hashes map[string]string, key []byte, n *int) *tokens {
	t.Helper()
	h := &config.HTTP{Tokens: map[string]*config.HTTPToken{}}
	for name, hash := range hashes {
		h.Tokens[name] = &config.HTTPToken{Name: name, Hash: hash}
	}
	all, err := newTokens(h, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all.slow {
		check := one.check
		one.check = func(secret string) bool { *n++; return check(secret) }
	}
	return all
}

// What a wrong token costs: nothing among those that postern passwd makes, and
// once, however often it comes, among those with slow hashes. A right one costs
// once at most, also over reloads.
func TestWhatTokensCost(t *testing.T) {
	made, madeHash := passwd.MakeToken()
	another, anotherHash := passwd.MakeToken()
	wrong, _ := passwd.MakeToken()
	hashes := map[string]string{"made": madeHash, "another": anotherHash}
	for i := range 100 {
		_, hash := passwd.MakeToken()
		hashes[fmt.Sprint("more", i)] = hash
	}
	for i := range 3 {
		hash, err := passwd.Argon2id(fmt.Sprint("old ", i))
		if err != nil {
			t.Fatal(err)
		}
		hashes[fmt.Sprint("old", i)] = hash
	}
	synctest.Test(t, func(t *testing.T) {
		g, key, n := newGate(), newSecret(), 0
		all := counted(t, hashes, key, &n)
		from := uint32(0)
		ask := func(secret, want string, fresh bool, most int) {
			t.Helper()
			before, origins := n, from
			from++ // each from elsewhere: guesses are slowed
			found, first, busy := g.check(t.Context(), all, origin.Local(origins), secret)
			got := ""
			if found != nil {
				got = found.name
			}
			if got != want || first != fresh || busy || n-before > most {
				t.Errorf("%.12s…: %q, fresh %v, busy %v, %d comparisons; want %q, %v, %d at most", secret, got, first, busy, n-before, want, fresh, most)
			}
		}
		ask(made, "made", true, 0)
		ask(made, "made", false, 0)
		ask("old 2", "old2", true, 3)
		ask("old 2", "old2", false, 0)
		for range 5 {
			ask(wrong, "", false, 3)
		}
		if n > 6 {
			t.Errorf("%d comparisons for a wrong token that comes five times and one that is right", n)
		}
		for i := range 2 * maxWrongTokens {
			if i%500 == 0 {
				ask(fmt.Sprint("guess ", i), "", false, 3)
			}
			all.mu.Lock()
			all.wrong[all.digest(fmt.Append(nil, i))] = struct{}{}
			all.mu.Unlock()
		}
		all.compare(all.digest([]byte("one more")), "one more")
		if len(all.wrong) > maxWrongTokens {
			t.Errorf("%d wrong ones are remembered", len(all.wrong))
		}

		// A reload: one goes, one gets the hash of what was wrong, one gets another name.
		_, changed := passwd.MakeToken()
		hashes["made"], hashes["renamed"] = changed, hashes["old2"]
		delete(hashes, "old2")
		right, err := passwd.Argon2id("guess 0")
		if err != nil {
			t.Fatal(err)
		}
		hashes["old0"] = right
		next := counted(t, hashes, key, &n)
		next.inherit(all)
		all = next
		ask("old 2", "renamed", false, 0)
		ask(made, "", false, 3)
		ask(another, "another", true, 0)
		ask("guess 0", "old0", true, 3)
		ask("old 0", "", false, 3)
	})
	// Without slow ones nothing is ever compared, and nothing is remembered.
	n := 0
	all := counted(t, map[string]string{"made": madeHash}, newSecret(), &n)
	for i := range 1000 {
		if found, wrong := all.look(all.digest(fmt.Append(nil, i)), fmt.Sprint(i)); found != nil || !wrong {
			t.Fatal("a guess has to be compared")
		}
	}
	if len(all.wrong)+len(all.known)+n > 0 {
		t.Error("guesses are remembered")
	}
}

// A reload forgets nobody who was let in, and lets in nobody who is gone.
func TestReloadKeepsTokens(t *testing.T) {
	r := newRig(t, "")
	token, hash := passwd.MakeToken()
	keep := fmt.Sprintf("[http.token.made]\nhash = %q\n[http.token.shop]\nhash = %q\n", hash, secretHash())
	bearer := []string{"Authorization: Bearer " + token}
	r.apply(keep)
	for range 3 {
		for _, c := range []call{{path: "/emails", body: good}, {path: "/emails", body: good, anonymous: true, header: bearer}} {
			if a := r.do(c); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		r.apply(keep)
	}
	if n := r.saw("SignedIn"); n != 2 {
		t.Errorf("%d sign-ins of two tokens", n)
	}
	r.apply("")
	if a := r.do(call{path: "/emails", body: good, anonymous: true, header: bearer}); a.status != 403 {
		t.Errorf("a token that is gone: %d %s", a.status, a.body)
	}
}
