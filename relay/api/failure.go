package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"postern/config"
	"postern/config/wire"
	"postern/relay/submission"
)

// failure is why a request is not carried out. It is never changed once it was
// returned.
type failure struct {
	status   int    // of HTTP
	name     string // for programs; those of Resend where it has one
	text     string // for people
	code     int    // SMTP's for the same; 0: it has none
	enhanced string // RFC 3463; empty: none
	hint     string // what to do; empty: nothing is known
	retry    int    // seconds after which the same may be taken; 0: it won't be
}

// The names of failures. openapi.json lists them.
const (
	nameMissingKey     = "missing_api_key"
	nameWrongKey       = "invalid_api_key"
	nameRestrictedKey  = "restricted_api_key"
	nameFrom           = "invalid_from_address"
	nameInvalid        = "validation_error"
	nameAttachment     = "invalid_attachment"
	nameTooLarge       = "message_too_large"
	nameRate           = "rate_limit_exceeded"
	nameUnavailable    = "service_unavailable"
	nameMediaType      = "unsupported_media_type"
	nameOrigin         = "foreign_origin"
	nameHost           = "foreign_host"
	nameNotFound       = "not_found"
	nameUnknown        = "unknown_name" // no address book has it, or two persons have it
	nameMethod         = "method_not_allowed"
	nameKey            = "invalid_idempotency_key"
	nameKeyReused      = "invalid_idempotent_request"
	nameKeyInFlight    = "concurrent_idempotent_requests"
	nameNotCancellable = "not_cancellable"
	nameDefect         = "internal_server_error"
)

var names = []string{nameMissingKey, nameWrongKey, nameRestrictedKey, nameFrom, nameInvalid, nameAttachment, nameTooLarge,
	nameRate, nameUnavailable, nameMediaType, nameOrigin, nameHost, nameNotFound, nameUnknown, nameMethod, nameKey, nameKeyReused,
	nameKeyInFlight, nameNotCancellable, nameDefect}

// retrySoon and retryLater are how many seconds a client is told to wait.
const (
	retrySoon  = 5
	retryLater = 60
)

var (
	missingKey     = &failure{status: http.StatusUnauthorized, name: nameMissingKey, text: "a token is required: Authorization: Bearer …"}
	wrongKey       = &failure{status: http.StatusForbidden, name: nameWrongKey, text: "this is no token of this relay"}
	tooManyGuesses = &failure{status: http.StatusTooManyRequests, name: nameRate, text: "too many wrong tokens, try again later", retry: retryLater}
	noMemory       = &failure{status: http.StatusServiceUnavailable, name: nameUnavailable, text: "too many large requests at once, try again later, or send to /v1/messages, which streams", retry: retrySoon}
	defect         = &failure{status: http.StatusInternalServerError, name: nameDefect, text: "a bug of this relay ended the request; nothing was accepted"}
)

// invalid is a request that can't be understood.
func invalid(text string) *failure {
	return &failure{status: http.StatusUnprocessableEntity, name: nameInvalid, text: text}
}

// failureOf is what a client is told of a refusal. A rule of the administrator
// is about the recipient at that stage, and about the sender at the others.
func failureOf(err error, at submission.Stage) *failure {
	r := submission.AsRefusal(err)
	f := &failure{text: r.Sentence, code: r.Code, enhanced: r.Status(), status: http.StatusUnprocessableEntity, name: nameInvalid}
	switch {
	case errors.Is(r, submission.ErrKeyUsed):
		f.status, f.name = http.StatusConflict, nameKeyReused
	case errors.Is(r, submission.ErrKeyBusy):
		f.status, f.name, f.retry = http.StatusConflict, nameKeyInFlight, retrySoon
	case r.Enhanced == [3]int{4, 5, 3}: // too many recipients: of this request, whenever it comes
	case r.Code == 450:
		f.status, f.name, f.retry = http.StatusTooManyRequests, nameRate, retryLater
	case r.Temporary():
		f.status, f.name, f.retry = http.StatusServiceUnavailable, nameUnavailable, retrySoon
	case r.Code == 552:
		f.status, f.name = http.StatusRequestEntityTooLarge, nameTooLarge
	case r.Enhanced == [3]int{5, 7, 1} && at != submission.AtRecipient:
		f.status, f.name = http.StatusForbidden, nameFrom
	}
	return f
}

// answer is the body of a failure.
type answer struct {
	StatusCode int    `json:"statusCode"`
	Name       string `json:"name"`
	Message    string `json:"message"`
	SMTPCode   int    `json:"smtp_code,omitempty"`
	Enhanced   string `json:"enhanced_code,omitempty"`
	Hint       string `json:"hint,omitempty"`
}

func (f *failure) answer() answer {
	return answer{f.status, f.name, wire.Text(f.text, maxText), f.code, f.enhanced, wire.Text(f.hint, maxText)}
}

// maxText bounds what is said of a failure, in bytes.
const maxText = 8 << 10

// tell writes a failure as the dialect of the request has it.
func (f *failure) tell(w http.ResponseWriter, d config.Dialect) {
	if f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retry))
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	text := wire.Text(f.text, maxText)
	switch d {
	case config.DialectPostmark:
		write(w, f.status, map[string]any{"ErrorCode": f.postmark(), "Message": text})
	case config.DialectSendGrid:
		write(w, f.status, map[string]any{"errors": []any{map[string]any{"message": text, "field": nil, "help": nil}}})
	case config.DialectMailgun:
		write(w, f.status, map[string]any{"message": text})
	default:
		write(w, f.status, f.answer())
	}
}

// postmark is the nearest of Postmark's codes.
func (f *failure) postmark() int {
	switch f.name {
	case nameMissingKey, nameWrongKey, nameRestrictedKey:
		return 10 // bad or missing API token
	case nameFrom:
		return 400 // sender signature not found
	case nameUnavailable, nameDefect:
		return 100 // maintenance
	case nameMediaType:
		return 402 // JSON expected
	}
	return 300 // invalid email request
}

// write answers in JSON.
func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // an address is best read as <a@b>
	_ = enc.Encode(v)
}
