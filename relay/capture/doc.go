// Package capture is an upstream that keeps what it is given: a real SMTP
// server inside the process, with STARTTLS and AUTH, that delivers to a
// Maildir. An upstream with provider = "capture" is pointed at it, so that all
// of the relay is at work and nothing leaves the machine.
//
// It owns its Maildir, its certificate and its password, which are made anew
// at each start and never leave the memory. It has no port and no socket:
// connections are made within the process, so that nobody else can come. It
// never passes a message on.
package capture
