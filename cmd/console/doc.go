// Package console faces an administrator with a browser: pages about the queue,
// its messages and the upstreams, and forms to act on them.
//
// It owns who is signed in, what each role may do, what keeps other web pages and
// strangers out, and forms for the definitions that package definition keeps. It asks the queue and the spool what the control
// socket asks them, and decides nothing about mail. It is off unless the
// configuration has it, and nothing on the path of a message knows of it: what a
// page costs is bounded in time, memory and connections.
//
// A page is whole without JavaScript. With it, parts renew themselves (htmx).
// Whatever a message, an upstream or a client has said is hostile: it is shown
// through html/template alone.
package console

import (
	"context"

	"postern/cmd/control"
	"postern/cmd/feed"
	"postern/cmd/history"
	"postern/cmd/trend"
	"postern/config"
	"postern/relay/addressbook"
	"postern/relay/capture"
	"postern/relay/origin"
	"postern/relay/webclient"
	"postern/spool"
)

// Options are what a Server answers from. All are needed, and are used
// concurrently.
type Options struct {
	Store spool.Reader
	Queue control.MailQueue
	Relay control.Relay
	// Standin tells whether a message waits to be moved into the database of the
	// queue, and can only be looked at; nil: none does.
	Standin func(context.Context, spool.ID) bool
	// Config is the configuration in force, as it was read.
	Config func() *config.Config
	// Books are the address books in force.
	Books func() *addressbook.Books
	// Tokens are for those of them that sign in by OAuth, where a question is
	// answered by books of its own; nil: there are none.
	Tokens webclient.Tokens
	// Captured is the mail that the capture server keeps, and Release has some of
	// it go out after all: once for each upstream, a *spool.Repeated says so.
	Captured *capture.Box
	Release  func(context.Context, *Release) (spool.ID, error)
	// Login logs in with the provider of an upstream by a code for another device,
	// and has the queue try again. It ends with its context.
	Login func(ctx context.Context, upstream, operator string, show ShowCode) error
	// Submit takes a message in, as the other ways in do; nil: none is taken. Where
	// one was taken before by its key, the ID is that of the first.
	Submit func(context.Context, *Handed) (spool.ID, error)
	// Search looks for the lives of messages.
	Search func(context.Context, history.Query) (*history.Found, error)
	// Feed has the last lines of the log.
	Feed *feed.Feed
	// Trend is what was done in the last day.
	Trend  *trend.Day
	Alerts control.Alerts
	Events func(Event)
}

// Event is something that happened at the console: a SignedIn, SignedOut,
// SignInFailed, Refused, TLSFailed, CaptureRemoved,
// CaptureReleased, Defined, BookChanged, LoginBegun or Failed.
type Event interface{ event() }

// Client is who asks.
type Client struct {
	Peer       string            // "192.0.2.1:4711" or "unix:user"
	Connection func() origin.Key // whose connection it is; may ask the kernel
	TLS        bool
}

// SignedIn tells of a session that begins.
type SignedIn struct {
	Client Client
	User   string
	Role   config.Role
}

// SignedOut tells of a user who ended a session.
type SignedOut struct {
	Client Client
	User   string
}

// SignInFailed tells of a wrong password, or of one that was not looked at.
type SignInFailed struct {
	Client Client
	User   string // as it was given
	Why    string
}

// Refused tells of a request that a web page of somebody else seems to have
// made.
type Refused struct {
	Client Client
	Why    string
}

// TLSFailed tells of a handshake that failed.
type TLSFailed struct {
	Client Client
	Err    error
}

// CaptureRemoved tells that somebody removed a captured message.
type CaptureRemoved struct {
	Client Client
	User   string
	Name   string // in the Maildir
}

// CaptureReleased tells that somebody had a captured message go out after all.
type CaptureReleased struct {
	Client     Client
	User       string
	ID         spool.ID
	From       string
	Recipients int
	Upstream   string
	Name       string // in the Maildir
}

// BookChanged tells that somebody changed an entry of an address book.
type BookChanged struct {
	Client Client
	User   string
	Book   string
	What   string // "added", "changed", "removed", "put into GROUP", "taken out of GROUP"
	Who    string // its UID, or as it was given
}

// Failed tells that a bug ended an answer, with its stack, or that a connection
// could not be served.
type Failed struct{ Text string }

func (*SignedIn) event()        {}
func (*SignedOut) event()       {}
func (*SignInFailed) event()    {}
func (*Refused) event()         {}
func (*TLSFailed) event()       {}
func (*CaptureRemoved) event()  {}
func (*CaptureReleased) event() {}
func (*BookChanged) event()     {}
func (*Failed) event()          {}
