package importer

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// postfixRead are parameters that are read elsewhere, or of which nothing has to
// be said: Postern does so anyway, or they are about the inside of Postfix.
var postfixRead = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:` + strings.Join([]string{
		"myhostname", "mydomain", "myorigin", "mydestination", "mynetworks(_style)?", "relayhost", "inet_(interfaces|protocols)", "compatibility_level",
		"alias_maps", "alias_database", "always_bcc", "message_size_limit", "maximal_queue_lifetime", "delay_warning_time", "(min|max)imal_backoff_time",
		"transport_maps", "sender_dependent_(relayhost|default_transport)_maps", "smtp_sender_dependent_authentication", "(smtp_)?fallback_relay", "default_transport",
		"smtp_sasl_(auth_enable|password_maps|security_options|tls_security_options|tls_verified_security_options|mechanism_filter|type|path)",
		"smtp_(use_tls|enforce_tls)", "smtp_tls_(security_level|wrappermode|policy_maps|CAfile|cert_file|key_file|chain_files|fingerprint_cert_match|fingerprint_digest|note_starttls_offer|session_cache_database|session_cache_timeout|connection_reuse|loglevel|protocols|mandatory_protocols|ciphers|mandatory_ciphers|exclude_ciphers|mandatory_exclude_ciphers|per_site)",
		"smtp_generic_maps", "(sender_)?canonical_(maps|classes)", "recipient_canonical_maps", "virtual_alias_maps", "masquerade_domains", "(sender|recipient)_bcc_maps", "relocated_maps",
		"smtp_helo_name", "smtp_connect_timeout", "smtp_tcp_port", "(smtp|default)_destination_(concurrency_limit|rate_delay)", "smtpd_recipient_limit",
		"smtpd_sasl_auth_enable", "smtpd_(use_tls|enforce_tls|tls_auth_only)", "smtpd_tls_(security_level|cert_file|key_file|chain_files|CAfile|CApath|session_cache_database|session_cache_timeout|loglevel|received_header|protocols|mandatory_protocols|ciphers|mandatory_ciphers|exclude_ciphers|mandatory_exclude_ciphers|dh.*|eecdh_grade|ask_ccert|wrappermode)",
		"(command|config|daemon|data|meta|queue|html|manpage|readme|sample|shlib)_directory", "mail_owner", "setgid_group", "(sendmail|newaliases|mailq)_path", "mail_(name|version)", "debug(ger_command|_peer.*)", "default_privs", "process_.*", "tls_.*",
		"append_dot_mydomain", "append_at_myorigin", "biff", "smtpd_banner", "smtputf8_enable", "recipient_delimiter", "owner_request_special", "unknown_local_recipient_reject_code", "default_database_type", "default_process_limit", "swap_bangpath", "allow_percent_hack", "disable_vrfy_command", "smtpd_helo_required", "strict_rfc821_envelopes", "smtpd_delay_reject", "readme_directory", "mailbox_size_limit", "queue_run_delay", "qmgr_.*", "smtpd_.*_error_limit", "smtpd_error_sleep_time", "local_header_rewrite_clients", "in_flow_delay", "maillog_file.*", "syslog_.*", "soft_bounce", "unverified_.*", "parent_domain_matches_subdomains", "relay_domains",
	}, "|") + `)$`)
})

// postfixTold are parameters that mean something which Postern does not do: what
// that is, and what to do.
var postfixTold = map[string][2]string{
	"recipient_canonical_maps":          {"recipients stay as they are", "use aliases for local names"},
	"virtual_alias_maps":                {"addresses of whole domains lead nowhere else", "let your site's server expand them, or use aliases for local names"},
	"masquerade_domains":                {"domains of senders stay as they are", "add a [[rewrite]]"},
	"relocated_maps":                    {"nobody is told of new addresses", ""},
	"header_checks":                     {"no contents are looked at", "use header of a [[route]] to choose by a field, and [[rewrite]] to remove one"},
	"smtp_header_checks":                {"no contents are looked at", "use [[rewrite]] to remove a field"},
	"mime_header_checks":                {"no contents are looked at", ""},
	"nested_header_checks":              {"no contents are looked at", ""},
	"body_checks":                       {"no contents are looked at", ""},
	"smtp_body_checks":                  {"no contents are looked at", ""},
	"content_filter":                    {"there are no filters", "let the filter send to Postern instead"},
	"smtpd_milters":                     {"there are no milters", "sign where the mail is made, or at the upstream"},
	"non_smtpd_milters":                 {"there are no milters", "sign where the mail is made, or at the upstream"},
	"milter_default_action":             {"there are no milters", ""},
	"milter_protocol":                   {"there are no milters", ""},
	"mailbox_command":                   {"nothing is delivered on this machine", "let aliases send mail for local users elsewhere"},
	"mailbox_transport":                 {"nothing is delivered on this machine", "let aliases send mail for local users elsewhere"},
	"home_mailbox":                      {"nothing is delivered on this machine", "let aliases send mail for local users elsewhere"},
	"mail_spool_directory":              {"nothing is delivered on this machine", "let aliases send mail for local users elsewhere"},
	"local_transport":                   {"nothing is delivered on this machine", ""},
	"local_recipient_maps":              {"nothing is delivered on this machine", ""},
	"luser_relay":                       {"nothing is delivered on this machine", "use an alias for \"*\""},
	"bounce_queue_lifetime":             {"bounces are tried as long as other mail", ""},
	"smtp_bind_address":                 {"no address to connect from can be chosen", "let the routing table of the machine choose it"},
	"smtp_bind_address6":                {"no address to connect from can be chosen", ""},
	"smtp_address_preference":           {"all addresses of a host are tried", ""},
	"smtp_tls_CApath":                   {"authorities come from one file, or from the system", "set ca_file where they are not the system's"},
	"smtp_tls_secure_cert_match":        {"the certificate has to bear the name of the host", "set server_name where it bears another"},
	"smtp_tls_verify_cert_match":        {"the certificate has to bear the name of the host", "set server_name where it bears another"},
	"smtp_dns_support_level":            {"names are looked up as the system does", ""},
	"smtp_host_lookup":                  {"names are looked up as the system does", ""},
	"disable_dns_lookups":               {"names are looked up as the system does", ""},
	"smtpd_client_restrictions":         {"allow and users say who may send", ""},
	"smtpd_relay_restrictions":          {"allow and users say who may send", ""},
	"smtpd_recipient_restrictions":      {"allow and users say who may send, and routes where to", "see docs/senders.md"},
	"smtpd_sender_restrictions":         {"[[sender]] says who may send as whom", "see docs/senders.md"},
	"smtpd_sender_login_maps":           {"[[sender]] says who may send as whom", "see docs/senders.md"},
	"smtpd_helo_restrictions":           {"any name is taken in EHLO", ""},
	"smtpd_data_restrictions":           {"early data is refused anyway", ""},
	"smtpd_end_of_data_restrictions":    {"there are no policy services", ""},
	"smtpd_etrn_restrictions":           {"there is no ETRN", ""},
	"smtpd_sasl_type":                   {"users stand under users of a listener", "make them with postern passwd"},
	"smtpd_sasl_path":                   {"users stand under users of a listener", "make them with postern passwd"},
	"smtpd_sasl_local_domain":           {"users stand under users of a listener", ""},
	"smtpd_sasl_security_options":       {"which mechanisms are offered follows from TLS and from what is stored", ""},
	"smtpd_sasl_authenticated_header":   {"the log tells who signed in", ""},
	"smtpd_client_message_rate_limit":   {"rate of a listener limits clients", `set rate, such as "100/1m"`},
	"smtpd_client_recipient_rate_limit": {"rate of a listener limits clients", `set rate, such as "1000 recipients/1h"`},
	"authorized_submit_users":           {"[[sender]] says who may send as whom", "see docs/senders.md"},
	"defer_transports":                  {"an upstream is paused by a command", "postern upstream pause NAME"},
	"hold":                              {"mail is held by a command", ""},
	"virtual_mailbox_domains":           {"nothing is delivered on this machine", "let your mail server receive"},
	"virtual_mailbox_maps":              {"nothing is delivered on this machine", "let your mail server receive"},
	"virtual_mailbox_base":              {"nothing is delivered on this machine", ""},
	"virtual_transport":                 {"nothing is delivered on this machine", "let your mail server receive"},
	"virtual_alias_domains":             {"addresses of whole domains lead nowhere else", ""},
	"notify_classes":                    {"the log, metrics and health tell of trouble", ""},
	"error_notice_recipient":            {"the log, metrics and health tell of trouble", ""},
	"bounce_template_file":              {"notices have their own text", ""},
	"smtpd_forbid_bare_newline":         {"bare line feeds are refused anyway", ""},
	"smtpd_forbid_unauth_pipelining":    {"early data is refused anyway", ""},
	"smtpd_upstream_proxy_protocol":     {"see the listener's keys for PROXY", ""},
	"relay_transport":                   {"where mail goes is said by routes", ""},
}

// rest tells of every parameter that is set and not carried over.
func (p *postfix) rest() {
	if s := p.main.get("smtp_sasl_password_maps"); s.Value != "" && !p.main.is("smtp_sasl_auth_enable") {
		p.note(s.Place, "smtp_sasl_password_maps has no effect: smtp_sasl_auth_enable is not yes", "set username and password_file where the upstream asks for them")
	}
	mentioned := p.mentioned()
	for _, name := range slices.Sorted(maps.Keys(p.main.set)) {
		s := p.main.set[name]
		if s.Value == "" || postfixRead().MatchString(name) {
			continue
		}
		told, ok := postfixTold[name]
		switch {
		case name == "smtp_tls_CApath" && slices.Contains(systemCAs, s.Value):
		case ok:
			p.note(s.Place, name+" is not carried over: "+told[0], told[1])
		case mentioned[name]:
			// A parameter of the administrator's own, for others to refer to.
		default:
			p.note(s.Place, setting(name)+" is not carried over", "see postconf(5) for what it means")
		}
	}
}

// mentioned are the parameters that others refer to.
func (p *postfix) mentioned() map[string]bool {
	names := map[string]bool{}
	add := func(set map[string]Setting) {
		for _, s := range set {
			for _, m := range reference().FindAllStringSubmatch(s.Value, -1) {
				names[m[1]] = true
			}
		}
	}
	add(p.main.set)
	for _, s := range p.services {
		add(s.params.set)
	}
	return names
}

var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$[{(]?([A-Za-z0-9_]+)`)
})
