// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"custody.dev/custody/internal/adopt"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/server"
)

// adoptChoices says what becomes of each candidate: by the answers file, by --only, by who sits at the terminal, else all are taken.
func (a *app) adoptChoices(in *adopt.Input, candidates []*adopt.Candidate, o adoption) error {
	if err := a.given(in, candidates, o.files); err != nil {
		return err
	}
	for _, name := range o.only {
		if !slices.Contains(candidateNames(candidates), name) {
			return &server.Problem{Class: server.NotFound, Text: fmt.Sprintf("there is no candidate %q; nothing was written", visible(name)), Hint: "`custody adopt DIR --dry-run` lists the candidates"}
		}
	}
	_, asks := terminal(a.in)
	switch {
	case o.answers != "":
		data, err := os.ReadFile(o.answers)
		if errors.Is(err, fs.ErrNotExist) {
			return &server.Problem{Class: server.NotFound, Text: "there is no answers file " + o.answers, Hint: "--write-answers FILE writes one"}
		}
		if err != nil {
			return fmt.Errorf("reading the answers file: %w", err)
		}
		answers, err := adopt.ParseAnswers(data)
		if err != nil {
			return usage("reading the answers file "+o.answers+": "+visible(err.Error())+"; nothing was written", "correct it, or write a new one with --write-answers FILE")
		}
		if err := answers.Apply(in, candidates); err != nil {
			return adoptProblem(err)
		}
	case asks && len(o.only) == 0 && !o.dryRun:
		if err := a.askChoices(in, candidates); err != nil {
			return err
		}
	default:
		for _, c := range candidates {
			if c.Choosable() {
				in.Choices[c.Name] = adopt.Take
			}
		}
	}
	left := o.limit
	for _, c := range candidates {
		if !c.Choosable() || in.Choices[c.Name] != adopt.Take {
			continue
		}
		if len(o.only) > 0 && !slices.Contains(o.only, c.Name) || o.limit > 0 && left == 0 {
			delete(in.Choices, c.Name)
			continue
		}
		left--
	}
	return nil
}

// askChoices asks on the terminal for each candidate, and for the owner of those that nobody is known to own.
func (a *app) askChoices(in *adopt.Input, candidates []*adopt.Candidate) error {
	lines := bufio.NewReader(a.in)
	ask := func(format string, args ...any) (string, error) {
		_, _ = fmt.Fprintf(a.err, format, args...)
		line, err := lines.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return "", usage("the terminal was closed before all was answered; nothing was written", "run the command again, or use --answers FILE")
		}
		return strings.ToLower(strings.TrimSpace(line)), nil
	}
	ownerless := false
	for _, c := range candidates {
		if !c.Choosable() {
			continue
		}
		_, _ = fmt.Fprintf(a.err, "%s: %s, risk %s, in %s\n", visible(c.Name), visible(c.Kind), c.Risk, visible(placesOf(c)))
	again:
		said, err := ask("  a(dopt), l(eave), n(o secret), q(uit, and leave the rest)? [a] ")
		if err != nil {
			return err
		}
		switch said {
		case "", "a", "adopt":
			in.Choices[c.Name] = adopt.Take
		case "l", "leave":
			in.Choices[c.Name] = adopt.Leave
		case "n", "no", "no secret":
			in.Choices[c.Name] = adopt.Refuse
		case "q", "quit":
			return nil
		default:
			_, _ = fmt.Fprintf(a.err, "  answer with one letter\n")
			goto again
		}
		ownerless = ownerless || in.Choices[c.Name] == adopt.Take && c.Ownerless()
	}
	if ownerless && in.Owner.Team == "" {
		team, err := ask("which team owns those of which nothing says who does? ")
		if err != nil {
			return err
		}
		in.Else.Team = team
	}
	return nil
}

// placesOf says where a candidate is, for people.
func placesOf(c *adopt.Candidate) string {
	if len(c.Places) == 0 {
		return "-"
	}
	return more(fmt.Sprintf("%s:%d", c.Places[0].File, c.Places[0].Line), len(c.Places))
}

// lookAt describes a file. Whose it is counts where this process may give files away.
func lookAt(name string) (adopt.Attributes, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return adopt.Attributes{}, err
	}
	as := adopt.Attributes{Mode: info.Mode()}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known || os.Geteuid() != 0 {
		return as, nil
	}
	if int(stat.Uid) != os.Geteuid() {
		as.User = strconv.Itoa(int(stat.Uid))
		if found, err := user.LookupId(as.User); err == nil {
			as.User = found.Username
		}
	}
	if int(stat.Gid) != os.Getegid() {
		as.Group = strconv.Itoa(int(stat.Gid))
		if found, err := user.LookupGroupId(as.Group); err == nil {
			as.Group = found.Name
		}
	}
	return as, nil
}

// adopted shows what was adopted, and what is left to do.
func (p *printer) adopted(r adopted) {
	rows := [][]string{}
	counts := map[adopt.How]int{}
	for _, c := range r.Candidates {
		counts[c.How]++
		rows = append(rows, []string{string(c.Risk), visible(c.Name), string(c.How), or(c.As, "-"), visible(placesOf(c)), visible(or(c.Owner, "-"))})
	}
	if len(rows) == 0 {
		p.linef("no secrets were found: nothing to adopt")
		return
	}
	p.table("RISK", []string{"RISK", "CANDIDATE", "BECOMES", "SECRET", "WHERE", "OWNER"}, rows)
	p.linef("")
	if len(r.Documents) == 0 && len(r.Checklist.Items) == 0 {
		p.linef("nothing to adopt: %d adopted before, %d left. Nothing was written.", counts[adopt.Adopted], counts[adopt.Left]+counts[adopt.NoSecret])
		return
	}
	for _, f := range r.Files {
		text := fmt.Sprintf("%s stays where it is, as the secret %s", visible(f.Path), f.Secret)
		if f.Whole {
			text += ", sealed as a whole"
		} else if len(f.Readable) > 0 {
			text += "; readable in its document: " + visible(strings.Join(f.Readable, ", "))
		}
		p.linef("%s", text)
		if f.Tracked {
			p.linef("warning: %s is in Git, and its history keeps the values: rotate them", visible(f.Path))
		}
		for _, name := range f.Bare {
			p.linef("warning: %s in %s is not escaped: choose new values of letters and digits", visible(name), visible(f.Path))
		}
	}
	if folders := slices.DeleteFunc(slices.Clone(r.Folders), func(f adopt.Folder) bool { return !f.New }); len(folders) > 0 {
		p.linef("")
		p.linef("Add to %s:", or(r.host, "the host file"))
		p.linef("")
		p.linef("spec:")
		p.linef("  folders:")
		for _, f := range folders {
			p.linef("    %s: %s", f.Name, f.Path)
		}
	}
	for _, need := range r.NotGranted {
		p.linef("%s", visible(need.Finding().Text()))
	}
	if r.faults > 0 {
		p.linef("the estate has %s besides: see `custody lint`", plural(r.faults, "fault"))
	}
	if len(r.Checklist.Items) > 0 {
		p.linef("")
		p.linef("Left to do:")
		for _, item := range r.Checklist.Items {
			p.linef("  [ ] %s", visible(itemText(item)))
		}
	}
	p.linef("")
	if r.DryRun {
		p.linef("%s would be written to %s. Nothing was written.", plural(len(r.Documents), "document"), r.estate)
		return
	}
	p.linef("%s written to %s.", plural(len(r.Documents), "document"), r.estate)
	if r.ChecklistFile != "" {
		p.linef("What is left to do is in %s; to look how it stands: custody adopt --check %s", r.ChecklistFile, next.Word(r.ChecklistFile))
	}
	if len(r.Documents) > 0 {
		p.linef("Next: custody lint %s", next.Word(r.estate))
	}
}

func itemText(i adopt.Item) string {
	text := string(i.Do)
	if i.Secret != "" {
		text += " " + i.Secret
	}
	text += ": " + i.Text
	if i.Page != "" {
		text += " (" + i.Page + ")"
	}
	if i.Due != "" {
		text += ", due " + i.Due
	}
	return text
}
