package queue

// Sentences that several replies share.
const (
	meaningSendAs      = "The account that signs in may not send as this sender."
	remedySendAs       = "Give it the permission Send As for the mailbox in Exchange, or route the sender to an upstream with its own account."
	meaningGoogleRelay = "The user, or the organisation, has relayed as much as Google allows for a day."
	meaningQuota       = "The account has sent as much as its provider allows."
	remedyDay          = "It goes on by itself within 24 hours; large batches are better sent through another service."
	remedyPeriod       = "It goes on by itself when the period is over."
	remedyBanned       = "Look for a compromised account, and ask Microsoft's support."
)

// nullSenderAdvice is about MAIL FROM:<>, which every server has to take (RFC
// 5321 §6.1). Some providers do not, such as Amazon SES.
var nullSenderAdvice = Advice{
	Blame:   BlameSender,
	Meaning: "The upstream does not take the null sender (<>), which bounces and other notifications have.",
	Remedy:  `Add a [[route]] with from = ["<>"] to an upstream that takes it, before the others. What waits already keeps its upstream.`,
}

// senderReplies are about the reverse-path, the right to use it, or its quota.
var senderReplies = []reply{
	// No right to this address.
	{code: 5, text: "sendasdenied", blame: BlameSender,
		meaning: meaningSendAs,
		remedy:  remedySendAs,
		source:  pageMicrosoftReplies},
	{code: 5, enhanced: "5.7.60", blame: BlameSender,
		meaning: meaningSendAs,
		remedy:  remedySendAs,
		source:  pageMicrosoftReplies},
	{code: 5, enhanced: "5.2.252", blame: BlameSender,
		meaning: meaningSendAs,
		remedy:  remedySendAs,
		source:  pageMicrosoftReplies},
	{code: 5, text: "permissions to send as", blame: BlameSender,
		meaning: meaningSendAs,
		remedy:  remedySendAs},
	{code: 5, text: "not allowed to send as", blame: BlameSender,
		meaning: meaningSendAs,
		remedy:  "Give it that permission there, or route the sender to an upstream with its own account."},
	{code: 5, text: "not owned by user", blame: BlameSender, // Postfix
		meaning: "The upstream does not let this account use the sender's address.",
		remedy:  "Add the address to the account there (smtpd_sender_login_maps in Postfix), or route the sender to an upstream with its own account."},
	{code: 5, text: "not one of your addresses", blame: BlameSender, // iCloud
		meaning: "iCloud sends only from addresses of the account.",
		remedy:  "Send from the address or an alias of the account, or route the sender to another upstream."},
	{code: 5, text: "relaying disallowed", blame: BlameSender, // Zoho
		meaning: "Zoho sends only from addresses and domains of the account.",
		remedy:  "Send from an address or alias of the account, or add the domain to the organisation.", source: pageZohoReplies},
	{code: 5, text: "email address is not verified", blame: BlameSender,
		meaning: "Amazon SES has not verified the sender, or, while the account is in the sandbox, the recipient in this region.",
		remedy:  "Verify the domain in the SES console of the same region, and ask for production access.", source: pageSESReplies},
	{code: 5, text: "is not authorized to perform", blame: BlameSender,
		meaning: "The IAM policy of the SMTP credentials does not allow sending as this sender.",
		remedy:  "Allow ses:SendRawEmail for the identity in the policy of the user.", source: pageSESReplies},
	{code: 5, text: "does not match a verified sender identity", blame: BlameSender,
		meaning: "SendGrid has not verified this sender.", remedy: "Verify the sender or its domain in SendGrid (Sender Authentication).", source: pageSendGridReplies},
	{text: "not authorized to send from that email address", blame: BlameSender, // 403
		meaning: "SendGrid has not verified this sender.", remedy: "Verify the sender or its domain in SendGrid (Sender Authentication).", source: pageSendGridReplies},
	{code: 5, text: "unconfigured sending domain", blame: BlameSender,
		meaning: "The sender's domain is not a sending domain of the SparkPost account.", remedy: "Add and verify it there.", source: "https://developers.sparkpost.com/api/smtp/"},

	// Quotas of the account.
	{code: 5, enhanced: "5.1.90", blame: BlameSender,
		meaning: "The mailbox has reached the number of recipients that Microsoft 365 allows for a day.",
		remedy:  remedyDay, source: pageMicrosoftReplies},
	{code: 5, text: "submissionquotaexceeded", blame: BlameSender,
		meaning: "The mailbox has sent as much as Microsoft 365 allows for a day.",
		remedy:  remedyDay, source: pageMicrosoftReplies},
	{code: 5, text: "smtp relay limit exceeded", blame: BlameSender,
		meaning: meaningGoogleRelay,
		remedy:  remedyDay, source: pageGoogleRelay},
	{code: 5, text: "smtp relay sending", blame: BlameSender,
		meaning: meaningGoogleRelay,
		remedy:  remedyDay, source: pageGmailReplies},
	{code: 5, enhanced: "5.4.5", blame: BlameSender,
		meaning: "The account has sent as much as Gmail allows for a day.",
		remedy:  remedyDay, source: pageGmailReplies},
	{code: 5, text: "sending limit exceeded", blame: BlameSender,
		meaning: meaningQuota, remedy: remedyPeriod},
	{code: 5, text: "sending quota exceeded", blame: BlameSender,
		meaning: meaningQuota, remedy: remedyPeriod},
	{code: 5, text: "exceeded sending limit", blame: BlameSender, // SparkPost
		meaning: meaningQuota, remedy: "It goes on by itself when the period is over; or raise the limit there."},

	// Blocked for what it has sent.
	{code: 5, text: "bad outbound sender", blame: BlameSender,
		meaning: "Microsoft 365 has blocked this sender for spam.",
		remedy:  "Look for a compromised account, then release it under Restricted entities in Microsoft Defender.", source: pageMicrosoftReplies},
	{code: 5, text: "sender address blocked", blame: BlameSender, // Zoho, 554 5.1.8
		meaning: "Zoho has blocked this account for what it sent.", remedy: "Unblock it in the Zoho Mail admin console, or ask Zoho's support."},
	{code: 5, text: "unusual sending activity", blame: BlameSender, // Zoho, 550 5.4.6
		meaning: "Zoho has blocked this account for unusual sending.", remedy: "Unblock it at https://mail.zoho.com/UnblockMe, and send less at a time."},
	{code: 5, enhanced: "5.7.501", blame: BlameSender,
		meaning: "Microsoft 365 has banned this sender for spam.", remedy: remedyBanned, source: pageMicrosoftReplies},
	{code: 5, enhanced: "5.7.502", blame: BlameSender,
		meaning: "Microsoft 365 has banned this sender.", remedy: remedyBanned, source: pageMicrosoftReplies},
	{code: 5, enhanced: "5.7.503", blame: BlameSender,
		meaning: "Microsoft 365 has banned this sender.", remedy: remedyBanned, source: pageMicrosoftReplies},

	// The address itself, and what DNS says of it.
	{text: "sender address rejected: domain not found", blame: BlameSender, // Postfix, reject_unknown_sender_domain
		meaning: "DNS knows no mail server for the domain of the sender.", remedy: "Correct the sender's address, or the DNS of its domain."},
	{code: 5, text: "sender address rejected", blame: BlameSender, // Postfix, which says so at RCPT
		meaning: "The upstream does not take mail of this sender.", remedy: "The reply says why; correct the sender, or route it to another upstream."},
	{code: 4, text: "sender address rejected", blame: BlameSender,
		meaning: "The upstream does not take mail of this sender at present.", remedy: "The reply says why."},
	{code: 5, text: "sender verify failed", blame: BlameSender, // Exim
		meaning: "The upstream has asked the mail server of the sender's domain, which does not know the sender.",
		remedy:  "Send from an address that exists, or route the sender to another upstream."},
	{code: 5, enhanced: "5.1.7", blame: BlameSender},
	{code: 5, enhanced: "5.1.8", blame: BlameSender},
	{code: 5, enhanced: "5.7.23", blame: BlameSender, // RFC 7372
		meaning: "SPF of the sender's domain does not allow this address.", remedy: "Add it to the SPF record, or route the sender to the upstream that the record names."},
	{code: 5, enhanced: "5.7.24", blame: BlameSender,
		meaning: "The SPF record of the sender's domain cannot be evaluated.", remedy: "Correct the record."},
	{code: 5, enhanced: "5.7.25", blame: BlameSender,
		meaning: "The public address of this machine has no name in DNS that leads back to it.", remedy: "Have the reverse DNS set, or send through another upstream."},
	{code: 5, enhanced: "5.7.27", blame: BlameSender, // RFC 7505
		meaning: "The sender's domain says that it takes no mail (null MX).", remedy: "Send from a domain that does."},
}
