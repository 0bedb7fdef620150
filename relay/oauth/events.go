package oauth

import "time"

// Event is what Tokens tell of: *Obtained, *Failed or *Panicked. It is valid
// until the function that it is given to returns; that function is called
// concurrently and must not block.
type Event interface{ event() }

func (*Obtained) event() {}
func (*Failed) event()   {}
func (*Panicked) event() {}

// Reason says why a token was asked for.
type Reason string

// The reasons.
const (
	First   Reason = "first"   // there was none
	Early   Reason = "early"   // the one in use ends soon
	Ended   Reason = "expired" // the last one has ended
	NotGood Reason = "refused" // the upstream does not take it any more
	Login   Reason = "login"   // somebody has logged in
)

// Obtained tells of a new access token, which is on disk.
type Obtained struct {
	Upstream string
	Reason   Reason
	Expires  time.Time // zero: the provider does not say
	Rotated  bool      // there is a new refresh token, too
	Took     time.Duration
}

// Failed tells that there is no new token.
type Failed struct {
	Upstream string
	Reason   Reason
	Kind     Kind
	Code     string // of the provider; may be empty
	Text     string
	// Until is how long the token in use goes on; zero: there is none.
	Until time.Time
	Took  time.Duration
}

// Panicked tells that a bug of this program has ended a try to get a token.
type Panicked struct {
	Upstream string
	Value    any // that it panicked with
	Stack    []byte
}

// Status is what there is to know about the token of one upstream; the token
// itself is not in it. Its JSON is what an administrator is told.
type Status struct {
	Upstream   string    `json:"-"`
	Present    bool      `json:"present"`          // there is an access token
	Obtained   time.Time `json:"-"`                // zero: there is none
	Expires    time.Time `json:"expires,omitzero"` // zero: there is none, or the provider does not say
	Renewable  bool      `json:"renewable"`        // the next one needs nobody
	NeedsLogin bool      `json:"needs_login"`      // the problem is that somebody has to run `postern upstream login`
	// LoginEnds is when the provider ends the login, whether it is used or not;
	// zero: it does not say, or puts that off with each renewal.
	LoginEnds time.Time `json:"login_ends,omitzero"`
	// SecretEnds is when the secret of the client ends; zero: nobody says, or there
	// is none.
	SecretEnds time.Time     `json:"secret_ends,omitzero"`
	Problem    string        `json:"problem,omitempty"` // why the last attempt to get one failed; empty: it did not
	idle       time.Duration // how long the login may lie unused
}
