package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// names are what the files of one package declare, those of every system, but
// not its tests: identifiers, and "Type.member" for methods and fields.
type names struct {
	dir, name string
	doc       string
	has       map[string]bool
}

// declared reads every package of the tree.
func declared(t *testing.T, root string) []*names {
	t.Helper()
	var all []*names
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && path != root && (base == "testdata" || strings.HasPrefix(base, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		if len(all) == 0 || all[len(all)-1].dir != dir {
			// Files of a folder are met around those of the folders within it.
			if i := slices.IndexFunc(all, func(p *names) bool { return p.dir == dir }); i >= 0 {
				all[i].add(file)
				return nil
			}
			all = append(all, &names{dir: dir, name: file.Name.Name, has: map[string]bool{}})
		}
		all[len(all)-1].add(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// add takes what one file declares.
func (p *names) add(file *ast.File) {
	p.doc += file.Doc.Text()
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			p.has[d.Name.Name] = true
			if d.Recv == nil {
				continue
			}
			p.has[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for _, n := range s.Names {
						p.has[n.Name] = true
					}
				case *ast.TypeSpec:
					p.has[s.Name.Name] = true
					for _, n := range members(s.Type) {
						p.has[n], p.has[s.Name.Name+"."+n] = true, true
					}
				}
			}
		}
	}
}

func receiver(e ast.Expr) string {
	switch r := e.(type) {
	case *ast.StarExpr:
		return receiver(r.X)
	case *ast.IndexExpr:
		return receiver(r.X)
	case *ast.IndexListExpr:
		return receiver(r.X)
	case *ast.Ident:
		return r.Name
	}
	return ""
}

// members are the fields of a struct, or the methods of an interface.
func members(e ast.Expr) (found []string) {
	var list *ast.FieldList
	switch t := e.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		return nil
	}
	for _, f := range list.List {
		for _, n := range f.Names {
			found = append(found, n.Name)
		}
	}
	return found
}

var (
	commentLink   = regexp.MustCompile(`\[\*?((?:\w+\.)*[A-Z]\w*)\]`)
	commentDotted = regexp.MustCompile(`(?:^|[\s(\x60\[])\*?([A-Za-z]\w+(?:\.[A-Za-z]\w+)+)`)
	commentCamel  = regexp.MustCompile(`(?:^|[\s(\x60])([a-z]+[A-Z][a-z]\w*)`)
	commentAside  = regexp.MustCompile(`\([^)]*\)`)
	commentOrder  = regexp.MustCompile(`(?:Reading order|To (?:be )?read\b[^:.]*|In the order in which[^:.]*):\s`)
	commentEnd    = regexp.MustCompile(`\s*\.(\s|$)`)
	commentBreak  = regexp.MustCompile(`\s*[,;]\s*|\s+and\s+`)
	commentName   = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)*$`)
	fileName      = regexp.MustCompile(`\.(go|md|toml|lock|json|pem|sock|service)$`)
)

// named are the identifiers that a package comment names: [Name], Type.member,
// camelCase, and every name of a reading order. Other words are English.
func named(doc string) (found []string) {
	for _, r := range []*regexp.Regexp{commentLink, commentDotted, commentCamel} {
		for _, m := range r.FindAllStringSubmatch(doc, -1) {
			if !fileName.MatchString(m[1]) {
				found = append(found, m[1])
			}
		}
	}
	for paragraph := range strings.SplitSeq(doc, "\n\n") {
		at := commentOrder.FindStringIndex(paragraph)
		if at == nil {
			continue
		}
		order := commentAside.ReplaceAllString(paragraph[at[1]:], "")
		if end := commentEnd.FindStringIndex(order); end != nil {
			order = order[:end[0]]
		}
		for _, item := range commentBreak.Split(order, -1) {
			found = append(found, strings.Trim(item, " \n[]"))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// missing says why a name in the comment of p means nothing; empty: it exists.
// "pkg.Name" is of that package; another name with a dot may be an exported one
// of any package, as Message.Commit is.
func (p *names) missing(name string, all []*names) string {
	if !commentName.MatchString(name) {
		return "is not one name: a reading order has names between commas, and explains them in parentheses"
	}
	if p.has[name] {
		return ""
	}
	left, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		return "does not exist in this package"
	}
	known := false
	for _, other := range all {
		if other.name == left {
			known = true
			if other.has[rest] || !ast.IsExported(rest) { // spool.dir is a key of the configuration
				return ""
			}
		}
		if ast.IsExported(left) && other.has[name] {
			return ""
		}
	}
	switch {
	case known:
		return "does not exist: the package " + left + " has no " + rest
	case p.has[left]:
		return "does not exist: " + left + " has no " + rest
	}
	return "does not exist: there is no package or type " + left
}

// What the comment of a package names is there: whoever reads the code begins
// with it.
func TestPackageCommentsNameWhatExists(t *testing.T) {
	all, count := declared(t, "../.."), 0
	for _, p := range all {
		if p.doc == "" && p.name != "main" {
			t.Errorf("%s: the package has no comment", p.dir)
		}
		for _, name := range named(p.doc) {
			count++
			if why := p.missing(name, all); why != "" {
				t.Errorf("%s: its package comment names %q, which %s", p.dir, name, why)
			}
		}
	}
	if count < 60 {
		t.Errorf("only %d names were found in %d packages", count, len(all))
	}
}

var (
	readmeStep = regexp.MustCompile("(?m)^\\d+\\. `([a-z/]+)`(.*)$")
	readmeName = regexp.MustCompile("`\\(\\*(\\w+)\\)\\.(\\w+)`|`(\\w+\\.\\w+)`")
)

// The reading order of the README is that of the code.
func TestReadmeNamesWhatExists(t *testing.T) {
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, count := declared(t, "../.."), 0
	for _, step := range readmeStep.FindAllStringSubmatch(string(content), -1) {
		i := slices.IndexFunc(all, func(p *names) bool { return p.dir == step[1] })
		if i < 0 {
			t.Errorf("README.md: there is no package %s", step[1])
			continue
		}
		for _, m := range readmeName.FindAllStringSubmatch(step[2], -1) {
			count++
			name := m[3]
			if name == "" {
				name = m[1] + "." + m[2]
			}
			if why := all[i].missing(name, all); why != "" {
				t.Errorf("README.md: %s of %s %s", name, step[1], why)
			}
		}
	}
	if count < 8 {
		t.Errorf("only %d names were found", count)
	}
}

// The check itself: what counts as a name, and what is told of one that isn't there.
func TestNamesOfComments(t *testing.T) {
	p := &names{name: "own", has: map[string]bool{"Thing": true, "Thing.Do": true, "lane": true, "lane.run": true, "open": true, "replyOf": true}}
	other := &names{name: "other", has: map[string]bool{"Word": true, "Word.Say": true}}
	for _, c := range []struct{ doc, want string }{
		{"Package own is of macOS, e.g. see docs/own.md and own_test.go. [Thing], [other.Word], Word.Say (replyOf).", ""},
		{"It asks [Gone].", "Gone does not exist in this package"},
		{"It asks other.Gone.", "other.Gone does not exist: the package other has no Gone"},
		{"It asks (*lane.stop).", "lane.stop does not exist: lane has no stop"},
		{"It asks Gone.Do.", "Gone.Do does not exist: there is no package or type Gone"},
		{"It asks answerOf.", "answerOf does not exist in this package"},
		{"Reading order: Thing.Do (first, see\nthere), open and lane.run. Then more.", ""},
		{"To be read in the order in which\na message meets it: [Thing.Do], shut; open.", "shut does not exist in this package"},
	} {
		var got []string
		for _, name := range named(c.doc) {
			if why := p.missing(name, []*names{p, other}); why != "" {
				got = append(got, name+" "+why)
			}
		}
		if text := strings.Join(got, "|"); text != c.want {
			t.Errorf("%q: %q, want %q", c.doc, text, c.want)
		}
	}
}
