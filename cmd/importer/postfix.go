package importer

import (
	"path/filepath"
	"strings"
)

// postfix reads the settings of a Postfix.
type postfix struct {
	*Found
	src      *source
	main     *params
	services []service
	tables   map[string]lookup
	count    int // entries of tables
}

// readPostfix reads the folder with main.cf and master.cf, or the main.cf that
// is named.
func readPostfix(path string) (*Found, error) {
	dir, name := path, "main.cf"
	if !isFolder(path) {
		dir, name = filepath.Dir(path), filepath.Base(path)
	}
	p := &postfix{Found: &Found{}, src: newSource(dir, "/etc/postfix"), tables: map[string]lookup{}}
	p.Found.src = p.src
	f, err := p.src.read(filepath.Join(dir, name))
	if err != nil {
		return nil, &Unreadable{filepath.Join(dir, name), err}
	}
	p.main = readParams(f)
	p.main.machine = ourName(p.src)
	if f, err := p.src.read(filepath.Join(dir, "master.cf")); err == nil {
		p.services = readServices(f, p.main)
	} else {
		p.note(Place{File: filepath.Join(dir, "master.cf")}, (&Unreadable{"it", err}).Error()+"; Postfix is taken to listen at port 25 alone", "")
	}
	p.names()
	p.listeners()
	p.ways(f.at(0))
	p.limits()
	p.rewriting()
	p.copies()
	p.rest()
	for _, at := range p.main.strange {
		p.note(at, "an expression that compares is not computed, and counts as nothing", "look at what is meant there")
	}
	return p.Found, nil
}

// names reads who this machine is, and what it completes names with.
func (p *postfix) names() {
	if s, ok := p.main.raw("smtp_helo_name"); ok {
		p.mailName(s.Place, "smtp_helo_name", p.main.get("smtp_helo_name").Value)
	} else if s, ok := p.main.raw("myhostname"); ok {
		p.mailName(s.Place, "myhostname", p.main.get("myhostname").Value)
	}
	origin := p.main.get("myorigin")
	if strings.HasPrefix(origin.Value, "/") {
		f := p.open(origin.Place, "myorigin", origin.Value)
		if f == nil || len(f.lines) == 0 {
			return
		}
		origin = Setting{f.at(1), strings.TrimSpace(f.lines[0])}
	}
	if origin.Value != "" {
		p.domain(origin, "myorigin")
	}
	for _, d := range words(p.main.get("mydestination").Value) {
		p.local(d)
	}
	aliases := p.main.get("alias_maps")
	for _, t := range tableNames(aliases.Value) {
		kind, name, _ := strings.Cut(strings.TrimPrefix(t, "proxy:"), ":")
		if kind == "nis" || kind == "netinfo" {
			continue
		}
		if f, err := p.src.named(name); aliases.File == "" && (err != nil || len(f.lines) == 0) {
			continue // nobody has asked for it
		}
		if p.AliasFile.Value != "" || !strings.HasPrefix(name, "/") {
			p.note(aliases.Place, "alias_maps: the aliases in "+shown(t)+" are not read", "add them to the file that aliases names")
			continue
		}
		p.AliasFile = Setting{aliases.Place, name}
	}
	if bcc := p.main.get("always_bcc"); bcc.Value != "" {
		if a, ok := address(bcc.Value); ok {
			p.Archive = append(p.Archive, Setting{bcc.Place, a})
		} else {
			p.note(bcc.Place, "always_bcc: "+shown(bcc.Value)+" is no whole address", "set archive of [submission]")
		}
	}
}
