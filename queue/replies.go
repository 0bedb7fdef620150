package queue

import (
	"strings"

	"postern/spool"
)

// reply is one answer that real upstreams give and that means something else,
// or more, than its code and stage alone would say. Every condition that is
// set has to hold; text is lower-case and is looked for anywhere in the reply.
type reply struct {
	code     int    // 0: any; 4 or 5: any of that class
	enhanced string // whole code; with * at its end a prefix
	text     string
	status   spool.Status
	blame    Blame
	// meaning and remedy are sentences for an administrator; empty: nothing is
	// known beyond what the reply says itself. source is where it is told.
	meaning, remedy, source string
}

// Advice is what a known reply of an upstream means, and what an
// administrator can do about it.
type Advice struct {
	Blame   Blame  // as Judge and JudgeFault have it
	Meaning string // a sentence
	Remedy  string // one or two sentences
	Source  string // address of a page about it; empty: an RFC or none
}

// Advise translates an answer of an upstream, at any stage, for people. It
// looks into the table by which Judge and JudgeFault decide; false: nothing is
// known of this answer beyond its own words.
func Advise(o *spool.Outcome) (Advice, bool) {
	if o.Unsupported || o.Code < 400 || o.Code > 599 {
		return Advice{}, false
	}
	r := lookUp(o, parseEnhanced(o))
	if r == nil || r.meaning == "" {
		return Advice{}, false
	}
	return Advice{Blame: r.blame, Meaning: r.meaning, Remedy: r.remedy, Source: r.source}, true
}

// replies is asked in this order, before the general rules. What is about the
// way in comes first, then the sender, then throttling, then the recipient.
// Before MAIL only what is about the way in and about throttling counts.
var replies = []reply{
	{enhanced: "5.7.57", blame: BlameAccess,
		meaning: "Microsoft 365 has not accepted a sign-in on this connection.",
		remedy:  `Set auth = "xoauth2" with an [upstream.NAME.oauth] table, and allow authenticated SMTP for the mailbox.`},
	{enhanced: "5.7.139", blame: BlameAccess,
		meaning: "Microsoft 365 does not let this account sign in to SMTP in this way.",
		remedy:  `Set auth = "xoauth2" with an [upstream.NAME.oauth] table, and allow authenticated SMTP for the mailbox.`},
	// Not signed in, or no longer: RFC 4954 §6 and RFC 3207 §4.
	{code: 530, blame: BlameAccess},
	{code: 534, blame: BlameAccess},
	{code: 535, blame: BlameAccess},
	{code: 538, blame: BlameAccess},
	{code: 454, text: "authentication", blame: BlameUpstream},
	{enhanced: "5.7.0", text: "authentication required", blame: BlameAccess}, // Postfix, Gmail
	{enhanced: "5.7.0", text: "starttls", blame: BlameAccess},                // Postfix, Gmail
	{enhanced: "5.7.1", text: "authentication required", blame: BlameAccess},
	{enhanced: "5.7.3", text: "authent", blame: BlameAccess}, // Exchange
	{enhanced: "5.7.8", blame: BlameAccess},                  // RFC 4954 §6
	{enhanced: "5.7.9", blame: BlameAccess},
	{enhanced: "5.7.11", blame: BlameAccess},
	{enhanced: "5.7.64", blame: BlameAccess},                                   // Microsoft 365: TenantAttribution, no connector matches
	{code: 5, text: "unauthenticated senders not allowed", blame: BlameAccess}, // SendGrid
	{code: 5, text: "client host rejected", blame: BlameAccess},                // Postfix: our address is not permitted
	{enhanced: "5.7.606", blame: BlameAccess},                                  // Microsoft 365: banned sending IP
	{enhanced: "5.7.511", blame: BlameAccess},
	{enhanced: "5.7.705", blame: BlameAccess}, // Microsoft 365: tenant has exceeded its threshold
	{enhanced: "5.7.708", blame: BlameAccess}, // Microsoft 365: traffic not accepted from this IP
	{enhanced: "5.7.750", blame: BlameAccess}, // Microsoft 365: unregistered domains

	// May not relay there: a matter of set-up, for some destinations or all.
	{code: 5, text: "relay access denied", blame: BlameNobody}, // Postfix
	{code: 5, text: "relaying denied", blame: BlameNobody},     // Sendmail
	{code: 5, text: "unable to relay", blame: BlameNobody},     // Exchange
	{code: 5, text: "relay not permitted", blame: BlameNobody}, // Exim

	// The reverse-path, the right to use it, or the account's quota.
	{code: 5, enhanced: "5.1.7", blame: BlameSender},
	{code: 5, enhanced: "5.1.8", blame: BlameSender},   // Postfix: sender domain not found; Microsoft 365: bad outbound sender
	{code: 5, enhanced: "5.1.90", blame: BlameSender},  // Microsoft 365: daily limit for message recipients
	{code: 5, enhanced: "5.2.252", blame: BlameSender}, // Microsoft 365: SendAsDenied
	{code: 5, enhanced: "5.4.5", blame: BlameSender},   // Gmail: daily sending quota
	{code: 5, enhanced: "5.7.23", blame: BlameSender},  // RFC 7372: SPF
	{code: 5, enhanced: "5.7.24", blame: BlameSender},
	{code: 5, enhanced: "5.7.25", blame: BlameSender}, // RFC 7372: reverse DNS
	{code: 5, enhanced: "5.7.27", blame: BlameSender}, // RFC 7505: the sender's domain has a null MX
	{code: 5, enhanced: "5.7.60", blame: BlameSender}, // Exchange: no permission to send as this sender
	{code: 5, enhanced: "5.7.501", blame: BlameSender},
	{code: 5, enhanced: "5.7.502", blame: BlameSender},
	{code: 5, enhanced: "5.7.503", blame: BlameSender},
	{code: 5, text: "sender address rejected", blame: BlameSender}, // Postfix, which says so at RCPT
	{code: 5, text: "sendasdenied", blame: BlameSender},
	{code: 5, text: "submissionquotaexceeded", blame: BlameSender},
	{code: 5, text: "not owned by user", blame: BlameSender},
	{code: 5, text: "not allowed to send as", blame: BlameSender},
	{code: 5, text: "permissions to send as", blame: BlameSender},
	{code: 5, text: "email address is not verified", blame: BlameSender},             // Amazon SES
	{code: 5, text: "does not match a verified sender identity", blame: BlameSender}, // SendGrid
	{code: 5, text: "sending limit exceeded", blame: BlameSender},                    // Gmail
	{code: 5, text: "sending quota exceeded", blame: BlameSender},                    // Gmail
	{code: 5, text: "daily message quota exceeded", blame: BlameSender},              // Amazon SES
	{code: 4, text: "sender address rejected", blame: BlameSender},

	// Throttling: the same message will do later.
	{code: 421, blame: BlameUpstream},
	{code: 432, blame: BlameUpstream},          // Microsoft 365: concurrent connections limit
	{enhanced: "4.3.2", blame: BlameUpstream},  // Microsoft 365: STOREDRV.ClientSubmit
	{enhanced: "4.7.28", blame: BlameUpstream}, // Gmail: unusual rate
	{enhanced: "4.7.5*", blame: BlameUpstream}, // Microsoft 365: 4.7.500 server busy
	{enhanced: "4.7.6*", blame: BlameUpstream}, // Microsoft 365: 4.7.650 throttled for reputation
	{code: 4, text: "throttl", blame: BlameUpstream},
	{code: 4, text: "rate exceeded", blame: BlameUpstream}, // Amazon SES

	// RFC 8689 §4.2.1: the upstream can't keep the promise of REQUIRETLS.
	{code: 5, enhanced: "5.7.30", status: spool.Bounced, blame: BlameContent},
	// Said of a recipient by a code that could mean our dialogue.
	{code: 5, text: "recipient address rejected", status: spool.Bounced, blame: BlameRecipient}, // Postfix: 504 5.5.2
}

// lookUp finds what is known of a reply; nil: nothing.
func lookUp(o *spool.Outcome, e enhanced) *reply {
	text := ""
	for i := range replies {
		r := &replies[i]
		switch {
		case r.code > 9 && r.code != o.Code, r.code > 0 && r.code <= 9 && r.code != o.Code/100:
			continue
		case r.enhanced != "" && !r.matchesEnhanced(o.Enhanced, e):
			continue
		case r.text != "":
			if text == "" {
				text = strings.ToLower(o.Text)
			}
			if !strings.Contains(text, r.text) {
				continue
			}
		}
		if o.Stage < spool.StageMail && r.blame != BlameAccess && r.blame != BlameUpstream {
			continue // no message was named yet
		}
		if r.status == spool.Bounced && o.Stage == spool.StageMail && r.blame == BlameRecipient {
			continue
		}
		return r
	}
	return nil
}

// matchesEnhanced needs the class of the enhanced code to agree with the reply
// code: a 450 5.7.8 is no refusal yet.
func (r *reply) matchesEnhanced(s string, e enhanced) bool {
	if !e.known || e.class != int(r.enhanced[0]-'0') {
		return false
	}
	if prefix, ok := strings.CutSuffix(r.enhanced, "*"); ok {
		return len(s) == len(prefix)+2 && strings.HasPrefix(s, prefix)
	}
	return s == r.enhanced
}
