package config

import (
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// PickupListener is the name of the folder whose messages are taken, as routes
// and logs have it.
const PickupListener = "pickup"

// Pickup configures a folder where programs leave messages.
type Pickup struct {
	Dir string // empty: there is none
	// Settle is how long a message has to stay the same before it is taken.
	Settle time.Duration
	// Limits are those of its messages: MaxMessageSize, MaxRecipients and Rate.
	Limits Listener

	set bool // the file names the folder, or says that there is none
}

func (p *Pickup) keys() []key {
	of := map[string]key{}
	for _, k := range p.Limits.keys() {
		of[k.name] = k
	}
	return []key{
		{name: "dir", value: p.dirValue(), unset: DefaultPickup() + " where that is there", restart: true, help: "The folder where programs leave messages, as files named *.eml; off is none."},
		{name: "settle", value: duration(&p.Settle, time.Second, time.Hour), def: "3s", help: "How long a message has to stay the same before it is taken."},
		of["max_message_size"], of["max_recipients"], of["rate"],
	}
}

// dirValue is a path, or "off".
func (p *Pickup) dirValue() value {
	read := func(f field, v any) (string, bool) {
		s, ok := readText(f, v)
		if !ok {
			return "", false
		}
		if p.set = true; s == "off" {
			return "", true
		}
		return f.t.doc.path(s), true
	}
	show := func(dir string) any {
		if dir == "" && p.set {
			return "off"
		}
		return unlessEmpty(dir)
	}
	return kind[string]{name: "path", parse: read, format: show}.at(&p.Dir)
}

// DefaultPickup is the folder of an installation.
func DefaultPickup() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(programData(), "pickup")
	}
	return "/var/spool/postern-pickup"
}

// settlePickup finds the folder where the file does not name one: own, or that
// of an installation, which its package makes.
func (c *Config) settlePickup(own string) {
	p := &c.Pickup
	p.Limits.Name, p.Limits.RepairHeaders = PickupListener, true
	if most := c.Spool.MaxSize; most > 0 {
		p.Limits.MaxMessageSize = min(p.Limits.MaxMessageSize, most)
	}
	switch info, err := os.Stat(DefaultPickup()); {
	case p.set:
	case own != "":
		p.Dir = own
	case err == nil && info.IsDir():
		p.Dir = DefaultPickup()
	}
}
