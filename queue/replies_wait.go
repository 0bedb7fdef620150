package queue

import "postern/spool"

// throttleReplies: the same message will do later.
var throttleReplies = []reply{
	{enhanced: "4.3.2", text: "recipient thread limit", from: spool.StageRcpt, blame: BlameRecipient,
		meaning: "The mailbox of the recipient gets too much mail at once.", remedy: remedyNone, source: pageMicrosoftReplies},
	{code: 432, blame: BlameUpstream, // also at AUTH
		meaning: "Microsoft 365 allows three connections at a time for a mailbox, whoever opens them.",
		remedy:  "Set max_connections = 3, or less where other programs use the mailbox too.",
		source:  "https://techcommunity.microsoft.com/t5/exchange-team-blog/changes-coming-to-the-smtp-authenticated-submission-client/ba-p/607825"},
	{enhanced: "4.3.2", text: "storedrv.clientsubmit", blame: BlameUpstream,
		meaning: "Microsoft 365 allows three connections at a time for a mailbox, whoever opens them.",
		remedy:  "Set max_connections = 3, or less where other programs use the mailbox too.",
		source:  "https://techcommunity.microsoft.com/t5/exchange-team-blog/changes-coming-to-the-smtp-authenticated-submission-client/ba-p/607825"},
	{enhanced: "4.3.2", blame: BlameUpstream,
		meaning: "The upstream takes no mail at present.", remedy: remedyNone},
	{enhanced: "4.4.2", text: "submission rate", blame: BlameUpstream,
		meaning: "More messages in a minute than Exchange allows for this account.",
		remedy:  "Set max_connections = 1; it goes on by itself.", source: pageMicrosoftDevices},
	{enhanced: "4.7.5*", blame: BlameUpstream,
		meaning: "Microsoft 365 is busy, or slows down this address.", remedy: remedyNone, source: pageMicrosoftReplies},
	{enhanced: "4.7.6*", blame: BlameUpstream,
		meaning: "Microsoft slows down this address for its reputation.", remedy: "It goes on by itself; send less at a time.", source: pageMicrosoftReplies},
	{enhanced: "4.7.28", text: "gmail", blame: BlameUpstream,
		meaning: "Gmail has seen an unusual rate of mail, or of unwanted mail, from this address or domain.",
		remedy:  "It goes on by itself; send less at a time.", source: pageGmailReplies},
	{code: 4, text: "unusual rate of unsolicited mail", blame: BlameUpstream,
		meaning: "Gmail has seen an unusual rate of unwanted mail from this address.",
		remedy:  "It goes on by itself; send less at a time.", source: pageGmailReplies},
	{enhanced: "4.7.28", blame: BlameUpstream, // registered as "mail flood detected"
		meaning: "The upstream has seen more mail from this machine, account or domain than it likes.", remedy: "It goes on by itself; set rate to what it allows, or send less at a time."},
	{code: 4, text: "peak smtp relay limit", blame: BlameUpstream,
		meaning: "The organisation has relayed more in ten minutes than Google allows.", remedy: remedyNone, source: pageGoogleRelay},
	{code: 454, text: "too many login attempts", blame: BlameUpstream,
		meaning: "Gmail has seen too many sign-ins of this account in a short time.", remedy: "It goes on by itself; set a longer idle_close, or fewer connections.", source: pageGmailReplies},
	{text: "daily message quota exceeded", blame: BlameUpstream,
		meaning: "The account has sent as much as Amazon SES allows for 24 hours.",
		remedy:  "It goes on by itself; ask for a higher quota in the SES console.", source: pageSESQuotas},
	{code: 4, text: "maximum sending rate exceeded", blame: BlameUpstream,
		meaning: "More messages in a second than Amazon SES allows for the account.",
		remedy:  "It goes on by itself; set fewer connections, or ask for a higher rate in the SES console.", source: pageSESQuotas},
	{code: 4, text: "too many recipients received this hour", blame: BlameUpstream,
		meaning: "The upstream has had enough mail for this hour.", remedy: remedyNone, source: pageSendGridReplies},
	{code: 4, text: "throttl", blame: BlameUpstream,
		meaning: "The upstream asks for less at a time.", remedy: remedyNone},
	{code: 4, text: "rate exceeded", blame: BlameUpstream,
		meaning: "The upstream asks for less at a time.", remedy: remedyNone},
	{enhanced: "4.7.1", text: "error: too m", blame: BlameUpstream, // much mail, many recipients, many AUTH commands: anvil(8)
		meaning: "Postfix limits what one client may send in a minute.", remedy: "It goes on by itself; there, smtpd_client_message_rate_limit and its neighbours."},
	{code: 4, text: "cannot find your", blame: BlameUpstream, // Postfix, reject_unknown_client_hostname
		meaning: "The upstream finds no name in DNS for the address of this machine.", remedy: "Have the reverse DNS set, or sign in."},
	{code: 454, text: "authentication", blame: BlameUpstream, // RFC 4954 §6
		meaning: "The upstream cannot check sign-ins at present.", remedy: remedyNone},
	{enhanced: "4.7.0", text: "temporary server error", blame: BlameUpstream,
		meaning: "Microsoft 365 has trouble of its own.", remedy: remedyNone},
	{code: 421, text: "(ehlo)", blame: BlameUpstream, // Google's relay
		meaning: meaningHostname, remedy: remedyHostname, source: pageGoogleRelay},
	{code: 4, text: "helo command rejected", blame: BlameUpstream, // Postfix, reject_unknown_helo_hostname
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 550, until: spool.StageGreet, blame: BlameUpstream,
		meaning: "The upstream does not want this machine, or the name by which it says EHLO.", remedy: remedyHostname},
	{code: 421, blame: BlameUpstream, // RFC 5321 §3.8
		meaning: "The upstream closes the connection for now.", remedy: remedyNone},
}

// messageReplies are about the content or a recipient, said by a code that
// would mean something else.
var messageReplies = []reply{
	// RFC 8689 §4.2.1: the upstream can't keep the promise of REQUIRETLS.
	{code: 5, enhanced: "5.7.30", status: spool.Bounced, blame: BlameContent},
	{code: 5, enhanced: "5.7.26", from: spool.StageRcpt, status: spool.Bounced, blame: BlameContent, // RFC 7372
		meaning: "The receiver wants mail of this sender's domain to pass SPF or DKIM, and this message does not.",
		remedy:  "Route the sender to the upstream that signs for its domain, or add this way to the domain's SPF record.", source: pageGmailReplies},
	{code: 4, text: "marked as inactive", from: spool.StageRcpt, blame: BlameRecipient, // 406
		meaning: "Postmark sends nothing more to this recipient after a bounce or a complaint.",
		remedy:  "Reactivate the address in Postmark, or remove the message with `postern queue remove`.", source: "https://postmarkapp.com/developer/api/overview"},
	{code: 5, text: "marked as inactive", from: spool.StageRcpt, status: spool.Bounced, blame: BlameRecipient,
		meaning: "Postmark sends nothing more to this recipient after a bounce or a complaint.",
		remedy:  "Reactivate the address in Postmark.", source: "https://postmarkapp.com/developer/api/overview"},
	{code: 5, text: "recipient address rejected", from: spool.StageRcpt, status: spool.Bounced, blame: BlameRecipient}, // Postfix: 504 5.5.2
}
