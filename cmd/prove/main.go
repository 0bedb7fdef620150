//go:build linux

// Prove breaks a running Postern over and over and checks the books: every
// message that a client was promised has to arrive, whole, and a duplicate
// needs a line in the log that explains it.
//
//	go run ./cmd/prove kill -cycles 200      # SIGKILL under load
//	go run ./cmd/prove again -cycles 200     # clients with keys and the daemon are killed, and clients begin again
//	go run ./cmd/prove again -program        # the same with processes of postern send
//	go run ./cmd/prove soak -for 30m         # load, failing upstream, restarts
//	go run ./cmd/prove cut -fs xfs -cycles 50  # a power cut under load, as root
//	go run ./cmd/prove power -fs xfs -cuts 50  # the same with a whole virtual machine
//	go run ./cmd/prove fleet -for 30m        # relays with one queue in PostgreSQL, and a standby
//	go run ./cmd/prove rates -for 10m        # what those accept and relay a second, beside a journal and Postfix
//	go run ./cmd/prove slow -connections 5000  # an ordinary client among slow ones
//	go run ./cmd/prove group -recipients 5000  # a message to a group of groups, beside Python's smtplib
//
// It runs the real binary on loopback in a folder of its own, is bounded in
// time, and ends with a balance in JSON; the exit code is 0 only where every
// promise was kept.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// plan says what a run does. Every duration is bounded by the flags.
type plan struct {
	mode    string
	binary  string        // empty: built from ./cmd/postern
	dir     string        // empty: a temporary folder, removed after a success
	cycles  int           // kill: how many kills
	length  time.Duration // soak: how long
	senders int
	big     float64
	pause   time.Duration // of a client between two messages
	failing float64
	cuts    int    // power: how many cuts
	fs      string // cut, power: ext4, xfs or btrfs
	options string // cut, power: mount options

	clock bool // power: the machine's clock jumps

	rows    int           // again: messages of a job
	within  time.Duration // again: a job is killed
	program bool          // again: the clients are processes of postern send
	forget  bool          // again: the daemon remembers no keys

	slow     int // slow: connections
	limit    int // slow: of the listener; 0: room for all
	origins  int // slow: users whom the slow ones belong to
	messages int // slow: ordinary messages

	recipients int // group: members

	relays int    // fleet: how many share the queue
	alone  bool   // fleet: no commit waits for the standby
	only   string // fleet: names of faults, by commas; empty: all of them

	rounds int           // rates
	steady time.Duration // rates: how long one relay has a load at the end

	archive   bool  // the daemon keeps copies in a folder, which are looked for at the end
	loseSyncs bool  // cut: syncs do nothing
	disk      *disk // cut: what is cut
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var p plan
	flags := flag.NewFlagSet("prove", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&p.binary, "binary", "", "postern to test; built when empty")
	flags.StringVar(&p.dir, "dir", "", "folder to work in, on the file system to be tested; kept")
	flags.IntVar(&p.cycles, "cycles", 200, "kill, again, cut: number of kills or cuts; group: of rounds")
	flags.DurationVar(&p.length, "for", 30*time.Minute, "soak, fleet: how long; rates: how long mail is handed in, over all cells, 30s unless it is given")
	flags.IntVar(&p.senders, "senders", 8, "concurrent clients")
	flags.DurationVar(&p.pause, "pause", 0, "pause of each client between two messages; soak: 10ms")
	flags.Float64Var(&p.big, "big", 0.005, "share of messages of 300 to 600 KB")
	flags.Float64Var(&p.failing, "failing", 0.1, "chance that the upstream answers a command by 451")
	flags.IntVar(&p.cuts, "cuts", 50, "power: number of power cuts")
	flags.StringVar(&p.fs, "fs", "ext4", "cut, power: file system of the spool, ext4, xfs or btrfs")
	flags.StringVar(&p.options, "options", "", "cut, power: mount options, such as data=writeback")
	flags.BoolVar(&p.loseSyncs, "lose-syncs", false, "cut: let every sync of the daemon do nothing (needs strace); the run has to fail")
	flags.BoolVar(&p.archive, "archive", false, "kill, cut, soak: have copies of all messages kept in archive_dir, and look for each that was promised")
	flags.BoolVar(&p.clock, "clock", false, "power: let the machine's clock jump by hours, both ways, all the time")
	flags.IntVar(&p.rows, "rows", 100, "again: messages of one job")
	flags.BoolVar(&p.program, "program", false, "again: the clients are processes of postern send, by SMTP and by the socket")
	flags.BoolVar(&p.forget, "forget", false, "again: let the daemon remember no keys; the run has to fail")
	flags.DurationVar(&p.within, "within", 400*time.Millisecond, "again: how soon a job, or the daemon under it, is killed")
	flags.IntVar(&p.relays, "relays", 2, "fleet: relays that share a queue in PostgreSQL")
	flags.BoolVar(&p.alone, "alone", false, "fleet: let no commit wait for the standby; the run has to fail")
	flags.StringVar(&p.only, "faults", "", "fleet: the faults to be had, by commas, such as relay-dead; all of them unless it is given")
	flags.IntVar(&p.rounds, "rounds", 1, "rates: how often each peer has its turn")
	flags.DurationVar(&p.steady, "steady", 5*time.Second, "rates: how long one relay has a load after that, whose dead rows are read; 0: not at all")
	flags.IntVar(&p.slow, "connections", 5000, "slow: connections of slow clients")
	flags.IntVar(&p.limit, "limit", 0, "slow: connections that the daemon takes at once; 0: all of them")
	flags.IntVar(&p.origins, "origins", 200, "slow: users of this machine that the connections belong to; needs root")
	flags.IntVar(&p.messages, "messages", 200, "slow: messages of an ordinary client meanwhile")
	flags.IntVar(&p.recipients, "recipients", 5000, "group: members of a group whose groups hold groups")
	modes := map[string]func(context.Context, io.Writer) (any, error){
		"kill": reporting(p.onThisMachine), "again": reporting(p.onThisMachine), "soak": reporting(p.onThisMachine), "cut": reporting(p.onThisMachine),
		"power": reporting(p.inMachine), "machine": reporting(p.asMachine), "slow": reporting(p.slowClients), "fleet": reporting(p.fleetOfRelays),
		"group": reporting(p.groupOfGroups), "rates": reporting(p.measureRates),
	}
	if len(args) == 0 || modes[args[0]] == nil {
		fmt.Fprintln(stderr, "usage: prove kill|again|soak|cut|power|slow|fleet|rates|group [flags]")
		return 64
	}
	p.mode = args[0]
	if flags.Parse(args[1:]) != nil {
		return 64
	}
	if p.mode == "soak" && p.pause == 0 {
		p.pause = 10 * time.Millisecond
	}
	if p.mode == "rates" && !given(flags, "for") {
		p.length = 30 * time.Second
	}
	if p.mode == "cut" && os.Getenv(inNamespace) == "" {
		code, err := inOwnNamespace(ctx, args)
		if err != nil {
			fmt.Fprintln(stderr, "prove:", err)
		}
		return code
	}
	report, err := modes[p.mode](ctx, stderr)
	out := json.NewEncoder(stdout)
	out.SetIndent("", "  ")
	out.Encode(report)
	if err != nil {
		fmt.Fprintf(stderr, "prove: failed: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nprove: failed: "))
		return 1
	}
	return 0
}

// given tells whether a flag stands on the command line.
func given(flags *flag.FlagSet, name string) (yes bool) {
	flags.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

func reporting[R any](mode func(context.Context, io.Writer) (R, error)) func(context.Context, io.Writer) (any, error) {
	return func(ctx context.Context, stderr io.Writer) (any, error) { return mode(ctx, stderr) }
}

// static makes a program that needs nothing else to run, as released ones are,
// so that a machine without a system can run it.
const static = "CGO_ENABLED=0"

// folder is the one that a run works in. Unless the plan names it, leave removes
// it after a success, and tells where it is after a failure.
func (p *plan) folder(prefix string, stderr io.Writer) (dir string, leave func(error), err error) {
	kept := func(err error) {
		if err != nil {
			fmt.Fprintln(stderr, "prove: the logs are kept in", dir) // without what was mounted there
		}
	}
	if dir = p.dir; dir != "" {
		return dir, kept, nil
	}
	if dir, err = os.MkdirTemp("", prefix); err != nil {
		return "", nil, err
	}
	return dir, func(err error) {
		if err == nil {
			os.RemoveAll(dir)
		}
		kept(err)
	}, nil
}

// build makes one of our programs, in dir, with env added to the environment.
func build(ctx context.Context, dir, program string, env ...string) (string, error) {
	path := filepath.Join(dir, program)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "postern/cmd/"+program)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
}
