package main

import (
	"errors"
	"fmt"
	"io/fs"

	"postern/cmd/control"
	"postern/cmd/definition"
	"postern/config"
)

// notOurs says why a definition cannot be edited or removed.
func (d *define) notOurs(err error, name string) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return &failure{code: exitData, text: err.Error(), err: err}
	}
	text := fmt.Sprintf("postern has written no %s %q", d.kind, name)
	if cfg, err := config.Find(d.config); err == nil && cfg.Upstreams[name] != nil && d.kind == definition.Upstream {
		key := "upstream." + name
		file := cfg.FileOf(key)
		if content, err := config.ReadFile(file); err == nil {
			line, _ := config.Lines(string(content))
			text = fmt.Sprintf("the upstream %q stands in %s on line %d: change it by hand", name, file, line(key))
		}
	}
	return &failure{code: exitData, text: text}
}

// tell prints what was done, or why not.
func (d *define) tell(done *definition.Result, write bool, err error) error {
	var said errReported
	var refused *control.Refused
	var problems *config.Problems
	answer := defined{Findings: d.findings, Checked: d.checked, Tried: d.tried, Login: d.login}
	if done != nil {
		answer.File, answer.Text, answer.Warnings = done.File, done.Text, d.inFlags(done.File, d.withoutKept(done.Warnings))
		answer.Running, answer.Written = done.Running, write && err == nil
	}
	if d.json && (err == nil || errors.As(err, &said)) {
		if printErr := printJSON(d.stdout, answer); printErr != nil {
			return printErr
		}
		return err
	}
	switch {
	case errors.As(err, &said):
		if printErr := d.printTest(); printErr != nil {
			return printErr
		}
		fmt.Fprintln(d.stderr, "postern: nothing was changed; --force keeps it all the same")
		return err
	case errors.As(err, &problems):
		if done == nil { // the definition itself
			return badConfig(&config.Problems{List: d.inFlags("", problems.List)})
		}
		return badConfig(&config.Problems{List: d.inFlags(done.File, problems.List), Untold: problems.Untold})
	case errors.As(err, &refused) && refused.Rejected != nil:
		return d.printRejected(refused)
	case errors.As(err, new(*definition.Foreign)), errors.Is(err, definition.ErrChanged):
		return &failure{code: exitData, text: err.Error(), err: err}
	case permission(err):
		return &failure{code: exitNoPerm, text: err.Error(), hint: "run it as root, or as the owner of the configuration", err: err}
	case err != nil:
		return err
	}
	printProblems(d.stderr, "warning: ", answer.Warnings)
	if done.Left != nil {
		fmt.Fprintf(d.stderr, "warning: credentials that nothing names any more are still there: %s\n", safe(done.Left.Error()))
	}
	return d.printDone(&answer)
}

func (d *define) printDone(answer *defined) error {
	var err error
	switch {
	case !answer.Written:
		_, err = fmt.Fprintf(d.stdout, "%s would hold:\n\n%s", safe(answer.File), answer.Text)
	case answer.Text == "" && answer.Running:
		_, err = fmt.Fprintf(d.stdout, "%s was removed, and the daemon goes on without it\n", safe(answer.File))
	case answer.Text == "":
		_, err = fmt.Fprintf(d.stdout, "%s was removed; no daemon runs\n", safe(answer.File))
	case answer.Running:
		_, err = fmt.Fprintf(d.stdout, "%s was written, and the daemon has taken it\n", safe(answer.File))
	default:
		_, err = fmt.Fprintf(d.stdout, "%s was written; no daemon runs that could take it\n", safe(answer.File))
	}
	name := safe(d.cmd.Flags().Arg(0))
	switch {
	case err != nil:
	case d.login:
		_, err = fmt.Fprintf(d.stdout, "Now log in: `postern %s login %s`\n", d.kind, name)
	case answer.Written && answer.Text != "" && !answer.Running && d.kind == definition.Alert:
		_, err = fmt.Fprintf(d.stdout, "It was not tried: `postern alert test %s` does once the daemon runs\n", name)
	case len(d.tried) > 0:
		err = d.printTest()
	}
	return err
}

// printTest prints what the test of a definition has told.
func (d *define) printTest() error {
	switch d.kind {
	case definition.Book:
		var said errReported
		if err := d.bookTest(d.checked); !errors.As(err, &said) {
			return err
		}
		return nil
	case definition.Alert:
		return d.printTried(d.tried)
	}
	return d.tabulate(d.findings, false)
}
