package config

import (
	"slices"
	"time"
)

// The keys of the file. To add one, add its line here and to
// docs/configuration.md; a test compares the two. What a key means beside
// others is checked where its table is read.

const (
	// longTime bounds every time-out: beyond it is a mistake.
	longTime = 24 * time.Hour
	// longestLifetime is beyond anything that a message is worth waiting for.
	longestLifetime = 100 * 24 * time.Hour
	// longestKeys bounds what a client can make the spool remember.
	longestKeys = 7 * 24 * time.Hour
)

// keys are those of the whole file.
func (c *Config) keys() []key {
	return []key{
		{name: "hostname", value: hostname.at(&c.Hostname), unset: "the machine's name", help: "The name that Postern gives in EHLO, Received and Message-ID."},
		{name: "state_dir", value: path.at(&c.StateDir), def: systemPlaces().state, restart: true, help: "The folder for what Postern keeps beside the spool."},
		{name: "confine", value: choice(&c.Confine, ConfineAuto, ConfineOn, ConfineOff), def: "auto", restart: true, help: "Whether the daemon gives up the right to write outside of its own folders."},
		{name: "confine_writable", value: pathList.at(&c.ConfineWritable), unset: "none", restart: true, help: "Further folders that the commands of a confined daemon may write to."},
		{name: "spool", value: section{keys: c.Spool.keys()}, help: "The durable store."},
		{name: "submission", value: section{c.Submission.keys(), c.Submission.check}, help: "What is done with every message, however it comes in."},
		{name: "control", value: section{c.Control.keys(), c.Control.check}, help: "How the daemon is administered and watched."},
		{name: "log", value: section{keys: c.Log.keys()}, help: "The log on standard error."},
		{name: "history", value: section{keys: c.History.keys()}, help: "What is kept of messages that have left the queue, for postern trace."},
		{name: "listener", value: c.listenerTables(), help: "Where clients connect; without one, 127.0.0.1:2525."},
		{name: "http", value: section{c.HTTP.keys(), c.HTTP.check}, help: "Where mail comes in by HTTP."},
		{name: "console", value: section{c.Console.keys(), c.Console.check}, hidden: c.Console.Listener.Address == "", help: "The web console."},
		{name: "upstream", value: c.upstreamTables(), help: "A server that mail goes to."},
		{name: "route", value: c.routeTables(), help: "Which mail goes to which upstreams; the first that matches counts."},
		{name: "rewrite", value: c.rewriteTables(), hidden: len(c.Rewrites) == 0, help: "What is changed of mail on its way out; the first that matches counts."},
		{name: "dkim", value: c.dkimTables(), hidden: len(c.DKIM) == 0, help: "How mail of a domain is signed."},
		{name: "sender", value: c.senderTables(), hidden: len(c.Senders) == 0, help: "Which addresses some clients may send as."},
		{name: "pickup", value: section{keys: c.Pickup.keys()}, hidden: c.Pickup.Dir == "" && !c.Pickup.set, help: "The folder whose messages are taken."},
		{name: "alert", value: c.alertTables(), hidden: len(c.Alerts) == 0, help: "Who is told when something needs a person."},
		{name: "storm", value: section{c.Storm.keys(), c.Storm.check}, hidden: c.Storm.Messages == 0, help: "What is held of a program that sends the same again and again."},
		{name: "book", value: c.bookTables(), hidden: len(c.books) == 0, help: "An address book."},
		{name: "send", value: section{keys: c.Send.keys()}, hidden: len(c.Send.Books) == 0, help: "How mail is made on this machine."},
		{name: "retry", value: section{c.Retry.keys(), c.Retry.check}, help: "What happens to mail that could not be delivered yet."},
	}
}

func (s *Spool) keys() []key {
	database := append(secretKeys(&s.URL, urlKey, "The URL of a PostgreSQL database that relays share as their queue", secretLiteral, secretFile, secretCredential),
		secretKeys(&s.TokenKey, tokenKeyKey, "The key that encrypts OAuth tokens, which are in the database then", secretFile, secretCredential)...)
	for i := range database {
		database[i].restart = true
	}
	return append([]key{
		{name: "dir", value: path.at(&s.Dir), def: systemPlaces().spool, restart: true, help: "The folder of the spool, which belongs to Postern's user."},
		{name: "max_size", value: size(&s.MaxSize, 0), def: "10GiB", restart: true, help: "The size of the spool at which clients are answered 452; 0 is no limit."},
		{name: "max_messages", value: number(&s.MaxMessages, 0, 1_000_000_000), def: 2_000_000, restart: true, help: "The number of messages at which clients are answered 452; 0 is no limit."},
		{name: "min_free", value: size(&s.MinFree, 0), def: "256MiB", restart: true, help: "What has to stay free on the file system of the spool; 0 is no limit."},
		{name: "relay", value: text.at(&s.Relay), unset: "the hostname", restart: true, help: "The name of this relay among those that share the database."},
		{name: "when_away", value: choice(&s.WhenAway, AwayRefuse, AwayLocal), def: AwayRefuse, restart: true, help: "What becomes of new mail while the database is away."},
	}, database...)
}

func (s *Submission) keys() []key {
	return []key{
		{name: "idempotency", value: duration(&s.Idempotency, 0, longestKeys), def: "24h", help: "How long the keys of messages are remembered, so that none is taken twice; 0 is never."},
		{name: "domain", value: mailDomain.at(&s.Domain), unset: "names without a domain are refused", help: "The domain that completes names without one."},
		{name: "alias", value: aliases.at(&s.Alias), unset: "none", help: "What names stand for: lists of addresses and names."},
		{name: "aliases", value: path.at(&s.Aliases), unset: "none", help: "A file with more aliases, in the syntax of aliases(5)."},
		{name: "local_domains", value: mailDomains.at(&s.LocalDomains), unset: `"localhost"`, help: "The domains whose names have aliases, beside names without a domain."},
		{name: "archive", value: archiveList.at(&s.Archive), unset: "nobody", help: "Who gets a copy of every message."},
		{name: "archive_dir", value: path.at(&s.ArchiveDir), unset: "none", restart: true, help: "A folder that gets a copy of every message."},
		{name: "postmaster", value: ownAddress.at(&s.Postmaster), unset: "nobody", help: "Who is told of a bounce that cannot be delivered."},
		{name: "from_of", value: patternsOf.at(&s.FromOf), unset: "users of this machine may send as whom the routes take", help: "Patterns of the addresses that users of this machine may send as, by their names."},
	}
}

func (c *Control) keys() []key {
	return []key{
		{name: "socket", value: path.at(&c.Socket), def: systemPlaces().socket, restart: true, help: "The unix socket by which commands reach the daemon."},
		{name: "mode", value: permissions.at(&c.Mode), def: "0660", restart: true, help: "The permissions of the control socket."},
		{name: "group", value: text.at(&c.Group), unset: "unchanged", restart: true, help: "The group that owns the control socket."},
		{name: "read_socket", value: path.at(&c.ReadSocket), unset: "off", restart: true, help: "A second unix socket, which shows the state and changes nothing."},
		{name: "read_group", value: text.at(&c.ReadGroup), unset: "unchanged", restart: true, help: "The group that owns the second socket."},
		{name: "metrics", value: text.at(&c.Metrics), unset: "off", restart: true, help: "The loopback address for scrapers of metrics and health."},
		{name: "health_max_age", value: duration(&c.HealthMaxAge, time.Second, 365*24*time.Hour), def: "15m", help: "How long a message may be due before the relay counts as unhealthy."},
	}
}

func (l *Log) keys() []key {
	return []key{
		{name: "level", value: choice(&l.Level, "debug", "info", "warn", "error"), def: "info", help: "From what on something is logged."},
		{name: "format", value: choice(&l.Format, "auto", "json", "console"), def: "auto", restart: true, help: "How the log is written: JSON, or lines for people."},
	}
}

func (h *History) keys() []key {
	return []key{
		{name: "keep", value: duration(&h.Keep, 0, longestHistory), def: "30d", restart: true, help: "How long what was told of a message is kept; 0 is not at all."},
		{name: "max_size", value: size(&h.MaxSize, 16<<20), def: "256MiB", restart: true, help: "The most room that it takes in state_dir."},
	}
}

// longestHistory keeps times within what can be counted.
const longestHistory = 10 * 365 * 24 * time.Hour

func (r *Retry) keys() []key {
	return []key{
		{name: "backoff", value: durationList(&r.Backoff, time.Second, longestLifetime), def: []any{"1m", "5m", "15m", "1h"}, help: "How long to wait after each attempt; the last step repeats."},
		{name: "lifetime", value: duration(&r.Lifetime, time.Minute, longestLifetime), def: "5d", help: "How long a message is tried before it bounces."},
		{name: "warn_after", value: duration(&r.WarnAfter, 0, longestLifetime), def: "4h", help: "When the sender is told of the delay; 0 is never."},
		{name: "after_dot", value: choice(&r.AfterDot, AfterDotRetry, AfterDotHold), def: "retry", help: "What happens to a message that the upstream may or may not have taken."},
	}
}

func (l *Listener) keys() []key {
	unix := l.Network == "unix"
	return []key{
		{name: "address", value: l.addressValue(), unset: "must be given", help: "Where clients connect: an IP address with a port, a unix socket, or a socket of systemd."},
		{name: "name", value: text.at(&l.Name), unset: "its address", help: "The name of the listener in routes and logs."},
		{name: "tls", value: choice(&l.TLS, ListenerTLSOff, ListenerTLSStart, ListenerTLSImplicit), def: "off", help: "How TLS is offered."},
		{name: "cert_file", value: path.at(&l.CertFile), unset: "none", help: "The certificate with its chain, in PEM."},
		{name: "key_file", value: path.at(&l.KeyFile), unset: "none", help: "The key of the certificate, in PEM."},
		{name: "users", value: users.at(&l.Users), unset: "nobody", help: "Who can sign in, each with what postern passwd prints."},
		{name: "require_auth", value: boolean.at(&l.RequireAuth), def: false, hidden: len(l.Users) == 0, help: "Whether mail is refused before sign-in."},
		{name: "allow", value: l.allowValue(), unset: "loopback only", help: "The networks and addresses that may connect."},
		{name: "proxy_protocol", value: l.proxyValue(), unset: "nobody", help: "The proxies that say by the PROXY protocol who their client is."},
		{name: "max_message_size", value: size(&l.MaxMessageSize, 1<<10), def: "35MiB", help: "The largest message that is taken."},
		// RFC 5321 §4.5.3.1.8: at least 100 recipients have to be accepted.
		{name: "max_recipients", value: number(&l.MaxRecipients, 1, 100_000), def: 1000, help: "The most recipients of one message."},
		{name: "max_connections", value: number(&l.MaxConnections, 1, 1_000_000), def: 500, help: "The most connections at a time."},
		{name: "idle_timeout", value: duration(&l.IdleTimeout, time.Second, longTime), def: "5m", help: "How long a client may be silent between commands."},
		{name: "data_timeout", value: duration(&l.DataTimeout, time.Second, longTime), def: "3m", help: "How long a message may make no progress."},
		{name: "data_max_time", value: duration(&l.DataMaxTime, time.Second, 7*longTime), def: "12h", help: "How long a whole message may take."},
		{name: "data_min_rate", value: size(&l.DataMinRate, 0), def: "500B", help: "How much of a message has to come in each second; 0 is any."},
		{name: "max_priority", value: number(&l.MaxPriority, -9, 9), def: 0, help: "The highest priority that clients may ask for."}, // RFC 6710 §2
		{name: "rate", value: rateList.at(&l.Rate), unset: "none", help: "What one user or address may send in a period."},
		{name: "newlines", value: choice(&l.Newlines, NewlinesRefuse, NewlinesNormalise), def: "refuse", help: "What to do with a bare CR or LF in a message."},
		{name: "syntax", value: choice(&l.Syntax, SyntaxLenient, SyntaxStrict), unset: `"lenient" on loopback and unix sockets, else "strict"`, help: "How exactly commands have to be written."},
		{name: "early", value: choice(&l.Early, EarlyRefuse, EarlyAllow), def: "refuse", help: "What to do with a client that sends before it may."},
		{name: "repair_headers", value: boolean.at(&l.RepairHeaders), unset: "true on loopback and unix sockets, else false", help: "Whether a header that others would refuse is mended."},
		{name: "tls_min_version", value: choice(&l.TLSMinVersion, tlsVersions...), def: "1.2", hidden: l.TLS == ListenerTLSOff, help: "The oldest TLS that clients may use."},
		{name: "mode", value: permissions.at(&l.Mode), def: "0660", hidden: !unix, help: "The permissions of a unix socket."},
		{name: "group", value: text.at(&l.Group), unset: "unchanged", hidden: !unix, help: "The group that owns a unix socket."},
	}
}

func (u *Upstream) keys() []key {
	network := u.networkKeys()
	if u.Provider == CaptureProvider {
		for i := range network {
			network[i].hidden = true
		}
	}
	return slices.Concat([]key{
		{name: "provider", value: u.providerValue(), unset: "none", help: "A provider that is known, which fills in most of the rest."},
	}, network, []key{
		{name: "sender", value: ownAddress.at(&u.Sender), unset: "as the message has it", help: "The address that mail goes out from, in envelope and From."},
		{name: "max_connections", value: number(&u.MaxConnections, 1, 1000), def: 8, help: "The most connections at a time."},
		{name: "max_messages", value: number(&u.MaxMessages, 1, 1_000_000), hidden: u.MaxMessages == 0, unset: "as the upstream turns out to take", help: "The most messages over one connection."},
		{name: "max_age", value: duration(&u.MaxAge, time.Second, longTime), def: "5m", help: "The age at which a connection is replaced."},
		{name: "encode_long_lines", value: boolean.at(&u.EncodeLongLines), hidden: !u.EncodeLongLines, def: false, help: "Whether parts with lines of more than 998 octets go encoded."},
		{name: "without", value: without.at(&u.Without), unset: "none", help: "Extensions of SMTP that are not used."},
		{name: "rate", value: rateList.at(&u.Rate), unset: "none", help: "How much may go there in a period."},
		{name: "max_recipients", value: number(&u.MaxRecipients, 1, 100_000), hidden: u.MaxRecipients == 0, unset: "as the upstream announces", help: "The most recipients of one transaction."},
		{name: "max_message_size", value: size(&u.MaxMessageSize, 64<<10), hidden: u.MaxMessageSize == 0, unset: "as the upstream announces", help: "The largest message that is sent."}, // RFC 5321 §4.5.3.1.7
		{name: "connect_timeout", value: duration(&u.ConnectTimeout, time.Second, longTime), def: "30s", help: "How long a connection may take to open."},
		{name: "command_timeout", value: duration(&u.CommandTimeout, time.Second, longTime), def: "5m", help: "How long the answer to a command may take."},
		{name: "data_timeout", value: duration(&u.DataTimeout, time.Second, longTime), def: "10m", help: "How long the answer to the end of a message may take."},
		{name: "idle_close", value: duration(&u.IdleClose, time.Second, longTime), def: "30s", help: "How long a connection stays open for the next message."},
	})
}

// networkKeys are those of an upstream that the capture server sets by itself.
func (u *Upstream) networkKeys() []key {
	return slices.Concat([]key{
		{name: "region", value: text.at(&u.Region), unset: "of the provider", help: "Which of the provider's hosts."},
		{name: "host", value: text.at(&u.Host), unset: "must be given, or a provider", help: "The host name or IP address of the upstream."},
		{name: "port", value: number(&u.Port, 1, 65535), hidden: u.Port == 0, unset: `587; 465 with tls = "implicit"; found with tls = "auto"`, help: "The port of the upstream."},
		{name: "tls", value: choice(&u.TLS, TLSAuto, TLSVerify, TLSEncrypt, TLSOpportunistic, TLSImplicit, TLSOff), unset: `"auto"; "verify" with a port`, help: "How TLS is done, and whether the certificate is checked."},
		{name: "tls_min_version", value: choice(&u.TLSMinVersion, tlsVersions...), def: "1.2", hidden: u.TLS == TLSOff, help: "The oldest TLS that is used."},
		{name: "tls_old_ciphers", value: boolean.at(&u.TLSOldCiphers), def: false, hidden: !u.TLSOldCiphers, help: "Whether weak cipher suites are offered too."},
		{name: "ca_file", value: path.at(&u.CAFile), unset: "the system's", help: "The certificates to trust, in PEM."},
		{name: "server_name", value: text.at(&u.ServerName), unset: "host", help: "The name that the certificate has to bear."},
		{name: "fingerprint", value: fingerprints.at(&u.Fingerprints), unset: "none", help: "The SHA-256 of the upstream's certificate, in place of the check of its chain."},
	}, u.Account.keys())
}

func (a *Account) keys() []key {
	k := &a.Kerberos
	return slices.Concat([]key{
		{name: "cert_file", value: path.at(&a.CertFile), unset: "none", help: "A client certificate, in PEM."},
		{name: "key_file", value: path.at(&a.KeyFile), unset: "none", help: "The key of the client certificate, in PEM."},
		{name: "auth", value: choice(&a.Auth, mechanismNames()...), unset: `"auto" with a username, else "none"`, help: "How to sign in."},
		{name: "username", value: text.at(&a.Username), unset: "none", help: "The name to sign in with."},
		{name: "domain", value: text.at(&a.Domain), unset: "none", help: "The Windows domain of the username."},
		{name: "realm", value: text.at(&k.Realm), unset: "of username, else krb5.conf's default", help: "The Kerberos realm of the username."},
		{name: "keytab", value: ticketFile.at(&k.Keytab), unset: "none", help: "A file with Kerberos keys, in place of a password."},
		{name: "ccache", value: ticketFile.at(&k.CCache), unset: "none", help: "A file with Kerberos tickets, which somebody else renews."},
		{name: "krb5_conf", value: path.at(&k.Conf), unset: "$KRB5_CONFIG, /etc/krb5.conf", help: "The file in which Kerberos finds its realms."},
		{name: "spn", value: text.at(&k.SPN), unset: "smtp/ and host", help: "The Kerberos name of the upstream."},
		{name: "oauth", value: oauthTable{a}, help: "Where access tokens come from."},
	}, secretKeys(&a.Password, passwordKey, "The password", secretKinds...))
}

func (o *OAuth) keys() []key {
	return slices.Concat([]key{
		{name: "provider", value: choice(&o.Provider, OAuthMicrosoft365, OAuthGoogle, OAuthGeneric), unset: "of the upstream's provider, else must be given", help: "Who gives the tokens."},
		{name: "flow", value: choice(&o.Flow, FlowDevice, FlowCode, FlowClientCredentials, FlowServiceAccount), unset: "must be given", help: "How tokens are got: with a person who logs in once, or without."},
		{name: "tenant", value: text.at(&o.Tenant), unset: "must be given with microsoft365; consumers with outlook.com", help: "The directory: its ID, or a domain of it."},
		{name: "issuer", value: text.at(&o.Issuer), unset: "must be given with generic", help: "The URL where a generic provider describes itself."},
		{name: "client_id", value: text.at(&o.ClientID), unset: "must be given, but for service_account", help: "What the provider calls this client."},
		{name: "client_secret_ends", value: date.at(&o.ClientSecretEnds), unset: "not known", help: "The day on which the client_secret ends, such as 2027-03-01: it is told three weeks before."},
		{name: "cert_file", value: path.at(&o.CertFile), unset: "none", help: "A certificate that proves the client, in PEM."},
		{name: "key_file", value: path.at(&o.KeyFile), unset: "none", help: "The key of that certificate, in PEM."},
		{name: "assertion_file", value: path.at(&o.AssertionFile), unset: "none", help: "A file with a JWT that proves the client."},
		{name: "service_account_file", value: path.at(&o.ServiceAccountFile), unset: "must be given with service_account", help: "Google's JSON key of a service account."},
		{name: "subject", value: text.at(&o.Subject), unset: "username", help: "Whom the service account acts for."},
		{name: "scopes", value: textList.at(&o.Scopes), unset: "of the provider; must be given with generic", help: "What is asked for."},
		{name: "redirect_url", value: text.at(&o.RedirectURL), unset: `microsoft365: "http://localhost", others: "http://127.0.0.1"`, help: "Where the browser goes back to after a login."},
	}, secretKeys(&o.ClientSecret, clientSecretKey, "The secret of the client", secretKinds...),
		secretKeys(&o.TokenKey, tokenKeyKey, "The key that encrypts the stored tokens", secretFile, secretCredential))
}

func (r *Route) keys() []key {
	return slices.Concat([]key{
		{name: "name", value: text.at(&r.Name), unset: "route 1, route 2…", help: "The name of the route in postern explain and the log."},
		{name: "from", value: patternList.at(&r.From), unset: "any", help: "Address patterns for the sender."},
		{name: "to", value: patternList.at(&r.To), unset: "any", help: "Address patterns for the recipient."},
		{name: "user", value: textList.at(&r.User), unset: "any", help: "Names of users who signed in."},
		{name: "unix_user", value: textList.at(&r.UnixUser), unset: "any", help: "Names of users of this machine."},
		{name: "listener", value: textList.at(&r.Listener), unset: "any", help: "Names of listeners."},
		{name: "header", value: header.at(&r.Header), unset: "any", help: "Header fields, each with patterns for its value."},
		{name: "reject", value: text.at(&r.Reject), unset: "none", help: "The text with which the mail is refused."},
		{name: "upstream", value: textList.at(&r.Upstream), unset: "must be given, or reject", help: "Names of upstreams, in the order in which they are tried."},
		{name: "priority", value: numberOrNone(&r.Priority, -9, 9), unset: "what the client asks for, else 0", help: "Which mail goes first: higher before lower."},
		{name: "archive", value: archiveList.at(&r.Archive), unset: "nobody", help: "Who gets a copy of the mail of this route."},
		{name: "expect", value: duration(&r.Expect, time.Second, 365*24*time.Hour), unset: "not watched", hidden: r.Expect == 0, help: "How long the route may take no message before an alert tells of it."},
	}, r.Staging.keys())
}

func (r *Rewrite) keys() []key {
	return []key{
		{name: "from", value: patternList.at(&r.From), unset: "any", help: "Address patterns for the sender."},
		{name: "user", value: textList.at(&r.User), unset: "any", help: "Names of users who signed in."},
		{name: "unix_user", value: textList.at(&r.UnixUser), unset: "any", help: "Names of users of this machine."},
		{name: "listener", value: textList.at(&r.Listener), unset: "any", help: "Names of listeners."},
		{name: "header", value: header.at(&r.Header), unset: "any", help: "Header fields, each with patterns for its value."},
		{name: "upstream", value: textList.at(&r.Upstream), unset: "any", help: "Names of upstreams that the mail goes to."},
		{name: "envelope_from", value: keepOrAddress.at(&r.EnvelopeFrom), unset: "the sender of the upstream, else keep", help: "The reverse-path; the null one stays."},
		{name: "header_from", value: keepOrAddress.at(&r.HeaderFrom), unset: "the sender of the upstream, else keep", help: "The address of From, whose name stays."},
		{name: "reply_to", value: replyToAddress.at(&r.ReplyTo), def: ReplyToOriginal, help: "Who gets replies: original, none, or an address."},
		{name: "add_header", value: addHeader.at(&r.AddHeader), unset: "none", help: "Header fields that are added, each with its value."},
		{name: "remove_header", value: removeHeader.at(&r.RemoveHeader), unset: "none", help: "Names of header fields that are removed."},
	}
}

func (d *DKIM) keys() []key {
	return []key{
		{name: "keys", value: dkimKeys.at(&d.Keys), unset: "must be given", help: "The keys that sign, each with its selector and its file."},
	}
}

func (s *Sender) keys() []key {
	return []key{
		{name: "user", value: textList.at(&s.User), unset: "one of user, unix_user and listener at least", help: "Names of users who signed in."},
		{name: "unix_user", value: textList.at(&s.UnixUser), unset: "one of user, unix_user and listener at least", help: "Names of users of this machine."},
		{name: "listener", value: textList.at(&s.Listener), unset: "one of user, unix_user and listener at least", help: "Names of listeners."},
		{name: "from", value: patternList.at(&s.From), unset: "must be given", help: "Patterns of the addresses that these clients may use."},
		{name: "check_from", value: boolean.at(&s.CheckFrom), def: false, help: "Whether the From: and Sender: fields are held to the same patterns."},
	}
}
