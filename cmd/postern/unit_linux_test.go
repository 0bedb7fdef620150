package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterEnv names the file with the system calls that a program may make.
const filterEnv = "POSTERN_TEST_SYSTEM_CALLS"

// callsEnv names that file for a test that runs in another process of ours.
const callsEnv = "POSTERN_TEST_CALLS_OF_THE_UNIT"

// underFilter is that file, for every daemon that a harness starts; empty: they
// may make any.
var underFilter string

// confined makes a command run under the filter.
func confined(cmd *exec.Cmd) {
	if underFilter == "" {
		return
	}
	cmd.Env = append(cmd.Env, filterEnv+"="+underFilter)
	cmd.Args = append([]string{os.Args[0], cmd.Path}, cmd.Args[1:]...)
	cmd.Path = os.Args[0]
}

// beConfined carries out what confined has prepared. It returns only where
// this process is not meant.
func beConfined() {
	beSet()
	path := os.Getenv(filterEnv)
	if path == "" {
		return
	}
	os.Unsetenv(filterEnv)
	runtime.LockOSThread()
	err := installFilter(path)
	if err == nil {
		err = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "the filter cannot be installed:", err)
	os.Exit(1)
}

// installFilter lets this thread, and what it executes, make the calls whose
// numbers stand in a file, and answers EPERM to all others.
func installFilter(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	statement := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	// The number is the first word of struct seccomp_data.
	program := []unix.SockFilter{statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0)}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		n, err := strconv.ParseUint(lines.Text(), 10, 32)
		if err != nil {
			return err
		}
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(n)},
			statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW))
	}
	program = append(program, statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// unitCalls are the numbers of the system calls that the unit allows, as
// systemd understands it.
func unitCalls(t *testing.T) []string {
	t.Helper()
	for _, tool := range []string{"systemd-analyze", "scmp_sys_resolver"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("POSTERN_REQUIRE_INTEROP") != "" {
				t.Fatalf("%s is missing", tool)
			}
			t.Skipf("%s is missing (packages systemd and seccomp)", tool)
		}
	}
	unit, err := os.ReadFile(filepath.Join("..", "..", "packaging", "systemd", "postern.service"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"execve": true} // by which it is started
	for line := range strings.Lines(string(unit)) {
		list, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter=")
		if !ok {
			continue
		}
		list, denied := strings.CutPrefix(list, "~")
		for _, group := range strings.Fields(list) {
			for _, name := range callsOf(t, group) {
				names[name] = !denied
			}
		}
	}
	for _, name := range callsOf(t, "@default") {
		names[name] = true // systemd adds it to each list of what is allowed
	}
	var numbers []string
	for name, allowed := range names {
		if !allowed {
			continue
		}
		out, err := exec.Command("scmp_sys_resolver", name).Output()
		if n, perr := strconv.Atoi(strings.TrimSpace(string(out))); err == nil && perr == nil && n >= 0 {
			numbers = append(numbers, strconv.Itoa(n))
		}
	}
	slices.Sort(numbers)
	if len(numbers) < 150 {
		t.Fatalf("only %d calls are known", len(numbers))
	}
	return numbers
}

// callsOf expands a group of systemd.
func callsOf(t *testing.T, group string) (names []string) {
	t.Helper()
	if !strings.HasPrefix(group, "@") {
		return []string{group}
	}
	out, err := exec.Command("systemd-analyze", "syscall-filter", group).Output()
	if err != nil {
		t.Fatal(errors.Join(fmt.Errorf("group %s", group), err))
	}
	for line := range strings.Lines(string(out)) {
		switch name := strings.TrimSpace(line); {
		case name == "" || name == group || strings.HasPrefix(name, "#"):
		default:
			names = append(names, callsOf(t, name)...)
		}
	}
	return names
}

// The relay does all of its work with the system calls that its unit allows:
// capture, commands for passwords, a reload, sockets of systemd, a stop.
func TestRelayRunsUnderItsUnit(t *testing.T) {
	path := os.Getenv(callsEnv)
	if path == "" {
		path = filepath.Join(t.TempDir(), "calls")
		if err := os.WriteFile(path, []byte(strings.Join(unitCalls(t), "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	underFilter = path
	defer func() { underFilter = "" }()
	for name, test := range map[string]func(*testing.T){
		"capture": TestEmbeddedDefaultKeepsMailOnThisMachine,
		"survive": TestMailSurvivesKillAndArrivesWhenTheUpstreamIsBack,
		"reload":  TestReloadTakesTheWholeConfigurationOrNone,
		"unix":    TestUnixSocketRoutesByItsPeer,
		"sockets": TestSocketActivation,
		"forms":   TestEachUpstreamGetsItsOwnForm, // with keys of DKIM
		"pickup":  TestSendmailWhileAway,
		"users":   TestSendmailWhileAwayOfUsers,
		"secrets": TestSecretsStayIn, // by commands, files, the environment and tokens
	} {
		t.Run(name, test)
	}
}
