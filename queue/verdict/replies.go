package verdict

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"postern/spool"
)

//go:embed replies.toml
var repliesFile string

// reply is one answer that real upstreams give. replies.toml describes its
// fields.
type reply struct {
	Code     int    `toml:"code"`
	Enhanced string `toml:"enhanced"`
	Text     string `toml:"text"`
	From     string `toml:"from"`
	Until    string `toml:"until"`
	Fails    bool   `toml:"fails"`
	Blame    string `toml:"blame"`
	Meaning  string `toml:"meaning"`
	Remedy   string `toml:"remedy"`
	Source   string `toml:"source"`
	Example  string `toml:"example"`

	from, until spool.Stage // zero: any
	status      spool.Status
	blame       Blame
}

// replyTable is replies.toml: the tables in the order in which they are asked.
type replyTable struct {
	Shared   map[string]string `toml:"shared"`
	Access   []reply           `toml:"access"`
	Relay    []reply           `toml:"relay"`
	Sender   []reply           `toml:"sender"`
	Throttle []reply           `toml:"throttle"`
	Message  []reply           `toml:"message"`
}

// replies is the table of known answers, which is part of the program.
var replies = sync.OnceValue(func() []reply {
	all, err := readReplies(repliesFile)
	if err != nil {
		panic("replies.toml: " + err.Error()) // a test reads it
	}
	return all
})

// readReplies reads a table of answers. What it can't read is an error.
func readReplies(text string) ([]reply, error) {
	var t replyTable
	meta, err := toml.Decode(text, &t)
	if err != nil {
		return nil, err
	}
	if left := meta.Undecoded(); len(left) > 0 {
		return nil, fmt.Errorf("nobody reads %v", left)
	}
	var pairs []string
	for name, shared := range t.Shared {
		pairs = append(pairs, "{"+name+"}", shared)
	}
	shared := strings.NewReplacer(pairs...)
	var all []reply
	for _, part := range []struct {
		replies []reply
		blame   Blame
	}{{t.Access, Access}, {t.Relay, Nobody}, {t.Sender, Sender}, {t.Throttle, Upstream}, {t.Message, Nobody}} {
		for _, r := range part.replies {
			r.blame = part.blame
			if err := r.settle(shared); err != nil {
				return nil, fmt.Errorf("{%d %s %q}: %w", r.Code, r.Enhanced, r.Text, err)
			}
			all = append(all, r)
		}
	}
	return all, nil
}

// settle puts values in place of words.
func (r *reply) settle(shared *strings.Replacer) (err error) {
	if r.from, err = stageNamed(r.From); err != nil {
		return err
	}
	if r.until, err = stageNamed(r.Until); err != nil {
		return err
	}
	if r.Fails {
		r.status = spool.Bounced
	}
	if r.Blame != "" {
		n := slices.Index(blameNames[:], r.Blame)
		if n < 0 {
			return fmt.Errorf("no blame %q", r.Blame)
		}
		r.blame = Blame(n)
	}
	for _, s := range []*string{&r.Meaning, &r.Remedy, &r.Source} {
		*s = shared.Replace(*s)
	}
	return nil
}

// stageNames are the stages as replies.toml names them.
var stageNames = [...]string{"", "resolve", "connect", "tls", "greet", "sign-in", "mail", "rcpt", "data", "body", "dot"}

func stageNamed(name string) (spool.Stage, error) {
	n := slices.Index(stageNames[:], name)
	if n < 0 {
		return 0, fmt.Errorf("no stage %q", name)
	}
	return spool.Stage(n), nil
}

// Advice is what a known reply of an upstream means, and what an
// administrator can do about it.
type Advice struct {
	Blame   Blame  `json:"-"`                // as Of and OfFault have it
	Meaning string `json:"meaning"`          // a sentence
	Remedy  string `json:"remedy"`           // one sentence or more
	Source  string `json:"source,omitempty"` // address of a page about it; empty: none
}

// nullSenderAdvice is about MAIL FROM:<>, which every server has to take (RFC
// 5321 §6.1). Some providers do not, such as Amazon SES.
var nullSenderAdvice = Advice{
	Blame:   Sender,
	Meaning: "The upstream does not take the null sender (<>), which bounces and other notifications have.",
	Remedy:  `Add a [[route]] with from = ["<>"] to an upstream that takes it, before the others. What waits already keeps its upstream.`,
}

// Advise translates an answer of an upstream, at any stage, for people. It
// looks into the table by which Of and OfFault decide; false: nothing is known
// of this answer beyond its own words.
func Advise(o *spool.Outcome) (Advice, bool) {
	if o.Unsupported || o.Code < 400 || o.Code > 599 {
		return Advice{}, false
	}
	r := lookUp(o, EnhancedOf(o))
	if r == nil || r.Meaning == "" {
		return Advice{}, false
	}
	return Advice{Blame: r.blame, Meaning: r.Meaning, Remedy: r.Remedy, Source: r.Source}, true
}

// AdviseSender is Advise for an answer to a message with this reverse-path.
// The null one cannot be repaired at the sender: it needs another way.
func AdviseSender(sender string, o *spool.Outcome) (Advice, bool) {
	if sender == "" && o.Stage >= spool.StageMail && Of(o, false).Blame == Sender {
		return nullSenderAdvice, true
	}
	return Advise(o)
}

// lookUp finds what is known of a reply; nil: nothing.
func lookUp(o *spool.Outcome, e Enhanced) *reply {
	text := strings.ToLower(o.Text)
	all := replies()
	for i := range all {
		if r := &all[i]; r.appliesAt(o.Stage) && r.matches(o, e, text) {
			return r
		}
	}
	return nil
}

// appliesAt leaves out what cannot be meant at a stage.
func (r *reply) appliesAt(stage spool.Stage) bool {
	if stage < spool.StageMail && r.blame != Access && r.blame != Upstream {
		return false
	}
	return stage >= r.from && (r.until == 0 || stage <= r.until)
}

// matches compares with an outcome, whose text is given in lower case.
func (r *reply) matches(o *spool.Outcome, e Enhanced, text string) bool {
	switch {
	case r.Code > 9 && r.Code != o.Code, r.Code > 0 && r.Code <= 9 && r.Code != o.Code/100:
		return false
	case r.Enhanced != "" && !r.matchesEnhanced(o.Enhanced, e):
		return false
	}
	return strings.Contains(text, r.Text)
}

// matchesEnhanced needs the class of the enhanced code to agree with the reply
// code: a 450 5.7.8 is no refusal yet.
func (r *reply) matchesEnhanced(s string, e Enhanced) bool {
	if e.Class != int(r.Enhanced[0]-'0') {
		return false
	}
	if prefix, ok := strings.CutSuffix(r.Enhanced, "*"); ok {
		return len(s) == len(prefix)+2 && strings.HasPrefix(s, prefix)
	}
	return s == r.Enhanced
}
