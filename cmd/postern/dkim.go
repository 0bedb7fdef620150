package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/config"
	"postern/config/wire"
	"postern/relay/sign"
)

func (a *app) dkimCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dkim",
		Short: "Make DKIM keys, show their DNS records, and look these up",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dkimNewCommand(), a.dkimDNSCommand(), a.dkimCheckCommand())
	return cmd
}

func (a *app) dkimNewCommand() *cobra.Command {
	var selector, kind, out string
	cmd := &cobra.Command{
		Use:   "new DOMAIN",
		Short: "Make a key, and print its lines of the configuration and of DNS",
		Args:  one("the domain that stands in From"),
		RunE: func(_ *cobra.Command, args []string) error {
			domain, ok := wire.CanonicalDomain(args[0])
			switch {
			case !ok || !wire.IsDomain(domain, false):
				return usage("%q is not the name of a domain", args[0])
			case !wire.IsDomain(selector, false):
				return usage("--selector %q cannot stand in a name of DNS", selector)
			case kind != "rsa" && kind != "ed25519":
				return usage("--type %q is neither rsa nor ed25519", kind)
			}
			if out == "" {
				out = domain + "-" + selector + ".pem"
			}
			return a.dkimNew(domain, selector, kind, out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&selector, "selector", "postern", "`NAME` of the key in DNS")
	f.StringVar(&kind, "type", "rsa", "rsa (2048 bits, which everybody can check) or ed25519")
	f.StringVar(&out, "out", "", "`FILE` for the key, which must not be there yet (default DOMAIN-SELECTOR.pem)")
	return cmd
}

// dkimNew makes a key file that nobody else can read, and says what to do with
// it.
func (a *app) dkimNew(domain, selector, kind, out string) error {
	var key crypto.Signer
	var err error
	if kind == "rsa" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeKey(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return err
	}
	record, err := sign.Record(key.Public())
	if err != nil {
		return err
	}
	path, err := filepath.Abs(out)
	if err != nil {
		path = out
	}
	fmt.Fprintf(a.stdout, "The key is in %s, for its owner alone: that has to be the user that runs postern, or root.\n\n", safe(path))
	fmt.Fprintf(a.stdout, "In the configuration:\n\n  [dkim.%q]\n  keys = [{ selector = %q, key_file = %q }]\n\n", domain, selector, path)
	fmt.Fprintf(a.stdout, "In DNS:\n\n  %s\n\nThen, before the reload: postern dkim check\n", zoneLine(sign.RecordName(selector, domain), record))
	return nil
}

// writeKey writes a new file of mode 0600, and leaves nothing behind where it
// can't.
func writeKey(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &failure{code: exitCantCreate, text: path + " is there already", hint: "A key that is in use is not written over: choose another --out, or another --selector."}
	}
	if err == nil {
		_, err = f.Write(content)
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(path) // it is ours, and no key
		}
	}
	if err != nil {
		return &failure{code: exitCantCreate, text: "the key cannot be written: " + err.Error(), err: err}
	}
	return nil
}

// maxString is what one string of a TXT record can hold (RFC 1035 §3.3.14).
const maxString = 255

// zoneLine is a TXT record as zone files have it.
func zoneLine(name, record string) string {
	var parts []string
	for len(record) > 0 {
		n := min(len(record), maxString)
		parts = append(parts, `"`+record[:n]+`"`)
		record = record[n:]
	}
	return name + ". IN TXT ( " + strings.Join(parts, " ") + " )"
}

// dkimRecord is one key of the configuration and its record.
type dkimRecord struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
	Name     string `json:"name"`
	Record   string `json:"record"`
	// Status is what came of a look-up: "ok", "missing", "wrong" or "unknown".
	Status string `json:"status,omitempty"`
	Text   string `json:"text,omitempty"`
}

// dkimRecords are those of all keys that the configuration names, or of one
// domain.
func (a *app) dkimRecords(args []string) (list []dkimRecord, err error) {
	cfg, err := config.Find(a.config)
	if err != nil {
		return nil, badConfig(err)
	}
	seen := map[string]bool{}
	for _, table := range slices.Sorted(maps.Keys(cfg.DKIM)) {
		d := cfg.DKIM[table]
		if len(args) > 0 && !strings.EqualFold(args[0], d.Domain) && args[0] != table {
			continue
		}
		for _, k := range d.Keys {
			key, err := config.ReadDKIMKey(k.KeyFile)
			if err != nil {
				return nil, &failure{code: exitConfig, text: err.Error(), err: err}
			}
			record, err := sign.Record(key.Public())
			if err != nil {
				return nil, err
			}
			r := dkimRecord{Domain: d.Domain, Selector: k.Selector, Name: sign.RecordName(k.Selector, d.Domain), Record: record}
			if id := r.Name + " " + record; !seen[id] {
				seen[id] = true
				list = append(list, r)
			}
		}
	}
	if len(list) == 0 {
		return nil, &failure{code: exitData, text: "the configuration has no such DKIM key", hint: "`postern dkim new DOMAIN` makes one."}
	}
	return list, nil
}

func (a *app) dkimDNSCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "dns [DOMAIN]",
		Short: "Print the DNS records of the keys in the configuration",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			list, err := a.dkimRecords(args)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.stdout, list)
			}
			for _, r := range list {
				fmt.Fprintln(a.stdout, zoneLine(r.Name, r.Record))
			}
			return nil
		},
	})
}

// lookupTime bounds one question to DNS.
const lookupTime = 10 * time.Second

func (a *app) dkimCheckCommand() *cobra.Command {
	return a.withJSON(&cobra.Command{
		Use:   "check [DOMAIN]",
		Short: "Look up the DNS records of the keys in the configuration, and compare them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.dkimRecords(args)
			if err != nil {
				return err
			}
			code := exitOK
			for i := range list {
				list[i].lookUp(cmd.Context(), net.DefaultResolver.LookupTXT)
				code = max(code, map[string]int{"missing": exitData, "wrong": exitData, "unknown": exitUnavailable}[list[i].Status])
			}
			if a.json {
				err = printJSON(a.stdout, list)
			} else {
				for _, r := range list {
					fmt.Fprintf(a.stdout, "%s: %s\n", safe(r.Name), safe(r.Text))
					if r.Status == "missing" || r.Status == "wrong" {
						fmt.Fprintf(a.stdout, "  it has to be: %s\n", zoneLine(r.Name, r.Record))
					}
				}
			}
			if err == nil && code != exitOK {
				err = errReported{code}
			}
			return err
		},
	})
}

// lookUp asks DNS for the record, and says what came of it.
func (r *dkimRecord) lookUp(ctx context.Context, lookup func(context.Context, string) ([]string, error)) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := lookup(ctx, r.Name+".")
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, err == nil && len(found) == 0:
		r.Status, r.Text = "missing", "DNS has no such record"
		return
	case err != nil:
		r.Status, r.Text = "unknown", "DNS does not answer: "+err.Error()
		return
	}
	for _, text := range found {
		why := sign.Compare(text, r.Record)
		if why == "" {
			r.Status, r.Text = "ok", "DNS has the record of this key"
			if len(found) > 1 { // RFC 6376 §3.6.2.2: what a receiver takes of several is not defined
				r.Status, r.Text = "wrong", fmt.Sprintf("DNS has %d records there, of which one may stand", len(found))
			}
			return
		}
		r.Status, r.Text = "wrong", "the record in DNS "+why
	}
}
