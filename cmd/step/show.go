package step

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"postern/config/wire"
	"postern/relay/compose"
	"postern/relay/merge"
	"postern/spool/disk"
)

// Show writes messages as people read them, the first or all, and sends none.
func Show(ctx context.Context, p *merge.Plan, w io.Writer, all bool) error {
	out := bufio.NewWriter(w)
	total := p.Messages()
	errEnough := fmt.Errorf("enough")
	err := merge.Each(ctx, p, 1, func(ctx context.Context, r *merge.Renderer, g *merge.Group) *merge.Message {
		if g.Bad != "" || ctx.Err() != nil {
			return nil
		}
		m, _ := r.Render(ctx, g)
		return m
	}, func(g *merge.Group, m *merge.Message) error {
		if m == nil {
			return nil
		}
		show(out, m, total)
		if !all {
			return errEnough
		}
		return out.Flush()
	})
	if err == errEnough {
		err = nil
	}
	if err == nil {
		err = out.Flush()
	}
	return err
}

// show writes one message. What is foreign can do nothing to a terminal.
func show(w io.Writer, m *merge.Message, total int) {
	row := ""
	if m.Row > 0 {
		row = fmt.Sprintf(", row %d", m.Row)
	}
	fmt.Fprintf(w, "--- message %d of %d%s, %s\n", m.N, total, row, size(m.Mail.Size()))
	for _, f := range headerOf(m) {
		fmt.Fprintf(w, "%s: %s\n", f.Name, wire.Line(f.Value))
	}
	fmt.Fprintln(w)
	switch {
	case m.Source.Text != "":
		fmt.Fprintln(w, wire.EachLine(strings.TrimRight(lines(m.Source.Text), "\n")))
	case m.Source.HTML != "":
		if text, err := compose.TextOf(m.Source.HTML); err == nil {
			fmt.Fprintln(w, wire.EachLine(strings.TrimRight(lines(text), "\n")))
		}
	}
	fmt.Fprintln(w)
	for _, part := range partsOf(m) {
		fmt.Fprintln(w, wire.Line(part))
	}
}

func lines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// headerOf is what the header of a message says, for people, and what is told
// to the relay beside it.
func headerOf(m *merge.Message) []compose.Field {
	s := m.Source
	var out []compose.Field
	add := func(name, value string) {
		if value != "" {
			out = append(out, compose.Field{Name: name, Value: value})
		}
	}
	add("From", s.From.String())
	for _, l := range []struct {
		name string
		list []compose.Address
	}{{"To", s.To}, {"Cc", s.Cc}, {"Bcc", s.Bcc}, {"Reply-To", s.ReplyTo}} {
		all := make([]string, len(l.list))
		for i, a := range l.list {
			all[i] = a.String()
		}
		add(l.name, strings.Join(all, ", "))
	}
	add("Subject", s.Subject)
	switch s.Importance {
	case compose.High:
		add("Importance", "high")
	case compose.Low:
		add("Importance", "low")
	}
	for _, f := range s.Header {
		add(f.Name, f.Value)
	}
	return out
}

// partsOf names attachments, what is embedded, and what else goes with it.
func partsOf(m *merge.Message) []string {
	var out []string
	for _, p := range m.Source.Attached {
		gz := ""
		if p.Gzip {
			gz = ", compressed"
		}
		out = append(out, fmt.Sprintf("attached: %s (%s%s)", p.Name, size(p.Size), gz))
	}
	for _, p := range m.Source.Embedded {
		out = append(out, fmt.Sprintf("embedded: %s (%s)", cidOf(p), size(p.Size)))
	}
	if len(m.Source.Calendar) > 0 {
		out = append(out, "calendar: "+size(int64(len(m.Source.Calendar))))
	}
	if m.Source.HTML != "" {
		out = append(out, "HTML: "+size(int64(len(m.Source.HTML))))
	}
	if m.Key != "" {
		out = append(out, "key: "+m.Key)
	}
	if m.Save != "" {
		out = append(out, "saved as: "+m.Save)
	}
	return out
}

func cidOf(p compose.Part) string {
	if p.ID != "" {
		return p.ID
	}
	return p.Name
}

// size is a number of bytes as people say it.
func size(n int64) string {
	switch {
	case n < 0:
		return "of unknown size"
	case n < 1024:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// Files writes each message into a folder, which is made where it is missing,
// and sends none. It returns how many there are.
func Files(ctx context.Context, p *merge.Plan, dir string) (int, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	folder, err := disk.OpenFolder(dir)
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	n := 0
	err = merge.Each(ctx, p, Workers(), func(ctx context.Context, r *merge.Renderer, g *merge.Group) error {
		if g.Bad != "" || ctx.Err() != nil {
			return errLeftOut
		}
		m, problems := r.Render(ctx, g)
		if m == nil {
			return fmt.Errorf("%s", merge.Brief(problems))
		}
		return file(folder, fileName(m), m.Mail)
	}, func(g *merge.Group, err error) error {
		if err == errLeftOut {
			return nil
		}
		n++
		return err
	})
	return n, err
}

var errLeftOut = fmt.Errorf("left out")

// fileName is "000012-bob@example.org.eml".
func fileName(m *merge.Message) string {
	to := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._+-", r) {
			return r
		}
		return '_'
	}, m.To[0])
	return fmt.Sprintf("%06d-%.100s.eml", m.N, to)
}

// file writes a message to a file that only its user can read. It takes the place
// of one that is there, and follows no link.
func file(folder *os.Root, name string, m io.WriterTo) error {
	if err := folder.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = m.WriteTo(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		_ = folder.Remove(name)
	}
	return err
}
