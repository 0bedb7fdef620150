//go:build !linux

package daemon

import (
	"errors"

	"postern/config"
)

// confine: only Linux has Landlock.
func confine(cfg *config.Config) ([]string, error) {
	if cfg.Confine == "on" {
		return nil, errors.New(`confine = "on", and this system has no Landlock`)
	}
	return nil, nil
}
