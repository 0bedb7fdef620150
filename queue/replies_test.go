package queue

import (
	"strings"
	"testing"

	"postern/spool"
)

// An answer means the same at the sign-in as in the middle of a delivery, and
// people are told what to do about it.
func TestAdvise(t *testing.T) {
	for _, stage := range []spool.Stage{spool.StageSignIn, spool.StageMail} {
		o := replyAt(stage, 535, "5.7.139", "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.")
		a, ok := Advise(&o)
		if !ok || a.Blame != BlameAccess || !strings.Contains(a.Remedy, "xoauth2") {
			t.Errorf("stage %d: %+v, %v", stage, a, ok)
		}
	}
	for _, o := range []spool.Outcome{
		replyAt(spool.StageDot, 250, "5.7.139", "ok"),
		replyAt(spool.StageRcpt, 550, "5.1.1", "no such user"),
		{Stage: spool.StageSignIn, Cause: "no mechanism in common"},
	} {
		if a, ok := Advise(&o); ok {
			t.Errorf("%+v: %+v", o, a)
		}
	}
}
