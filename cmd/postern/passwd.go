package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/relay/passwd"
)

// maxPassword bounds a password that is read, in bytes.
const maxPassword = 1024

func (a *app) passwdCommand() *cobra.Command {
	var scheme string
	var token bool
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "Turn a password into what stands under users of a listener, or make a token for HTTP",
		Long: `Reads a password from the terminal, without showing it, or the first line of
standard input, and prints what stands under "users" of a listener:

  users = { app1 = "…" }

argon2id and bcrypt serve PLAIN and LOGIN; scram-sha-256 serves SCRAM as well,
where the password itself never travels.

With --token nothing is read: a token for HTTP is made, and printed once beside
the hash that stands in [http.token.NAME]:

  token  postern_…
  hash   $sha256$…`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if token {
				if cmd.Flags().Changed("scheme") {
					return usage("--token has no --scheme: a token is random, and its hash is SHA-256")
				}
				return a.makeToken()
			}
			make, ok := map[string]func(string) (string, error){
				"argon2id": passwd.Argon2id, "bcrypt": passwd.Bcrypt, "scram-sha-256": passwd.SCRAMSHA256,
			}[scheme]
			if !ok {
				return usage("--scheme %q is none of argon2id, bcrypt and scram-sha-256", scheme)
			}
			password, err := a.readPassword()
			if err != nil {
				return err
			}
			stored, err := make(password)
			if err != nil {
				return &failure{code: exitData, text: err.Error(), err: err}
			}
			_, err = fmt.Fprintln(a.stdout, stored)
			return err
		},
	}
	cmd.Flags().BoolVar(&token, "token", false, "make a token for HTTP, and its hash")
	cmd.Flags().StringVar(&scheme, "scheme", "argon2id", "argon2id, bcrypt or scram-sha-256")
	return cmd
}

// makeToken prints a token that nobody can guess.
func (a *app) makeToken() error {
	token, hash := passwd.MakeToken()
	_, err := fmt.Fprintf(a.stdout, "token  %s\nhash   %s\n", token, hash)
	return err
}

func (a *app) readPassword() (string, error) {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return a.askPassword(int(f.Fd()))
	}
	line, err := bufio.NewReader(io.LimitReader(a.stdin, maxPassword+3)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if len(line) > maxPassword {
		return "", &failure{code: exitData, text: fmt.Sprintf("the password is longer than %d bytes", maxPassword)}
	}
	return line, nil
}

// askPassword asks twice on a terminal that does not show what is typed.
func (a *app) askPassword(fd int) (string, error) {
	var typed [2]string
	for i, prompt := range [2]string{"Password: ", "Again: "} {
		text, err := a.hidden(fd, prompt)
		if err != nil {
			return "", err
		}
		typed[i] = text
	}
	if typed[0] != typed[1] {
		return "", &failure{code: exitData, text: "the two are not the same"}
	}
	return typed[0], nil
}

// typed reads from the terminal fd. A signal ends it, and the terminal shows again what
// is typed; the end of the input does, too.
func (a *app) typed(fd int, read func() (string, error)) (string, error) {
	was, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var text string
	done := make(chan error, 1)
	go func() { // after a signal it ends with the process
		line, err := read()
		text = line
		done <- err
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, was)
		return "", context.Canceled
	case err := <-done:
		if errors.Is(err, io.EOF) {
			err = &failure{code: exitData, text: "nothing was typed", err: err}
		}
		return text, err
	}
}
