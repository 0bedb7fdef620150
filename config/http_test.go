package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The socket is there by itself only where it lets in nobody who is not let in
// already.
func TestSocketWidensNothing(t *testing.T) {
	const (
		hash  = `users = { app = "$argon2id$v=19$m=19456,t=2,p=1$CFvJ43RmbDN44/3smXgDdA$X/JerDPOoXIy0i7bgvg3HT5VqOLlxeJhwPOY/0h+VdM" }`
		local = "[[listener]]\nname = \"mail\"\naddress = \"127.0.0.1:2525\"\n"
	)
	for text, want := range map[string]bool{
		"":                                       true,
		local:                                    true,
		local + "rate = \"10/1m\"\n":             false,
		local + hash + "\n":                      true,
		local + hash + "\nrequire_auth = true\n": false,
		local + "allow = [\"127.0.0.1\"]\n":      true,
		"[[listener]]\naddress = \"unix:DIR/smtp.sock\"\n":                             false,
		"[[listener]]\naddress = \"unix:DIR/smtp.sock\"\nmode = \"0666\"\n":            true,
		"[[listener]]\naddress = \"192.0.2.1:25\"\nallow = [\"192.0.2.0/24\"]\n":       false,
		local + "[[sender]]\nlistener = [\"mail\"]\nfrom = [\"a@example.com\"]\n":      false,
		local + "[[route]]\nlistener = [\"mail\"]\nfrom = [\"<>\"]\nreject = \"no\"\n": false,
		local + "[[sender]]\nunix_user = [\"*\"]\nfrom = [\"a@example.com\"]\n":        true,
		local + "rate = \"10/1m\"\n[http]\nsocket = \"DIR/other.sock\"\n":              true,
		local + "[http]\nsocket = \"off\"\n":                                           false,
	} {
		t.Run(text, func(t *testing.T) {
			dir := t.TempDir()
			if len(dir) > 60 {
				dir, _ = os.MkdirTemp("", "c")
				defer os.RemoveAll(dir)
			}
			file := filepath.Join(dir, "postern.toml")
			whole := fmt.Sprintf("[control]\nsocket = \"%s/control.sock\"\n[upstream.office]\nhost = \"smtp.example.net\"\n%s[[route]]\nfrom = [\"*\"]\nupstream = [\"office\"]\n", dir, strings.ReplaceAll(text, "DIR", dir))
			if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.HTTP.Socket.Address != ""; got != want {
				t.Errorf("the socket is %q", cfg.HTTP.Socket.Address)
			}
		})
	}
}
