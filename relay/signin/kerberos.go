package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	files "postern/config"
)

// aes are the encryption types that are asked for and taken. RC4 is not: its
// tickets have another format of messages (RFC 4757), and it is broken.
var aes = []int32{
	etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96,
	etypeID.AES256_CTS_HMAC_SHA384_192, etypeID.AES128_CTS_HMAC_SHA256_128,
}

// gssapiClient gets a ticket before anything is said to the upstream.
func gssapiClient(name string) func(context.Context, *Request) (sasl.Client, error) {
	return func(ctx context.Context, r *Request) (sasl.Client, error) {
		ctx, cancel := context.WithTimeout(ctx, loginTimeout)
		defer cancel()
		user, err := r.kerberosUser(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		initiator, err := newInitiator(ctx, r, user)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if name == "GSSAPI" {
			return &gssapi{name: name, context: initiator, layers: true}, nil
		}
		return &gssapi{name: name, context: &spnegoContext{inner: initiator}}, nil
	}
}

// lacksKerberos: in "auto", Kerberos is for those who have configured it.
func lacksKerberos(r *Request) string {
	k := &r.Kerberos
	if lack := lacksHostName(r); lack != "" {
		return lack
	}
	switch {
	case k.Keytab != "" || k.CCache != "":
		return ""
	case r.Auth == "auto" && k.Realm == "":
		return "needs a realm, a keytab or a ccache"
	}
	return lacksPassword(r)
}

// lacksHostName: principals are made of names.
func lacksHostName(r *Request) string {
	if r.Kerberos.SPN == "" && isAddress(r.Host) {
		return "needs the upstream's host name, and host is an address; set spn"
	}
	return ""
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// service is the principal that the ticket is for (RFC 4752 §3.1).
func (r *Request) service() string {
	if r.Kerberos.SPN != "" {
		return r.Kerberos.SPN
	}
	return cmp.Or(r.Service, "smtp") + "/" + strings.ToLower(strings.TrimSuffix(r.Host, "."))
}

// kerberosUser has, or gets, a ticket-granting ticket.
func (r *Request) kerberosUser(ctx context.Context) (*kerberosUser, error) {
	conf, err := loadKerberosConf(r.Kerberos.Conf)
	if err != nil {
		return nil, err
	}
	var u *kerberosUser
	switch k := &r.Kerberos; {
	case k.Keytab != "":
		u, err = r.fromKeytab(conf)
	case k.CCache != "":
		u, err = fromCache(k.CCache, conf)
	default:
		u, err = r.fromPassword(ctx, conf)
	}
	if err != nil {
		return nil, err
	}
	if err := reachable(conf, u.realm); err != nil {
		return nil, err
	}
	if u.secret == nil {
		return u, nil
	}
	return u, u.signIn(ctx)
}

func loadKerberosConf(path string) (*config.Config, error) {
	given := path != ""
	if path == "" {
		path = os.Getenv("KRB5_CONFIG")
	}
	if path == "" {
		path = "/etc/krb5.conf"
	}
	conf, err := readKerberosConf(path)
	var unsupported config.UnsupportedDirective
	switch {
	case errors.As(err, &unsupported) && conf != nil: // the rest of the file counts
	case err != nil && !given:
		conf = config.New() // KDCs are found by DNS
		conf.LibDefaults.DNSLookupKDC = true
	case err != nil:
		return nil, fmt.Errorf("%s cannot be used: %w", path, err)
	}
	conf.LibDefaults.DefaultTktEnctypeIDs = aes
	conf.LibDefaults.DefaultTGSEnctypeIDs = aes
	conf.LibDefaults.PermittedEnctypeIDs = aes
	return conf, nil
}

func readKerberosConf(path string) (*config.Config, error) {
	text, err := files.ReadFile(path)
	if err != nil {
		return nil, err
	}
	conf, err := config.NewFromString(string(text))
	if err != nil && !errors.As(err, new(config.UnsupportedDirective)) {
		// The library repeats the line, which may be of a file that whoever is told
		// may not read.
		return nil, errors.New("it is not a configuration of Kerberos")
	}
	return conf, err
}

// principal splits the user name from its realm.
func (r *Request) principal(conf *config.Config) (user, realm string) {
	user, suffix, found := strings.Cut(r.Username, "@")
	switch realm = r.Kerberos.Realm; {
	case found && realm == "":
		return user, strings.ToUpper(suffix)
	case found && !strings.EqualFold(suffix, realm):
		return r.Username, realm // an address is not a principal of another realm
	case realm == "":
		realm = conf.LibDefaults.DefaultRealm
	}
	return user, realm
}

func (r *Request) fromPassword(ctx context.Context, conf *config.Config) (*kerberosUser, error) {
	user, realm := r.principal(conf)
	if realm == "" {
		return nil, errors.New("no realm is known; set realm")
	}
	password, err := r.password(ctx)
	if err != nil {
		return nil, err
	}
	return newKerberosUser(conf, user, realm, byPassword(password)), nil
}

func newKerberosUser(conf *config.Config, user, realm string, s secret) *kerberosUser {
	return &kerberosUser{kdcs: kdcs{conf}, user: types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, user), realm: realm, secret: s}
}

func (r *Request) fromKeytab(conf *config.Config) (*kerberosUser, error) {
	keys := keytab.New()
	if err := parsed(r.Kerberos.Keytab, keys.Unmarshal); err != nil {
		return nil, err
	}
	user, realm := r.principal(conf)
	if r.Username == "" { // the keytab tells whose it is
		if len(keys.Entries) == 0 {
			return nil, fmt.Errorf("the keytab %s is empty", r.Kerberos.Keytab)
		}
		owner := keys.Entries[0].Principal
		user, realm = strings.Join(owner.Components, "/"), owner.Realm
	}
	if realm == "" {
		return nil, errors.New("no realm is known; set realm")
	}
	return newKerberosUser(conf, user, realm, byKeytab{keys}), nil
}

// byKeytab finds keys in a file.
type byKeytab struct{ keys *keytab.Keytab }

func (k byKeytab) key(user types.PrincipalName, realm string, kvno int, hint *keyHint) (types.EncryptionKey, error) {
	key, _, err := k.keys.GetEncryptionKey(user, realm, kvno, hint.kind)
	if err == nil && !soundKey(&key) {
		err = errors.New("the keytab is damaged")
	}
	if err != nil {
		return key, explainKerberos(err)
	}
	return key, nil
}

// fromCache uses the tickets of a file, which somebody else renews.
func fromCache(path string, conf *config.Config) (*kerberosUser, error) {
	cache := new(credentials.CCache)
	if err := parsed(path, func(content []byte) error {
		if !soundTickets(content) {
			return errors.New("its lengths make no sense")
		}
		return cache.Unmarshal(content)
	}); err != nil {
		return nil, err
	}
	realm := cache.DefaultPrincipal.Realm
	u := newKerberosUser(conf, "", realm, nil)
	u.user = cache.GetClientPrincipalName()
	found, now := false, time.Now()
	for _, entry := range cache.GetEntries() {
		g := granted{key: entry.Key, ends: entry.EndTime}
		if unharmed(func() error { return g.ticket.Unmarshal(entry.Ticket) }) != nil || !soundKey(&g.key) {
			continue
		}
		server := entry.Server.PrincipalName.NameString
		if len(server) != 2 || server[0] != "krbtgt" || server[1] != realm {
			u.cached = append(u.cached, g)
			continue
		}
		if !g.valid(now) {
			return nil, fmt.Errorf("the ticket in %s expired at %s; renew it by kinit, or configure a keytab",
				path, g.ends.UTC().Format(time.RFC3339))
		}
		u.tgt, found = g, true
	}
	if !found {
		return nil, fmt.Errorf("%s holds no ticket of %s that can be used; get one by kinit", path, realm)
	}
	return u, nil
}

// parsed reads a file of keys or tickets. The library reads past the end of
// one that is cut short.
func parsed(path string, parse func([]byte) error) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%s is damaged", path)
		}
	}()
	content, err := files.ReadFile(path)
	if err != nil {
		return err
	}
	if parse(content) != nil {
		return fmt.Errorf("%s is not a file of the right kind, or damaged", path)
	}
	return nil
}

// reachable looks for a KDC before the library does, which would look up the
// DNS for ten seconds and then say little.
func reachable(conf *config.Config, realm string) error {
	for _, known := range conf.Realms {
		if known.Realm == realm && len(known.KDC) > 0 {
			return nil
		}
	}
	if conf.LibDefaults.DNSLookupKDC {
		return nil
	}
	for _, known := range conf.Realms {
		if strings.EqualFold(known.Realm, realm) {
			return fmt.Errorf("krb5.conf knows no realm %s, but %s; realms are in capitals as a rule", realm, known.Realm)
		}
	}
	return fmt.Errorf("krb5.conf knows no realm %s and forbids looking it up; add it, or correct realm", realm)
}
