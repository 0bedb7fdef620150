package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/config/command"
	"postern/config/wire"
)

// Secret is a secret and where it comes from. It never shows itself: every
// form of printing, and JSON, give "[secret]", or nothing where there is
// none. The zero Secret is none. It may be used concurrently.
type Secret struct {
	// A pointer, so that not even printing a struct that hides a Secret in an
	// unexported field reaches the value.
	source *secretSource
}

// secretKind is what follows the name of a secret in the key that gives it.
type secretKind string

// The sources of a secret.
const (
	secretLiteral    secretKind = ""
	secretFile       secretKind = "_file"
	secretCommand    secretKind = "_command"
	secretEnv        secretKind = "_env"
	secretCredential secretKind = "_credential"
)

// The names of secrets.
const (
	passwordKey     = "password"
	clientSecretKey = "client_secret"
	tokenKeyKey     = "token_key"
	urlKey          = "url" // of an [[alert]]
)

type secretSource struct {
	name  string // "password"
	kind  secretKind
	value string   // the secret, path or name
	args  []string // of a command
	env   []string // names of variables that the command gets beside the usual ones
	// expanded: a variable of the environment stands in the file in its place.
	expanded bool
}

// key is the key that gives the secret: "password_file".
func (s *secretSource) key() string { return s.name + string(s.kind) }

const (
	redacted = "[secret]"
	// maxSecret bounds what a file or command may give, in bytes.
	maxSecret = 64 << 10
)

// NewSecret is a secret that is known already.
func NewSecret(value string) Secret {
	return Secret{&secretSource{name: passwordKey, kind: secretLiteral, value: value}}
}

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.source != nil }

// IsCommand reports whether a program is run to get it.
func (s Secret) IsCommand() bool { return s.source != nil && s.source.kind == secretCommand }

// Source says where the secret comes from, for people: "password",
// "password_file /etc/postern/office.pw", "password_env OFFICE_PW",
// "password_command" (whose arguments can be secret themselves).
func (s Secret) Source() string {
	if s.source == nil {
		return ""
	}
	switch s.source.kind {
	case secretLiteral, secretCommand:
		return s.source.key()
	}
	return s.source.key() + " " + s.source.value
}

// File is the path of the file that the secret is read from; "" where it comes
// from elsewhere.
func (s Secret) File() string {
	if s.source == nil || s.source.kind != secretFile {
		return ""
	}
	return s.source.value
}

// Credential is the name of the systemd credential that the secret is; "" where
// it comes from elsewhere.
func (s Secret) Credential() string {
	if s.source == nil || s.source.kind != secretCredential {
		return ""
	}
	return s.source.value
}

// FromEnvironment reports whether the secret is part of what the daemon is
// started with, which other processes do not have.
func (s Secret) FromEnvironment() bool {
	return s.source != nil && (s.source.kind == secretEnv || s.source.kind == secretCredential)
}

// Literal reports whether the secret stands in the configuration itself.
func (s Secret) Literal() bool {
	return s.source != nil && s.source.kind == secretLiteral && !s.source.expanded
}

// String is "[secret]".
func (s Secret) String() string {
	if s.source == nil {
		return ""
	}
	return redacted
}

// GoString is "[secret]".
func (s Secret) GoString() string { return s.String() }

// Format prints "[secret]" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is "[secret]", in JSON too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Read fetches the secret from its source, each time anew, so that a changed
// password file counts without a reload. Errors name the source and never
// hold any of the secret. It returns "" and no error where there is no
// secret.
func (s Secret) Read(ctx context.Context) (string, error) {
	if s.source == nil {
		return "", nil
	}
	value, err := s.source.read(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.Source(), err)
	}
	if s.source.kind != secretLiteral {
		if value, err = tidySecret(value); err != nil {
			return "", fmt.Errorf("%s: %w", s.Source(), err)
		}
	}
	switch {
	case value == "":
		return "", fmt.Errorf("%s: is empty", s.Source())
	case strings.ContainsAny(value, "\x00\r\n"):
		return "", fmt.Errorf("%s: holds more than one line, or a NUL", s.Source())
	}
	return value, nil
}

func (s *secretSource) read(ctx context.Context) (string, error) {
	switch s.kind {
	case secretFile:
		return readFrom(s.value, true)
	case secretCommand:
		return runSecretCommand(ctx, s.args, s.env)
	case secretEnv:
		value, ok := os.LookupEnv(s.value)
		if !ok {
			return "", errors.New("is not set in the environment of this process")
		}
		return value, nil
	case secretCredential:
		folder := os.Getenv("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return "", errors.New("CREDENTIALS_DIRECTORY is not set: not started by systemd with LoadCredential")
		}
		return readSecretFile(filepath.Join(folder, s.value))
	}
	return s.value, nil
}

func readSecretFile(path string) (string, error) { return readFrom(path, false) }

// readFrom reads a file of at most maxSecret bytes; private: that not everybody
// can get at. What is judged is what was opened.
func readFrom(path string, private bool) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|noWait, 0)
	if err != nil {
		return "", errors.New("cannot be read: " + reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", errors.New("cannot be read: " + reason(err))
	case private:
		err = judgeSecretMode(path, info)
	case !info.Mode().IsRegular(): // a pipe could be waited for without end
		err = errNoFile
	}
	if err != nil {
		return "", err
	}
	neverWait(f)
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", errors.New("cannot be read: " + reason(err))
	}
	if len(b) > maxSecret {
		return "", errors.New("is larger than " + FormatSize(maxSecret))
	}
	return string(b), nil
}

// checkSecretMode refuses a file that everybody on the machine can read or
// change. Files under /run/secrets, where container engines put them with
// mode 0444, are the exception: nobody else lives in there.
func checkSecretMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return errors.New("cannot be read: " + reason(err))
	}
	return judgeSecretMode(path, info)
}

var errNoFile = errors.New("is not a file")

func judgeSecretMode(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errNoFile
	}
	if runtime.GOOS == "windows" || strings.HasPrefix(path, "/run/secrets/") {
		return nil
	}
	if mode := info.Mode().Perm(); mode&0o006 != 0 {
		return fmt.Errorf("has mode %04o: everybody on this machine can read or change it", mode)
	}
	return nil
}

// tidySecret makes the secret of what a file, a variable or a command gave.
// What editors and shells add at its ends and nobody sees goes: a byte order
// mark, blanks, newlines. What cannot be a part of a secret and nobody sees
// is an error, which does not hold any of the secret.
func tidySecret(text string) (string, error) {
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return "", errors.New("is UTF-16: save it as UTF-8, without a byte order mark")
	}
	text = strings.Trim(strings.TrimPrefix(text, "\ufeff"), " \t\r\n")
	switch {
	case text == "":
		return "", errors.New("is empty")
	case strings.ContainsAny(text, "\x00\r\n"):
		return "", errors.New("holds more than one line, or a NUL")
	}
	if unseen := unseenIn(text); unseen != "" {
		return "", errors.New("holds " + unseen + ": type it anew")
	}
	return text, nil
}

// unseenIn names the first character that cannot be seen, as copying from a
// page brings along; "" where there is none. Text that is not UTF-8 has none.
func unseenIn(text string) string {
	if !utf8.ValidString(text) {
		return ""
	}
	for _, r := range text {
		switch {
		case r == ' ':
		case unicode.IsControl(r):
			return fmt.Sprintf("the control character U+%04X", r)
		case unicode.IsSpace(r) || unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp):
			return fmt.Sprintf("U+%04X, a blank that is no space", r)
		case !wire.Visible(r) && r != utf8.RuneError:
			return fmt.Sprintf("the invisible character U+%04X", r)
		}
	}
	return ""
}

// commandTimeout is how long a password_command may take.
const commandTimeout = 30 * time.Second

// inherited are the variables that a command gets. The rest of the environment
// is not its business: passwords of other upstreams, the sockets and
// credentials that a service manager hands over. A * stands for
// any end of a name.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*", "KRB5*",
	// Without these, programs of Windows do not start.
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP",
	"USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
}

// commandEnv is the part of an environment that a command gets: what every
// command does, and what is named for it.
func commandEnv(environ, named []string) []string {
	env := []string{} // not nil, which would be everything
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(named, name) || slices.ContainsFunc(inherited, func(want string) bool {
			prefix, isPrefix := strings.CutSuffix(want, "*")
			return isPrefix && strings.HasPrefix(name, prefix) || sameVariable(name, want)
		}) {
			env = append(env, entry)
		}
	}
	return env
}

// sameVariable compares names of variables as the system does.
func sameVariable(a, b string) bool {
	if runtime.GOOS == "windows" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// runSecretCommand is RunCommand for as long as a password may take.
func runSecretCommand(ctx context.Context, args, named []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return RunCommand(ctx, args, named, nil)
}

// RunCommand runs a command until ctx is done and returns what it printed, of
// which 64 KiB are taken. input is its standard input; nil: none. named are the
// variables that it gets beside those of every command; it gets no open file
// of this process. Its standard error is dropped, because it can hold a secret.
// Where it does not end in time, what it has started ends with it. Errors hold
// nothing that it printed and none of its arguments.
func RunCommand(ctx context.Context, args, named []string, input io.Reader) (string, error) {
	out := &cappedBuffer{}
	if err := runCommand(ctx, args, named, input, out); err != nil {
		return "", err
	}
	return out.kept.String(), nil
}

// TellCommand is RunCommand for a command that only listens: nobody reads what it
// prints, of which there may be any amount, and where it ends with 0 it may leave
// programs running.
func TellCommand(ctx context.Context, args, named []string, input io.Reader) error {
	return runCommand(ctx, args, named, input, nil)
}

// runCommand runs a command. out gets what it prints; nil: nobody does.
func runCommand(ctx context.Context, args, named []string, input io.Reader, out *cappedBuffer) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = command.Linger
	cmd.Env = commandEnv(os.Environ(), named)
	command.KeepDescriptors()
	kill := command.Apart(cmd)
	cmd.Stdin = input
	if out != nil {
		cmd.Stdout = out
	}
	err := cmd.Run()
	full := out != nil && out.full
	if full || ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay) {
		kill() // children that it left behind: there would be more with each sign-in
	}
	var exit *exec.ExitError
	switch {
	case full:
		return errors.New("printed more than " + FormatSize(maxSecret))
	case ctx.Err() != nil:
		return fmt.Errorf("did not end in time: %w", ctx.Err())
	case errors.As(err, &exit):
		return fmt.Errorf("failed: %s; run it by hand to see why", exit.ProcessState)
	case errors.Is(err, exec.ErrWaitDelay):
		if out == nil {
			return errors.New("left a child behind that keeps its input open")
		}
		return errors.New("left a child behind that keeps its output open")
	case err != nil:
		return fmt.Errorf("cannot be run: %w", err)
	}
	return nil
}

// cappedBuffer keeps up to maxSecret bytes and then refuses.
type cappedBuffer struct {
	kept bytes.Buffer // a field, not embedded: its ReadFrom knows no cap
	full bool
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxSecret {
		b.full = true
		return 0, errors.New("too much output")
	}
	return b.kept.Write(p)
}
