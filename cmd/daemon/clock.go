package daemon

import (
	"fmt"
	"sync"
	"time"

	"postern/cmd/alert"
)

const (
	// jumpOf is the least jump of the clock of which is told.
	jumpOf = time.Minute
	// jumpedFor is for how long.
	jumpedFor = time.Hour
)

// clock notices when the clock of the machine was set: schedules, lifetimes and
// tokens go by it. The zero value has seen nothing.
type clock struct {
	sync.Mutex
	wall   time.Time     // when was looked last
	up     time.Duration // since the machine was started, asleep or awake; as of wall
	jump   time.Duration // the last one; 0: none
	jumped time.Duration // when, in the terms of up
	at     time.Time     // and by the new clock
}

// look compares both, and returns what is to be told.
func (c *clock) look(wall time.Time, up time.Duration) []alert.Trouble {
	c.Lock()
	defer c.Unlock()
	wall = wall.Round(0) // without the reading that knows of no jump
	if !c.wall.IsZero() {
		if jump := wall.Sub(c.wall) - (up - c.up); jump >= jumpOf || jump <= -jumpOf {
			c.jump, c.jumped, c.at = jump, up, wall
		}
	}
	c.wall, c.up = wall, up
	if c.jump == 0 || up-c.jumped >= jumpedFor {
		return nil
	}
	way := "forward"
	if c.jump < 0 {
		way = "back"
	}
	return []alert.Trouble{{Key: alert.Key{Kind: clockJumped}, Severity: alert.Warning, Since: c.at,
		Text:   fmt.Sprintf("the clock of the machine was set %s by %s", way, c.jump.Abs().Round(time.Second)),
		Remedy: "Retries and lifetimes of mail, tokens and certificates go by the clock: have it kept by NTP, and see that it is right now.", Command: "timedatectl"}}
}
