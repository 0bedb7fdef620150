package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"postern/config"
	"postern/config/wire"
	"postern/relay/addressbook"
	"postern/relay/compose"
	"postern/relay/merge"
)

const (
	maxFiles = 200                    // message files of the list
	listFor  = 500 * time.Millisecond // for what they are about
	fillFor  = 30 * time.Second       // for the messages of a form, with those before it
	fillers  = 1                      // at a time: a message file may make much of little
	// maxFillMemory is what one message may take beside itself, in bytes.
	maxFillMemory = 64 << 20
	maxRows       = 100  // of a form
	maxWriteTo    = 1000 // addresses of one message
)

// filed is the page of the message files.
type filed struct {
	List    []filedOne
	Omitted int
}

type filedOne struct {
	Name, Path string
	Subject    string
	Problem    string // why it cannot be used; empty: it can, or was not looked at
}

// filePath is the form of a message file.
func filePath(name string) string { return "/message-files/" + url.PathEscape(name) }

// folder is the one of the message files, for who asks: names in it are looked up
// in the books that they may see.
func (s *Server) folder(r *request) merge.Folder {
	cfg := s.Config()
	return merge.Folder{Dir: cfg.ConsoleMessagesDir(), Domain: cfg.Hostname, Book: resolver{s.booksOf(r)}}
}

type resolver struct{ books *addressbook.Books }

// Resolve implements merge.Book.
func (b resolver) Resolve(ctx context.Context, name string) ([]compose.Address, error) {
	return b.books.Resolve(ctx, name, maxWriteTo)
}

// hasFiles tells whether there is a folder of message files.
func (s *Server) hasFiles(cfg *config.Config) bool {
	dir := cfg.ConsoleMessagesDir()
	if dir == "" {
		return false
	}
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

func (s *Server) messageFiles(w http.ResponseWriter, r *request) {
	folder := s.folder(r)
	names, err := folder.Names()
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, errors.New("the folder of message files cannot be read: "+merge.Reason(err)))
		return
	}
	page := &filed{Omitted: max(0, len(names)-maxFiles)}
	until := time.Now().Add(listFor)
	for _, name := range names[:len(names)-page.Omitted] {
		one := filedOne{Name: name, Path: filePath(name)}
		if time.Now().Before(until) {
			if wants, err := folder.Wants(r.Context(), name); err != nil {
				one.Problem = wire.Text(err.Error(), maxQuestion)
			} else {
				one.Subject = wire.Text(wants.Subject, 200)
			}
		}
		page.List = append(page.List, one)
	}
	s.page(w, r, http.StatusOK, "files", "Message files", page)
}

// fileForm is the form of a message file.
type fileForm struct {
	Name, Path string
	Wants      *merge.Wanted
	Values     []fileValue
	From, To   string // where the file says nothing of them
	Rows       string
	Problems   []string
	PerColumn  string // of rows.per; empty: it names none
	OneMessage bool   // all rows make one message
	MaxRows    int
}

type fileValue struct {
	Name, ID, Value string
	Needed          bool
}

const columnPrefix = "c."

func (s *Server) messageFile(w http.ResponseWriter, r *request) {
	form := s.formOfFile(w, r)
	if form != nil {
		s.page(w, r, http.StatusOK, "file", "Message "+form.Name, form)
	}
}

// formOfFile is the form of the message file that a path names, with what the
// request has filled in. It answers where there is none.
func (s *Server) formOfFile(w http.ResponseWriter, r *request) *fileForm {
	name := r.PathValue("name")
	wants, err := s.folder(r).Wants(r.Context(), name)
	if errors.Is(err, merge.ErrUnknown) {
		s.fail(w, r, http.StatusNotFound, errors.New("there is no such message file"))
		return nil
	} else if err != nil {
		s.fail(w, r, http.StatusConflict, errors.New("this message file cannot be used: "+wire.Text(err.Error(), maxQuestion)))
		return nil
	}
	in := r.PostForm
	form := &fileForm{Name: name, Path: filePath(name), Wants: wants, From: in.Get("from"), To: in.Get("to"), Rows: in.Get("rows"), MaxRows: maxRows, OneMessage: wants.Per == merge.PerAll}
	if wants.Per != merge.PerRow && wants.Per != merge.PerAll {
		form.PerColumn = wants.Per
	}
	for _, column := range wants.Columns {
		form.Values = append(form.Values, fileValue{column, columnPrefix + column, in.Get(columnPrefix + column), slices.Contains(wants.Required, column)})
	}
	return form
}

// rows are those of a form: the ones that were pasted, with the values of the
// fields for columns that they do not have, or these values alone.
func (f *fileForm) rows() ([]merge.Row, error) {
	one := merge.Row{}
	for _, v := range f.Values {
		one[v.Name] = strings.ReplaceAll(v.Value, "\r\n", "\n")
	}
	if strings.TrimSpace(f.Rows) == "" {
		return []merge.Row{one}, nil
	}
	if strings.HasPrefix(f.Rows, "PK\x03\x04") {
		return nil, errors.New("rows: these are CSV, a copied part of a table, or JSON")
	}
	rows, err := merge.ReadRows(f.Rows, maxRows)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("rows: below the names of the columns there are none")
	}
	for _, row := range rows {
		for name, value := range one {
			if _, there := row[name]; !there {
				row[name] = value
			}
		}
	}
	return rows, nil
}

// fillFile makes the messages of a form, and leads to what they look like. Nothing
// is sent.
func (s *Server) fillFile(w http.ResponseWriter, r *request) {
	form := s.formOfFile(w, r)
	if form == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), fillFor)
	defer cancel()
	select {
	case s.filling <- struct{}{}:
		defer func() { <-s.filling }()
	case <-ctx.Done():
		s.fail(w, r, http.StatusServiceUnavailable, errors.New("others are writing: try again in a while"))
		return
	}
	m := &made{file: form.Name, back: form.Path}
	rows, err := form.rows()
	if err == nil {
		var head *overHead
		if head, err = form.head(ctx, s.folder(r).Book); err == nil {
			folder, held := s.folder(r), int64(0)
			folder.Memory = func(n int64) bool { held += n; return held <= maxFillMemory }
			err = folder.FillRows(ctx, form.Name, rows, func(one *merge.Filled) error {
				held = 0
				return m.compose(one, head, s.Config().Hostname)
			})
		}
	}
	if err != nil {
		var wrong *merge.Problems
		if errors.As(err, &wrong) {
			for i := range wrong.List {
				form.Problems = append(form.Problems, wrong.List[i].String())
			}
			if more := wrong.Total - len(wrong.List); more > 0 {
				form.Problems = append(form.Problems, "and more of the kind")
			}
		} else {
			form.Problems = strings.Split(err.Error(), "\n")
		}
		for i := range form.Problems {
			form.Problems[i] = wire.Text(form.Problems[i], maxQuestion)
		}
		s.page(w, r, http.StatusUnprocessableEntity, "file", "This cannot be sent yet", form)
		return
	}
	http.Redirect(w, r.Request, madePath(s.made.add(r.secret, m), 0), http.StatusSeeOther)
}

// overHead is what a form says of sender and recipients, in place of a message file
// that does not.
type overHead struct {
	from compose.Address // zero: the file does
	to   []compose.Address
}

func (f *fileForm) head(ctx context.Context, book merge.Book) (*overHead, error) {
	head := &overHead{}
	for _, text := range []string{f.From, f.To} {
		if wire.Line(text) != text || len(text) > maxQuestion {
			return nil, errors.New("sender and recipients: these are too long, or have a character that cannot be seen")
		}
	}
	if !f.Wants.From {
		from, err := compose.ParseAddress(strings.TrimSpace(f.From))
		if err != nil {
			return nil, errors.New("from: " + err.Error())
		}
		head.from = from
	}
	if f.Wants.To {
		return head, nil
	}
	for _, piece := range compose.SplitList(f.To) {
		if one, err := compose.ParseAddress(piece); err == nil && strings.Contains(one.Addr, "@") {
			head.to = append(head.to, one)
			continue
		}
		some, err := book.Resolve(ctx, piece)
		if err != nil {
			return nil, errors.New("to: " + piece + ": " + err.Error())
		}
		if head.to = append(head.to, some...); len(head.to) > maxWriteTo {
			return nil, errors.New("to: these are too many")
		}
	}
	if len(head.to) == 0 {
		return nil, errors.New("to: nobody is named")
	}
	return head, nil
}
