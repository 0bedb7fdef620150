package intake

import (
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	smtp "github.com/emersion/go-smtp"
)

// offers is what was announced to a client; only that is understood.
type offers struct {
	requireTLS bool
	extended   bool // DELIVERBY, MT-PRIORITY
	auth       bool
	lenient    bool // hex digits may be small, and AUTH= stand where nobody can sign in
	maxSize    int64
}

var (
	errParamSyntax  = say(501, 5, 5, 4, "malformed parameter")
	errParamUnknown = say(555, 5, 5, 4, "unknown parameter") // RFC 5321 §4.1.1.11
	errParamTwice   = say(501, 5, 5, 4, "parameter given twice")
	errParamValue   = say(501, 5, 5, 4, "malformed parameter value")
)

// params yields the esmtp-params of s (RFC 5321 §4.1.2): keyword and value.
// ok is false for one that is not well-formed.
func params(s string) iter.Seq2[param, bool] {
	return func(yield func(param, bool) bool) {
		for {
			s = strings.TrimLeft(s, " ")
			if s == "" {
				return
			}
			var word string
			word, s, _ = strings.Cut(s, " ")
			key, value, has := strings.Cut(word, "=")
			p := param{strings.ToUpper(key), value, has}
			if !yield(p, isKeyword(key) && (!has || isValue(value))) {
				return
			}
		}
	}
}

type param struct {
	key, value string
	has        bool // there was a "="
}

func isKeyword(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(s, fieldChars) == "" && strings.IndexByte(s, '_') < 0
}

// isValue: esmtp-value = 1*(%d33-60 / %d62-126), and UTF-8 (RFC 6531 §3.3).
func isValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '=' || c == 0x7F {
			return false
		}
	}
	return s != "" && utf8.ValidString(s)
}

// hasUTF8 tells whether SMTPUTF8 is among the parameters: it decides how the
// path before them is to be read.
func hasUTF8(s string) bool {
	for p, ok := range params(s) {
		if ok && p.key == "SMTPUTF8" && !p.has {
			return true
		}
	}
	return false
}

// mailParams parses the parameters of MAIL.
func mailParams(s string, of offers, opts *smtp.MailOptions, ext *Extensions) *smtp.SMTPError {
	var seen uint16
	for p, ok := range params(s) {
		if !ok {
			return errParamSyntax
		}
		bit, err := mailParam(p, of, opts, ext)
		if err != nil {
			return err
		}
		if seen&bit != 0 {
			return errParamTwice
		}
		seen |= bit
	}
	return nil
}

func mailParam(p param, of offers, opts *smtp.MailOptions, ext *Extensions) (bit uint16, err *smtp.SMTPError) {
	switch {
	case p.key == "SIZE":
		return 1, p.size(of.maxSize, &opts.Size)
	case p.key == "BODY":
		return 2, p.body(opts)
	case p.key == "SMTPUTF8":
		opts.UTF8 = true
		return 4, p.alone()
	case p.key == "RET":
		return 8, p.ret(opts)
	case p.key == "ENVID":
		return 16, p.envid(of, opts)
	case p.key == "REQUIRETLS" && of.requireTLS:
		opts.RequireTLS = true
		return 32, p.alone()
	case p.key == "BY" && of.extended:
		return 64, p.by(ext)
	case p.key == "MT-PRIORITY" && of.extended:
		return 128, p.priority(ext)
	case p.key == "AUTH" && (of.auth || of.lenient):
		return 256, p.auth(of, opts)
	}
	return 0, errParamUnknown
}

// alone: RFC 6531 §3.4, RFC 8689 §2: no value.
func (p param) alone() *smtp.SMTPError {
	if p.has {
		return errParamValue
	}
	return nil
}

// size: RFC 1870 §6: up to 20 digits. A message of exactly the maximum fits.
func (p param) size(max int64, into *int64) *smtp.SMTPError {
	if len(p.value) > 20 || !isDigits(p.value) {
		return errParamValue
	}
	n, err := strconv.ParseInt(p.value, 10, 64)
	switch {
	case err != nil:
		return tooLarge(0, max)
	case n > max:
		return tooLarge(n, max)
	}
	*into = n
	return nil
}

// body: RFC 6152 §3, RFC 3030 §3.
func (p param) body(opts *smtp.MailOptions) *smtp.SMTPError {
	for _, t := range []smtp.BodyType{smtp.Body7Bit, smtp.Body8BitMIME, smtp.BodyBinaryMIME} {
		if strings.EqualFold(p.value, string(t)) {
			opts.Body = t
			return nil
		}
	}
	return errParamValue
}

// ret: RFC 3461 §4.3.
func (p param) ret(opts *smtp.MailOptions) *smtp.SMTPError {
	for _, r := range []smtp.DSNReturn{smtp.DSNReturnFull, smtp.DSNReturnHeaders} {
		if strings.EqualFold(p.value, string(r)) {
			opts.Return = r
			return nil
		}
	}
	return errParamValue
}

// envid: RFC 3461 §4.4: xtext of at most 100 characters.
func (p param) envid(of offers, opts *smtp.MailOptions) *smtp.SMTPError {
	v, ok := decodeXtext(p.value, of.lenient)
	if !ok || v == "" || len(p.value) > 100 {
		return errParamValue
	}
	opts.EnvelopeID = v
	return nil
}

// by: RFC 2852 §4: by-time ";" by-mode [by-trace], where mode R needs a time
// to come.
func (p param) by(ext *Extensions) *smtp.SMTPError {
	num, mode, ok := strings.Cut(strings.ToUpper(p.value), ";")
	mode, trace := strings.CutSuffix(mode, "T")
	digits := strings.TrimPrefix(num, "-")
	if !ok || len(digits) > 9 || !isDigits(digits) || mode != "N" && mode != "R" {
		return errParamValue
	}
	n, err := strconv.Atoi(num)
	if err != nil || mode == "R" && n <= 0 {
		return errParamValue
	}
	ext.DeliverBy = &smtp.DeliverByOptions{
		Time: time.Duration(n) * time.Second, Mode: smtp.DeliverByMode(mode), Trace: trace,
	}
	return nil
}

// priority: RFC 6710 §3: -9 to 9.
func (p param) priority(ext *Extensions) *smtp.SMTPError {
	d := strings.TrimPrefix(p.value, "-")
	if len(d) != 1 || !isDigits(d) {
		return errParamValue
	}
	ext.Priority = int(d[0] - '0')
	if len(p.value) == 2 {
		ext.Priority = -ext.Priority
	}
	return nil
}

// auth: RFC 4954 §5. It is checked and goes no further: handing nobody's word
// on is what §5 asks for where the client isn't trusted with it.
func (p param) auth(of offers, opts *smtp.MailOptions) *smtp.SMTPError {
	v, ok := decodeXtext(p.value, of.lenient)
	if !ok || v == "" {
		return errParamValue
	}
	if v == "<>" {
		v = ""
	} else if checkMailbox(v, false) != pathOK {
		return errParamValue
	}
	opts.Auth = &v
	return nil
}

// rcptParams parses the parameters of RCPT.
func rcptParams(s string, utf8ok, lenient bool, opts *smtp.RcptOptions) *smtp.SMTPError {
	for p, ok := range params(s) {
		if !ok || !utf8ok && !isASCII(p.value) {
			return errParamSyntax
		}
		var err *smtp.SMTPError
		switch p.key {
		case "NOTIFY":
			err = p.notify(opts)
		case "ORCPT":
			err = p.orcpt(lenient, opts)
		default:
			err = errParamUnknown
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notify: RFC 3461 §4.1: NEVER alone, or a list.
func (p param) notify(opts *smtp.RcptOptions) *smtp.SMTPError {
	if len(opts.Notify) > 0 {
		return errParamTwice
	}
	for v := range strings.SplitSeq(strings.ToUpper(p.value), ",") {
		n := smtp.DSNNotify(v)
		switch n {
		case smtp.DSNNotifyNever, smtp.DSNNotifySuccess, smtp.DSNNotifyFailure, smtp.DSNNotifyDelayed:
		default:
			return errParamValue
		}
		if len(opts.Notify) > 0 && (n == smtp.DSNNotifyNever || opts.Notify[0] == smtp.DSNNotifyNever) || len(opts.Notify) > 2 {
			return errParamValue
		}
		opts.Notify = append(opts.Notify, n)
	}
	return nil
}

// orcpt: RFC 3461 §4.2, RFC 6533 §3: addr-type ";" xtext, at most 500
// characters.
func (p param) orcpt(lenient bool, opts *smtp.RcptOptions) *smtp.SMTPError {
	if opts.OriginalRecipient != "" {
		return errParamTwice
	}
	kind, text, ok := strings.Cut(p.value, ";")
	if !ok || len(p.value) > 500 || !isKeyword(kind) {
		return errParamValue
	}
	t := smtp.DSNAddressType(strings.ToUpper(kind))
	var addr string
	if t == smtp.DSNAddressTypeUTF8 {
		addr, ok = decodeUTF8Xtext(text, lenient)
	} else {
		addr, ok = decodeXtext(text, lenient)
	}
	if !ok || addr == "" || strings.ContainsFunc(addr, hidden) {
		return errParamValue
	}
	opts.OriginalRecipientType, opts.OriginalRecipient = t, addr
	return nil
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
