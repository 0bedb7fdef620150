package queue

import "postern/spool"

// Pages that several replies are told of.
const (
	pageMicrosoftReplies = "https://learn.microsoft.com/exchange/troubleshoot/email-delivery/ndr/non-delivery-reports-in-exchange-online"
	pageMicrosoftBasic   = "https://techcommunity.microsoft.com/t5/exchange-team-blog/exchange-online-to-retire-basic-auth-for-client-submission-smtp/ba-p/4114750"
	pageMicrosoftDevices = "https://learn.microsoft.com/exchange/mail-flow-best-practices/how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365"
	pageGmailReplies     = "https://support.google.com/a/answer/3726730"
	pageGoogleRelay      = "https://support.google.com/a/answer/2956491"
	pageSESReplies       = "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html"
	pageSESQuotas        = "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html"
	pageSendGridReplies  = "https://sendgrid.com/docs/for-developers/sending-email/smtp-errors-and-troubleshooting/"
	pageZohoReplies      = "https://www.zoho.com/zeptomail/help/api/smtp-error-codes.html"
)

// Sentences that several replies share.
const (
	meaningSignIn   = "The upstream wants a sign-in."
	remedySignIn    = "Set username and a password, or the mechanism by auth."
	meaningLogin    = "The upstream does not accept this username and password, or this token."
	meaningTLS      = "The upstream wants TLS before anything else."
	meaningTLSOnly  = "The upstream allows this mechanism under TLS only."
	remedyTLS       = `Set tls = "verify".`
	meaningWeak     = "The upstream wants a stronger mechanism than this one."
	remedyWeak      = "Set auth to another mechanism that it offers."
	meaningRelay    = "The upstream relays to this destination only for clients that it knows."
	remedyOAuth     = `Set auth = "xoauth2" with an [upstream.NAME.oauth] table (docs/oauth.md), and allow authenticated SMTP for the mailbox.`
	meaningHostname = "The upstream does not accept the name by which this relay says EHLO."
	remedyHostname  = "Set hostname to a name of this machine that DNS knows."
	remedyLogin     = "Check username and password. Where the account signs in with a second factor, it needs a password made for this application."
	remedyNone      = "Nothing has to be done unless it lasts: the mail is kept and tried again."
)

// accessReplies are about the way in: nothing goes through until somebody
// mends something.
var accessReplies = []reply{
	// Microsoft 365.
	{enhanced: "5.7.139", text: "disabled for the tenant", blame: BlameAccess,
		meaning: "Authenticated SMTP is switched off for the whole organisation in Microsoft 365.",
		remedy:  "Allow it for this mailbox alone (Set-CASMailbox -SmtpClientAuthenticationDisabled $false), or for all in the Exchange admin centre.",
		source:  "https://aka.ms/smtp_auth_disabled"},
	{enhanced: "5.7.139", text: "disabled for the mailbox", blame: BlameAccess,
		meaning: "Authenticated SMTP is switched off for this mailbox in Microsoft 365.",
		remedy:  "Allow it in the Microsoft 365 admin centre (user, Mail, Manage email apps, Authenticated SMTP).",
		source:  "https://aka.ms/smtp_auth_disabled"},
	{enhanced: "5.7.139", text: "basic authentication is disabled", blame: BlameAccess,
		meaning: "Microsoft 365 takes no passwords for SMTP from this account.", remedy: remedyOAuth, source: pageMicrosoftBasic},
	{enhanced: "5.7.139", text: "security defaults", blame: BlameAccess,
		meaning: "The security defaults of the directory forbid sign-in by password.", remedy: remedyOAuth, source: pageMicrosoftDevices},
	{enhanced: "5.7.139", text: "did not meet the criteria", blame: BlameAccess,
		meaning: "A policy of the directory (conditional access, a locked account, an unusual place) forbids this sign-in.",
		remedy:  "Look at the sign-in log of the account in Entra ID, which names the policy."},
	{enhanced: "5.7.139", blame: BlameAccess,
		meaning: "Microsoft 365 does not accept this sign-in.",
		remedy:  "Check the account. With a password: " + remedyOAuth, source: pageMicrosoftReplies},
	{code: 5, enhanced: "5.7.30", text: "basic authentication", blame: BlameAccess,
		meaning: "Microsoft 365 has retired passwords for SMTP.", remedy: remedyOAuth, source: pageMicrosoftBasic},
	{enhanced: "5.7.57", blame: BlameAccess,
		meaning: "Microsoft 365 has not accepted a sign-in on this connection.", remedy: remedyOAuth, source: pageMicrosoftReplies},
	{enhanced: "5.7.3", text: "authentication unsuccessful", blame: BlameAccess,
		meaning: "Exchange does not accept this sign-in: the password or token is wrong or too old, or the account may not use SMTP.",
		remedy:  "Check username and password or run `postern upstream login NAME`; in Microsoft 365, allow authenticated SMTP for the mailbox.",
		source:  pageMicrosoftReplies},
	{enhanced: "5.7.3", text: "authent", blame: BlameAccess,
		meaning: "Exchange wants a sign-in.", remedy: remedySignIn},
	{enhanced: "5.7.64", blame: BlameAccess, // TenantAttribution
		meaning: "No connector of the organisation in Microsoft 365 matches this connection.",
		remedy:  "Give the connector the certificate (cert_file) or the public address of this machine, and the sender's domain to the organisation.",
		source:  pageMicrosoftReplies},
	{enhanced: "5.7.68", blame: BlameAccess, // TenantInboundAttribution
		meaning: "The organisation in Microsoft 365 takes mail of its own domains only from its connectors (RejectDirectSend).",
		remedy:  "Make a connector for this machine in the Exchange admin centre, by certificate or by address.",
		source:  pageMicrosoftDevices},
	{enhanced: "5.7.606", blame: BlameAccess,
		meaning: "Microsoft has banned the public address of this machine.",
		remedy:  "Ask for its removal at https://sender.office.com/, or send through another upstream.", source: pageMicrosoftReplies},
	{enhanced: "5.7.511", blame: BlameAccess,
		meaning: "Microsoft has banned the public address of this machine.",
		remedy:  "Forward the reply to delist@microsoft.com, or send through another upstream.", source: pageMicrosoftReplies},
	{enhanced: "5.7.705", blame: BlameAccess,
		meaning: "The organisation in Microsoft 365 has sent too much, or too much spam, and may not send at present.",
		remedy:  "Look for compromised accounts and connectors; Microsoft's support lifts the limit.", source: pageMicrosoftReplies},
	{enhanced: "5.7.708", blame: BlameAccess,
		meaning: "Microsoft 365 takes no mail of this organisation from this address, as it does with new and trial organisations.",
		remedy:  "Ask Microsoft's support, or send through another upstream.", source: pageMicrosoftReplies},
	{enhanced: "5.7.750", blame: BlameAccess,
		meaning: "The organisation in Microsoft 365 has sent too much from domains that are not registered with it.",
		remedy:  "Register the domains of all senders that are routed there.", source: pageMicrosoftReplies},

	// Google.
	{enhanced: "5.7.9", text: "application-specific password", blame: BlameAccess,
		meaning: "Gmail wants an app password, since the account signs in with a second factor.",
		remedy:  "Make one at https://myaccount.google.com/apppasswords, or set auth = \"xoauth2\".", source: pageGmailReplies},
	{code: 534, text: "web browser", blame: BlameAccess,
		meaning: "Gmail wants to see the owner of the account first.",
		remedy:  "Log in to the account with a browser, and use an app password or auth = \"xoauth2\" here.", source: pageGmailReplies},
	{code: 535, text: "badcredentials", blame: BlameAccess,
		meaning: "Gmail does not accept this username and password, or this token.",
		remedy:  "Use an app password (https://myaccount.google.com/apppasswords), or run `postern upstream login NAME`.", source: pageGmailReplies},
	{code: 5, text: "mail relay denied", blame: BlameAccess,
		meaning: "Google's relay service knows neither the public address of this machine nor an account by which it signed in.",
		remedy:  "Add the address in the Admin console (Gmail, Routing, SMTP relay service), and send from a domain of the organisation; it takes an hour or more.",
		source:  pageGoogleRelay},
	{code: 5, text: "invalid credentials for relay", blame: BlameAccess,
		meaning: "Google's relay service does not know the public address of this machine for the sender's domain.",
		remedy:  "Add the address in the Admin console (Gmail, Routing, SMTP relay service), and send from a domain of the organisation.",
		source:  pageGmailReplies},

	// Amazon SES.
	{code: 535, text: "authentication credentials invalid", blame: BlameAccess,
		meaning: "Amazon SES does not know these SMTP credentials in this region.",
		remedy:  "Make SMTP credentials in the SES console of the same region; the keys of an IAM user do not work as they are.", source: pageSESReplies},
	{code: 5, text: "sending paused for this account", blame: BlameAccess,
		meaning: "Amazon has paused sending for the account.",
		remedy:  "Read the mail that Amazon has sent to the address of the account, and answer it.", source: pageSESReplies},

	// SendGrid.
	{text: "maximum credits exceeded", blame: BlameAccess,
		meaning: "The credits of the SendGrid account are used up.", remedy: "Upgrade the plan, or wait for the next period.", source: pageSendGridReplies},
	{code: 535, text: "authorization grant is invalid", blame: BlameAccess,
		meaning: "SendGrid does not know this API key, or it may not send mail.",
		remedy:  `Make an API key with the permission "Mail Send"; username is the word "apikey", the key is the password.`, source: pageSendGridReplies},
	{code: 5, text: "unauthenticated senders not allowed", blame: BlameAccess,
		meaning: "SendGrid wants a sign-in.", remedy: `Set username = "apikey" and an API key as the password.`, source: pageSendGridReplies},

	// Others.
	{code: 535, text: "not loving your login", blame: BlameAccess,
		meaning: "Mailgun does not know this login.",
		remedy:  `Use an SMTP user of the domain, and region = "eu" for a domain in the European region.`},
	{code: 421, text: "is not allowed to send", blame: BlameAccess,
		meaning: "Mailgun does not let this domain or account send: a sandbox, an unverified domain, or a disabled account.",
		remedy:  "The reply says which; look at the domain in Mailgun's control panel."},
	{enhanced: "5.7.13", blame: BlameAccess, // RFC 5248
		meaning: "The account is disabled.", remedy: "Ask the provider, or change the password where the reply says so."},
	{code: 525, text: "unauthorized ip", blame: BlameAccess,
		meaning: "Brevo does not know the public address of this machine.",
		remedy:  "Authorise the address in Brevo (Security, Authorised IPs), or switch that check off for SMTP."},
	{code: 535, text: "#auth", blame: BlameAccess,
		meaning: "Yahoo takes no ordinary password from applications, or has seen too many wrong ones.",
		remedy:  "Generate an app password in the security settings of the account; wait a while before the next try."},
	{enhanced: "4.7.0", text: "invalid username or password", blame: BlameAccess,
		meaning: "The password is wrong (Proton Mail Bridge says so by a code that should be temporary).",
		remedy:  "Use the password that Bridge itself shows for the mailbox, and see that the account is signed in there."},
	{code: 432, enhanced: "4.7.12", blame: BlameAccess, // RFC 4954 §6
		meaning: "The upstream wants a new password, or a sign-in by PLAIN once.",
		remedy:  "Change the password of the account, or set auth = \"plain\" for one sign-in over TLS."},
	{code: 5, text: "blocked using", blame: BlameAccess, // Postfix, reject_rbl_client
		meaning: "The public address of this machine is on the block list that the reply names.",
		remedy:  "Have it removed there, or sign in, where the upstream lets known users pass."},
	{code: 5, text: "client host rejected", blame: BlameAccess,
		meaning: "The upstream does not take mail from the address of this machine.",
		remedy:  "Have the address permitted (mynetworks in Postfix), or sign in."},
	{code: 5, text: "invalid size parameter", from: spool.StageMail, blame: BlameAccess, // mailpit#407, announced as SIZE 0
		meaning: "The upstream announces SIZE and does not understand it.",
		remedy:  `Set without = ["SIZE"].`},
	{code: 5, text: "helo command rejected", blame: BlameAccess, // Postfix
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 5, text: "ehlo argument", blame: BlameAccess, // Exim
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 5, text: "helo argument", blame: BlameAccess, // Exim
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 5, text: "helo name", blame: BlameAccess,
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 5, text: "invalid helo", blame: BlameAccess,
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 501, until: spool.StageGreet, blame: BlameAccess, // no greeting has these two codes
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 504, until: spool.StageGreet, blame: BlameAccess,
		meaning: meaningHostname, remedy: remedyHostname},
	{code: 5, text: "authenticate before sending", blame: BlameAccess,
		meaning: meaningSignIn, remedy: "Set username and a password."},

	// Not signed in, or no longer: RFC 4954 §6 and RFC 3207 §4.
	{code: 530, text: "starttls", blame: BlameAccess,
		meaning: meaningTLS, remedy: remedyTLS},
	{enhanced: "5.7.0", text: "starttls", blame: BlameAccess,
		meaning: meaningTLS, remedy: remedyTLS},
	{code: 530, blame: BlameAccess,
		meaning: meaningSignIn, remedy: remedySignIn},
	{enhanced: "5.7.0", text: "authentication required", blame: BlameAccess,
		meaning: meaningSignIn, remedy: remedySignIn},
	{enhanced: "5.7.1", text: "authentication required", blame: BlameAccess,
		meaning: meaningSignIn, remedy: remedySignIn},
	{code: 538, blame: BlameAccess,
		meaning: meaningTLSOnly, remedy: remedyTLS},
	{enhanced: "5.7.11", blame: BlameAccess,
		meaning: meaningTLSOnly, remedy: remedyTLS},
	{code: 534, blame: BlameAccess,
		meaning: meaningWeak, remedy: remedyWeak},
	{enhanced: "5.7.9", blame: BlameAccess,
		meaning: meaningWeak, remedy: remedyWeak},
	{code: 535, blame: BlameAccess,
		meaning: meaningLogin, remedy: remedyLogin},
	{enhanced: "5.7.8", blame: BlameAccess,
		meaning: meaningLogin, remedy: remedyLogin},
}

// relayReplies: the upstream does not relay there, a matter of set-up for some
// destinations or all.
var relayReplies = []reply{
	{code: 5, text: "relay access denied", blame: BlameNobody, // Postfix
		meaning: meaningRelay,
		remedy:  "Sign in, or have the address of this machine permitted there (mynetworks in Postfix); then `postern queue retry`."},
	{code: 5, text: "relaying denied", blame: BlameNobody, // Sendmail, SparkPost
		meaning: meaningRelay,
		remedy:  "Sign in, or have the address of this machine permitted there; then `postern queue retry`."},
	{code: 5, text: "unable to relay", blame: BlameNobody, // Exchange, 5.7.1 and 5.7.54
		meaning: "Exchange does not relay to domains that are not its own for this connection.",
		remedy:  "Sign in, or give the receive connector that serves this machine the permission ms-Exch-SMTP-Accept-Any-Recipient."},
	{code: 5, text: "relay not permitted", blame: BlameNobody, // Exim
		meaning: meaningRelay,
		remedy:  "Sign in, or have the address of this machine permitted there (relay_from_hosts in Exim)."},
}
