package doctor

import (
	"context"
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"time"

	"postern/cmd/control"
	"postern/config"
)

// resolverTimeout bounds the look at the resolver.
const resolverTimeout = 10 * time.Second

// ownerOf is the user whom everything has to belong to: who runs the daemon,
// or, where none runs, who owns the spool; -1: not known.
func ownerOf(st *control.Status, spoolDir string) int {
	if st != nil {
		if uid, ok := userOfProcess(st.PID); ok {
			return uid
		}
	}
	return lookAtFolder(spoolDir).UID
}

// userName is the name of a user, or the number, as chown takes both;
// "somebody" for -1.
func userName(uid int) string {
	if uid < 0 {
		return "somebody"
	}
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// inGroup tells whether a user is in a group.
func inGroup(uid, gid int) bool {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return false
	}
	ids, err := u.GroupIds()
	if err != nil {
		return u.Gid == strconv.Itoa(gid)
	}
	for _, id := range ids {
		if id == strconv.Itoa(gid) {
			return true
		}
	}
	return false
}

// clockState is what the kernel says of its clock.
type clockState struct {
	Known  bool
	Synced bool
}

func judgeClock(c clockState) Finding {
	f := Finding{ID: ClockSync, Status: OK, Text: "the clock is kept by NTP"}
	switch {
	case !c.Known:
		f.Status, f.Text = Skipped, "this system does not say whether its clock is kept by NTP"
	case !c.Synced:
		f.Status, f.Text = Warning, "nothing keeps the clock of this machine: the kernel calls it unsynchronised"
		f.Remedy = "`timedatectl set-ntp true`, or chrony. Certificates, tokens, Kerberos and the dates of mail depend on it. In a container, the host's clock counts."
	}
	return f
}

// lookAtResolver asks for the first host of an upstream that is a name.
func lookAtResolver(ctx context.Context, cfg *config.Config) []Finding {
	for _, name := range sorted(cfg.Upstreams) {
		host := cfg.Upstreams[name].Host
		if _, err := netip.ParseAddr(host); err == nil || host == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, resolverTimeout)
		defer cancel()
		began := time.Now()
		_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		f := judgeResolver(host, err)
		f.Took = took(time.Since(began))
		return []Finding{f}
	}
	return nil
}

// judgeResolver: an answer that there is no such host is an answer.
func judgeResolver(host string, err error) Finding {
	f := Finding{ID: DNSResolver, Status: OK, Text: "the resolver of this machine answers"}
	if err != nil && lookupError(host, err) != "there is no host "+host {
		f.Status, f.Text, f.Remedy = Failed, lookupError(host, err), lookupRemedy(err)
	}
	return f
}
