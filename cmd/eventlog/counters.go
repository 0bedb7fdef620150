package eventlog

// counters are the metrics that events count.
type counters struct {
	// listeners
	connections, accepted, diverted, acceptedRecipients, acceptedBytes, repeated counter
	refused, signIns, tlsFailed, abused, panics, stormHeld                       counter
	acceptance                                                                   histogram

	// queue
	attempts, deliveredBytes, finished, laneChanges, sessionFailures counter
	sendersRefused, notifications, inDoubt, expired, movedOn         counter
	operated, storeFailures, claimsLost, budgetSpent, stateFailures  counter
	kept, keptEnded                                                  counter
	delay                                                            histogram

	// upstream sessions
	sessions, tlsProblems         counter
	tlsDowngrades, memoryFailures counter
	tokensObtained, tokensFailed  counter
	sessionOpen                   histogram

	// spool
	commits                                                       histogram
	committed, committedBytes, reclaimed, setAside, writeFailures counter

	// process, capture
	captured   counter
	alertsSent counter
	reloads    counter
	withheld   counter
}

// Buckets of histograms, in seconds.
var (
	bucketsQuick = []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}
	bucketsOpen  = []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	bucketsDelay = []float64{.005, .02, .1, .5, 1, 5, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 5 * 24 * 3600}
)

func newCounters(m *metrics) counters {
	return counters{
		connections:        m.counter("client_connections_total", "Client connections.", "listener", "result"),
		accepted:           m.counter("messages_accepted_total", "Messages that were answered 250 after they were durable.", "listener"),
		acceptedRecipients: m.counter("recipients_accepted_total", "Recipients of accepted messages.", "listener"),
		acceptedBytes:      m.counter("accepted_bytes_total", "Bytes of accepted messages, as the clients sent them.", "listener"),
		repeated:           m.counter("messages_repeated_total", "Messages that were handed in again with the same key, and not queued.", "listener"),
		stormHeld:          m.counter("storm_messages_held_total", "Messages that were put on hold because too many that are alike came.", "listener"),
		refused:            m.counter("mail_refused_total", "Replies of 4xx and 5xx that ended a transaction or a recipient.", "listener", "stage", "code"),
		diverted:           m.counter("recipients_diverted_total", "Recipients that a route does not let mail go to.", "instead"),
		signIns:            m.counter("client_sign_ins_total", "Sign-ins of clients.", "listener", "result"),
		tlsFailed:          m.counter("client_tls_failures_total", "TLS handshakes with clients that failed.", "listener"),
		abused:             m.counter("client_abuse_total", "Connections closed because of what the client sent.", "listener"),
		panics:             m.counter("defects_total", "Panics that ended one connection. Any is a bug to report."),
		acceptance:         m.histogram("acceptance_seconds", "From MAIL to a durable message.", bucketsQuick, "listener"),

		attempts:        m.counter("delivery_attempts_total", "Attempts, counted for each recipient.", "upstream", "result"),
		deliveredBytes:  m.counter("delivered_bytes_total", "Bytes of delivered content, counted for each recipient.", "upstream"),
		finished:        m.counter("messages_finished_total", "Messages whose last recipient has ended."),
		laneChanges:     m.counter("upstream_state_changes_total", "Changes of the state of an upstream's lane.", "upstream", "state"),
		sessionFailures: m.counter("upstream_session_failures_total", "Sessions that could not be opened or broke off.", "upstream", "stage"),
		sendersRefused:  m.counter("senders_refused_total", "Times that an upstream began to refuse a sender.", "upstream"),
		notifications:   m.counter("notifications_total", "Delivery status notifications made.", "kind"),
		inDoubt:         m.counter("in_doubt_total", "Deliveries whose final dot had no answer: possible duplicates.", "upstream"),
		expired:         m.counter("recipients_expired_total", "Recipients that ended by their lifetime or deadline.", "upstream"),
		kept:            m.counter("kept_total", "Recipients from <>, and of copies, that failed and were kept.", "upstream"),
		keptEnded:       m.counter("kept_ended_total", "Recipients that were kept until their time or room was over.", "reason"),
		movedOn:         m.counter("failovers_total", "Deliveries that left a lane that is down without an attempt.", "from", "to"),
		operated:        m.counter("operator_recipients_total", "Recipients that an operator decided about.", "operation"),
		claimsLost:      m.counter("claims_lost_total", "Claims that were lost to another relay before they were used.", "operation"),
		storeFailures:   m.counter("spool_refusals_total", "Operations of the queue that the spool did not carry out.", "operation"),
		budgetSpent:     m.counter("upstream_budget_spent_total", "Times that due mail began to wait for the rates of its upstream.", "upstream"),
		stateFailures:   m.counter("upstream_record_failures_total", "Times that what is known of an upstream could not be read or kept.", "upstream"),
		delay:           m.histogram("delivery_delay_seconds", "From the acceptance of a message to its delivery to a recipient.", bucketsDelay, "upstream"),

		sessions:       m.counter("upstream_sessions_total", "Sessions opened with an upstream, by TLS version (empty: in clear).", "upstream", "tls"),
		tlsProblems:    m.counter("upstream_tls_problems_total", "TLS that was wanted and was not to be had.", "upstream"),
		tlsDowngrades:  m.counter("upstream_tls_downgrades_refused_total", "Sessions that were not opened because the upstream fell back behind what is remembered of it.", "upstream"),
		memoryFailures: m.counter("upstream_memory_failures_total", "Times that what is remembered about an upstream could not be read or written.", "upstream", "operation"),
		tokensObtained: m.counter("tokens_obtained_total", "Access tokens that providers gave out.", "upstream", "reason"),
		tokensFailed:   m.counter("token_failures_total", "Attempts to get an access token that failed.", "upstream", "kind"),
		sessionOpen:    m.histogram("upstream_open_seconds", "From the first packet to a session that is ready.", bucketsOpen, "upstream"),

		commits:        m.histogram("spool_commit_seconds", "Writing and syncing one commit of the spool.", bucketsQuick),
		committed:      m.counter("spool_committed_messages_total", "Messages made durable."),
		committedBytes: m.counter("spool_committed_bytes_total", "Bytes that made messages durable."),
		reclaimed:      m.counter("spool_segments_reclaimed_total", "Segments removed after their live messages were copied forward."),
		setAside:       m.counter("spool_set_aside_total", "Damaged records that were set aside."),
		writeFailures:  m.counter("spool_write_failures_total", "Writes and syncs that failed.", "operation"),

		alertsSent: m.counter("alerts_total", "Attempts to tell a receiver of alerts.", "receiver", "result"),
		captured:   m.counter("captured_messages_total", "Messages that the capture server kept.", "upstream"),
		reloads:    m.counter("config_reloads_total", "Attempts to replace the configuration.", "result"),
		withheld:   m.counter("log_lines_withheld_total", "Lines of the log that were counted and not written, because strangers had caused enough of them."),
	}
}
