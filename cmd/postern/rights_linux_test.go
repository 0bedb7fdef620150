package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// somebody is a user of the machine without rights of root.
type somebody struct {
	name string
	uid  int
	gid  int // their own group
	also int // another one
}

// dial connects to a unix socket as this user. A thread becomes them, and ends
// with the connection made.
func (s *somebody) dial(path string) (net.Conn, error) {
	type dialed struct {
		conn net.Conn
		err  error
	}
	result := make(chan dialed)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		gids := [1]uint32{uint32(s.also)}
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&gids[0]))},
			{unix.SYS_SETRESGID, uintptr(s.gid), uintptr(s.gid), uintptr(s.gid)},
			{unix.SYS_SETRESUID, uintptr(s.uid), uintptr(s.uid), uintptr(s.uid)},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				result <- dialed{nil, fmt.Errorf("call %d: %w", call[0], errno)}
				return
			}
		}
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			result <- dialed{nil, err}
			return
		}
		result <- dialed{conn, nil}
	}()
	r := <-result
	return r.conn, r.err
}

// ask makes one request over a socket; 0: they may not connect.
func (s *somebody) ask(t *testing.T, socket, method, path, body string) int {
	t.Helper()
	conn, err := s.dial(socket)
	if errors.Is(err, unix.EACCES) {
		return 0
	}
	if err != nil {
		t.Fatalf("%s at %s: %v", s.name, socket, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, len(body), body)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", s.name, method, path, err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// tableOf reads the routes of a source file: the method, the path, and what
// stands behind them.
func tableOf(t *testing.T, file string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^\t\{"(GET|POST)", "(/[^"]*)", (\w*)`).FindAllStringSubmatch(string(text), -1)
	if len(list) < 10 {
		t.Fatalf("%s has %d routes", file, len(list))
	}
	return list
}

// Three groups have a right each: to hand in mail, to look, to operate. Users of
// each, of none and of two try every route at every socket.
func TestThreeGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("connects as other users, which takes root")
	}
	gid := func(name string) int {
		g, err := user.LookupGroup(name)
		if err != nil {
			t.Skip(err)
		}
		n, _ := strconv.Atoi(g.Gid)
		return n
	}
	const submits, looks, operates = "lp", "news", "uucp"
	text := strings.Replace(captured(freeAddr(t)), "[control]\n", "[control]\nread_socket = \"DIR/read.sock\"\nread_group = \""+looks+"\"\ngroup = \""+operates+"\"\n", 1)
	h := newHarness(t, text+fmt.Sprintf("[http]\nsocket = \"unix:DIR/http.sock\"\nsocket_mode = \"0660\"\nsocket_group = %q\n[[listener]]\nname = \"apps\"\naddress = \"unix:DIR/smtp.sock\"\nmode = \"0660\"\ngroup = %q\n", submits, submits))
	if err := os.Chmod(h.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.start()
	const none = 12399
	everybody := []somebody{
		{"nobody", 12301, 12301, none}, {"who submits", 12302, 12302, gid(submits)},
		{"who looks", 12303, 12303, gid(looks)}, {"who operates", 12304, 12304, gid(operates)},
		{"who submits, by their first group", 12305, gid(submits), none}, {"who submits and looks", 12306, gid(looks), gid(submits)},
		{"root's group", 12307, 0, none},
	}
	may := func(s *somebody, group string) bool { return s.gid == gid(group) || s.also == gid(group) }
	sample := strings.NewReplacer("{id}", "x", "{name}", "nothing", "{op}", "explode", "{domain}", "example.com")
	control, submit := tableOf(t, "../control/routes.go"), tableOf(t, "../../relay/api/request.go")
	for i := range everybody {
		s := &everybody[i]
		for _, c := range []struct {
			socket, group string
			routes        [][]string
		}{{"control.sock", operates, control}, {"read.sock", looks, control}, {"http.sock", submits, submit}} {
			path := filepath.Join(h.dir, c.socket)
			if !may(s, c.group) {
				if got := s.ask(t, path, "GET", "/healthz", ""); got != 0 {
					t.Errorf("%s connects to %s: %d", s.name, c.socket, got)
				}
				continue
			}
			for _, table := range [][][]string{control, submit} {
				for _, r := range table {
					own := &table[0] == &c.routes[0]
					got, good := s.ask(t, path, r[1], sample.Replace(r[2]), ""), false
					switch {
					case !own && r[2] != "/v1/messages":
						good = got == http.StatusNotFound
					case c.socket == "read.sock" && r[3] == "Operate":
						good = got == http.StatusForbidden
					case c.socket == "http.sock" && got == http.StatusForbidden: // requests of providers come with a token only
						good = r[1] == "POST" && !strings.HasPrefix(r[2], "/v1/") && !strings.HasPrefix(r[2], "/emails")
					default:
						good = got != 0 && got != http.StatusForbidden && got != http.StatusUnauthorized
					}
					if !good {
						t.Errorf("%s at %s: %s %s is answered %d", s.name, c.socket, r[1], r[2], got)
					}
				}
			}
		}
		conn, err := s.dial(filepath.Join(h.dir, "smtp.sock"))
		if (err == nil) != may(s, submits) {
			t.Errorf("%s by SMTP: %v", s.name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	// And none of them reaches a file of it.
	for _, name := range []string{"postern.toml", "spool", "state"} {
		info, err := os.Stat(filepath.Join(h.dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}
