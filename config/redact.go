package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Redacted is the configuration as it is in effect, defaults included, for
// printing as JSON: the keys of the file, with durations and sizes written as
// the file would, and without any secret. Passwords show where they come
// from, users show their names.
func (c *Config) Redacted() map[string]any { return show(c.keys()) }

// Digest tells two configurations apart, as far as Redacted does: 16 hex
// digits. It gives no secret away.
func (c *Config) Digest() string { return digest(c.Redacted()) }

// Digest is Config.Digest for one upstream.
func (u *Upstream) Digest() string { return digest(show(u.keys())) }

func digest(redacted map[string]any) string {
	text, err := json.Marshal(redacted) // whose keys are sorted
	if err != nil {
		panic("config: " + err.Error()) // texts, numbers and lists
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// KeepUntilRestart is next, in which what only changes at a restart is as in
// running, and names what would be different: sentences for people.
func KeepUntilRestart(running, next *Config) (*Config, []string) {
	c := *next
	var kept []string
	keepUntilRestart("", running.keys(), c.keys(), func(path string, inForce, wanted any) {
		for _, v := range []*any{&inForce, &wanted} {
			if *v == nil {
				*v = ""
			}
		}
		kept = append(kept, fmt.Sprintf("%s changes at a restart: %v is in force, the file says %v", path, inForce, wanted))
	})
	return &c, kept
}
