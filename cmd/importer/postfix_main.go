package importer

import (
	"strings"

	"postern/config"
)

// What one value of main.cf may become, and how names may refer to others.
const (
	maxValue = 64 << 10 // bytes
	maxDepth = 32
	maxSteps = 2000
)

// logical are the lines of a file of Postfix: a line that begins with a blank
// continues the one before, and comments and empty lines are nowhere.
func logical(f *file) (lines []Setting) {
	for i, line := range f.lines {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#':
		case (line[0] == ' ' || line[0] == '\t') && len(lines) > 0:
			if last := &lines[len(lines)-1]; len(last.Value)+len(trimmed) < maxLine {
				last.Value += " " + trimmed
			}
		default:
			lines = append(lines, Setting{f.at(i + 1), trimmed})
		}
	}
	return lines
}

// params are the parameters of main.cf, or of one service of master.cf over
// them.
type params struct {
	set     map[string]Setting
	over    *params // whose settings count where set has none; nil: the defaults
	strange []Place // of expressions that are not computed
	machine string  // its name; empty: not known
	steps   int     // that one value has taken so far
}

// postfixDefaults are those of parameters that are asked for here or that
// others refer to.
var postfixDefaults = map[string]string{
	"config_directory": "/etc/postfix", "myorigin": "$myhostname", "mydestination": "$myhostname, localhost.$mydomain, localhost",
	"inet_interfaces": "all", "inet_protocols": "all", "default_database_type": "hash", "alias_maps": "hash:/etc/aliases",
	"smtp_helo_name": "$myhostname", "smtp_tls_CAfile": "", "mail_name": "Postfix", "mynetworks_style": "host", "default_transport": "smtp", "relay_transport": "relay", "smtp_tcp_port": "smtp",
	"meta_directory": "/etc/postfix", "data_directory": "/var/lib/postfix", "queue_directory": "/var/spool/postfix", "smtp_tls_fingerprint_digest": "md5",
}

// readParams reads the parameters of main.cf.
func readParams(f *file) *params {
	p := &params{set: map[string]Setting{}}
	for _, line := range logical(f) {
		name, value, ok := strings.Cut(line.Value, "=")
		if ok {
			p.set[strings.TrimSpace(name)] = Setting{line.Place, strings.TrimSpace(value)}
		}
	}
	return p
}

// raw is a parameter as it is written; ok is false where it is not.
func (p *params) raw(name string) (s Setting, ok bool) {
	for ; p != nil; p = p.over {
		if s, ok = p.set[name]; ok {
			return s, true
		}
	}
	return Setting{}, false
}

// get is the value of a parameter, or its default.
func (p *params) get(name string) Setting {
	s, ok := p.raw(name)
	if !ok {
		s.Value = postfixDefaults[name]
	}
	p.steps = 0
	s.Value = strings.TrimSpace(p.expand(s, 0))
	if s.Value == "" && !ok {
		switch name {
		case "myhostname":
			s.Value = p.machine
		case "mydomain":
			_, s.Value, _ = strings.Cut(p.get("myhostname").Value, ".")
		}
	}
	return s
}

// is reads a parameter of "yes" and "no".
func (p *params) is(name string) bool { return strings.EqualFold(p.get(name).Value, "yes") }

// value is that of a parameter within another one.
func (p *params) value(name string, depth int) string {
	s, ok := p.raw(name)
	if !ok {
		switch name {
		case "myhostname":
			return p.machine
		case "mydomain":
			_, domain, _ := strings.Cut(p.value("myhostname", depth+1), ".")
			return domain
		}
		s.Value = postfixDefaults[name]
	}
	return p.expand(s, depth+1)
}

// expand replaces $name, ${name}, $(name), ${name?text}, ${name:text} and
// ${name?{text}:{text}}. What refers to itself, or grows without end, is empty.
func (p *params) expand(s Setting, depth int) string {
	if p.steps++; depth > maxDepth || p.steps > maxSteps {
		return ""
	}
	var b strings.Builder
	text := s.Value
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 || i == len(text)-1 {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		text = text[i+1:]
		var part string
		switch text[0] {
		case '$':
			part, text = "$", text[1:]
		case '{', '(':
			var body string
			body, text = bracket(text)
			part = p.choose(Setting{s.Place, body}, depth)
		default:
			n := nameLength(text)
			part, text = p.value(text[:n], depth), text[n:]
		}
		if b.Len()+len(part) > maxValue {
			return ""
		}
		b.WriteString(part)
	}
	return b.String()
}

// choose computes what stands between ${ and }.
func (p *params) choose(s Setting, depth int) string {
	n := nameLength(s.Value)
	name, rest := s.Value[:n], s.Value[n:]
	if name == "" {
		p.strange = append(p.strange, s.Place) // an expression that compares
		return ""
	}
	if rest == "" {
		return p.value(name, depth)
	}
	is := p.value(name, depth) != ""
	text := rest[1:]
	yes, no := text, ""
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		var after string
		yes, after = bracket(strings.TrimSpace(text))
		if after = strings.TrimSpace(after); strings.HasPrefix(after, ":") {
			if no = strings.TrimSpace(after[1:]); strings.HasPrefix(no, "{") {
				no, _ = bracket(no)
			}
		}
	}
	switch rest[0] {
	case '?':
		if !is {
			yes = no
		}
	case ':':
		if is {
			yes = ""
		}
	default:
		p.strange = append(p.strange, s.Place)
		return ""
	}
	return p.expand(Setting{s.Place, yes}, depth+1)
}

// bracket cuts what stands in the bracket at the start of text.
func bracket(text string) (body, rest string) {
	open, closing := text[0], byte('}')
	if open == '(' {
		closing = ')'
	}
	deep := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case open:
			deep++
		case closing:
			if deep--; deep == 0 {
				return text[1:i], text[i+1:]
			}
		}
	}
	return text[1:], ""
}

func nameLength(s string) int {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' {
			return i
		}
	}
	return len(s)
}

// words are the elements of a list of Postfix.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// service is a line of master.cf: a listener, or a way to deliver.
type service struct {
	Place
	name, kind, command string
	params              *params // with those of its -o
}

// readServices reads master.cf.
func readServices(f *file, over *params) (list []service) {
	for _, line := range logical(f) {
		fields := strings.Fields(line.Value)
		if len(fields) < 8 {
			continue
		}
		s := service{Place: line.Place, name: fields[0], kind: fields[1], command: fields[7], params: &params{set: map[string]Setting{}, over: over, machine: over.machine}}
		args := fields[8:]
		for i := 0; i < len(args); i++ {
			option, ok := strings.CutPrefix(args[i], "-o")
			if !ok {
				continue
			}
			if option == "" && i+1 < len(args) {
				i++
				option = args[i]
			}
			if strings.HasPrefix(option, "{") { // { name = value }
				for !strings.HasSuffix(option, "}") && i+1 < len(args) {
					i++
					option += " " + args[i]
				}
				option = strings.Trim(option, "{} ")
			}
			if name, value, ok := strings.Cut(option, "="); ok {
				s.params.set[strings.TrimSpace(name)] = Setting{line.Place, strings.TrimSpace(value)}
			}
		}
		list = append(list, s)
	}
	return list
}

// ourName is the name of this machine, where the settings are its own.
func ourName(src *source) string {
	if src.here() {
		return config.MachineName()
	}
	return ""
}
