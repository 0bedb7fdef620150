package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// warnSharedAccounts finds upstreams by which one account is used beside
// another, each with the whole rate that its provider gives the account.
func (d *document) warnSharedAccounts(cfg *Config) {
	first := map[string]string{} // account: name of an upstream
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		up := cfg.Upstreams[name]
		if !slices.Contains(up.Preset.Keys, "rate") {
			continue
		}
		account := up.Provider + " " + strings.ToLower(up.Username)
		if other := first[account]; other != "" {
			d.warn("upstream."+name+".provider", fmt.Sprintf("is the account of %q too, and each of them may use the whole rate of the account", other),
				"set rate in both, to a part of it")
			continue
		}
		first[account] = name
	}
}
