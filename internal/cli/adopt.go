// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"custody.dev/custody/internal/adopt"
	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/scaffold"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
	"custody.dev/custody/internal/wire"
	"custody.dev/custody/internal/wire/kinds"
)

// adoption is what the options of the command say.
type adoption struct {
	seal                                    scaffold.Sealing
	grants                                  string
	unchecked, noHistory, dryRun            bool
	answers, writeAnswers, check, checklist string
	only, files                             []string
	limit                                   int
	owner, contact, due                     string
}

func (a *app) adoptCommand() *cobra.Command {
	o := adoption{due: "30d"}
	cmd := &cobra.Command{
		Use:   "adopt [DIR]",
		Short: "bring the secrets that discover finds under management",
		Long: `Finds the secrets in DIR as custody discover does, and turns them into documents of the estate. Each value is read again, sealed
(encrypted) to the root key and to the machines of one environment, and declared as a ManagedSecret. docs/adopt.md has an example.

Env files and key files are adopted in place: Custody delivers each to the path where it stands, with the same bytes and the same mode, so
that no program sees a change until a value is rotated or supplied. A file is adopted with all secrets in it. Of an env file, only what
is plainly a setting stays readable in the document; comments and all other values are sealed too. Values that stand in other
files (manifests, definitions of a CI) are sealed, and people change those files. Values that cannot be read here, such as
settings of a CI, become tasks: --from-file NAME=FILE gives one later, with - for standard input.

On a terminal the command asks for each candidate: adopt it, leave it, or it is no secret. Elsewhere it adopts all, or those in --only, or
those that an answers file says; --write-answers writes one to edit. --limit takes the gravest first, for one merge request.

No file is replaced: the documents are written all together, and only if they lint. Running it again adopts what is new. A checklist
is written beside the estate, and says what to delete where; custody adopt --check reads it and exits with code 3 while something is left.`,
		Example: `  custody adopt . --dry-run
  custody adopt . --estate ../platform/estate --limit 10 --owner shop
  custody adopt . --write-answers answers.yaml
  custody adopt . --answers answers.yaml
  custody adopt . --only npm-token --from-file npm-token=-
  custody adopt --check ../platform/adoption-1.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.check != "" {
				return takes()(cmd, args)
			}
			return takes("DIR")(cmd, args)
		},
		Annotations: map[string]string{answers: "yes"},
		RunE: a.run(func(ctx context.Context, args []string) error {
			if o.check != "" {
				return a.adoptCheck(ctx, o)
			}
			return a.adopt(ctx, args[0], o)
		}),
	}
	cmd.Flags().StringVar(&o.seal.Estate, "estate", "", "`folder` of the estate (default: the host's)")
	cmd.Flags().StringSliceVar(&o.seal.Environments, "environment", nil, "`environment` whose machines can decrypt the values; can be repeated (default: that of the host, else the only one)")
	cmd.Flags().StringVar(&o.grants, "grants", "", "`file` of the operator with the granted recipients (default: the grants of the host)")
	cmd.Flags().BoolVar(&o.unchecked, "unchecked", false, "if nothing says what is granted, seal to whatever recipients the estate names")
	cmd.Flags().StringVar(&o.answers, "answers", "", "`file` that says what becomes of each candidate")
	cmd.Flags().StringVar(&o.writeAnswers, "write-answers", "", "write a new answers `file` to edit, and adopt nothing")
	cmd.Flags().StringSliceVar(&o.only, "only", nil, "`names` of the candidates to adopt")
	cmd.Flags().StringArrayVar(&o.files, "from-file", nil, "`name=file`: a candidate whose value cannot be read here, and the file with it; - is standard input")
	cmd.Flags().IntVar(&o.limit, "limit", 0, "adopt at most this `number` of candidates, the gravest first")
	cmd.Flags().StringVar(&o.owner, "owner", "", "`team` that owns what is adopted (default: who discover thinks owns it)")
	cmd.Flags().StringVar(&o.contact, "contact", "", "contact `address` of --owner (default: the team)")
	cmd.Flags().StringVar(&o.due, "due", o.due, "`time` until values that are wanted are due, such as 14d")
	cmd.Flags().BoolVar(&o.noHistory, "no-history", false, "do not read the history of Git")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be written, and write nothing")
	cmd.Flags().StringVar(&o.checklist, "checklist", "", "new `file` for the checklist (default: adoption-N.yaml beside the estate)")
	cmd.Flags().StringVar(&o.check, "check", "", "look what is done of the checklist in a `file`, and adopt nothing")
	return cmd
}

// adopted is the answer of the command.
type adopted struct {
	*adopt.Plan
	// Written are the files that were written, Checklist among them; none with --dry-run.
	Written       []string `json:"written"`
	ChecklistFile string   `json:"checklistFile,omitempty"`
	DryRun        bool     `json:"dryRun,omitempty"`
	// NotGranted is what the documents ask for and the operator has not granted.
	NotGranted []grant.Need `json:"notGranted,omitempty"`

	estate, host string
	faults       int
	neverRan     bool
}

func (a *app) adopt(ctx context.Context, dir string, o adoption) error {
	wanted, err := duration.Parse(o.due)
	if err != nil {
		return usage("--due: "+err.Error(), "give a time such as --due 14d")
	}
	if o.limit < 0 {
		return usage("--limit is a number from 1 on", "leave it out to adopt all")
	}
	if err := a.sealPlace(ctx, &o.seal, "", o.grants); err != nil {
		return err
	}
	if o.seal.Granted == nil && !o.unchecked && o.writeAnswers == "" {
		return unsealed(o.seal)
	}
	in, err := a.adoptInput(dir, o, wanted)
	if err != nil {
		return err
	}
	key, err := scanKey()
	if err != nil {
		return err
	}
	if in.Answer, err = a.scan(ctx, dir, o.noHistory, key); err != nil {
		return err
	}
	in.Digest = func(v secret.Value) string { return discover.Digest(v, key) }
	candidates := adopt.Candidates(in.Answer, in.Estate)
	if o.writeAnswers != "" {
		return a.writeAnswers(o.writeAnswers, candidates)
	}
	if err := a.adoptChoices(&in, candidates, o); err != nil {
		return err
	}
	plan, err := adopt.Make(in, candidates)
	if err != nil {
		return adoptProblem(err)
	}
	return a.adoptWrite(ctx, plan, in, o)
}

// adoptProblem gives an error of planning its class.
func adoptProblem(err error) error {
	class := server.Usage
	switch {
	case errors.Is(err, adopt.ErrChanged), errors.Is(err, adopt.ErrFolder):
		class = server.Refused
	case !errors.Is(err, adopt.ErrInput) && !errors.Is(err, adopt.ErrOwner):
		return err
	}
	hint := "see `custody adopt --help`"
	if known, is := errors.AsType[*adopt.Error](err); is {
		hint = known.Hint()
	}
	return &server.Problem{Class: class, Text: visible(err.Error()) + "; nothing was written", Hint: visible(hint)}
}

// adoptInput is what a plan is made of, before anything was found.
func (a *app) adoptInput(dir string, o adoption, wanted time.Duration) (adopt.Input, error) {
	in := adopt.Input{
		Owner: adopt.Owner{Team: o.owner, Contact: o.contact}, Choices: map[string]adopt.Choice{}, Names: map[string]string{},
		Owners: map[string]adopt.Owner{}, Given: map[string]secret.Value{}, Due: wire.Now().UTC().Add(wanted),
	}
	if o.owner == "" && o.contact != "" {
		return in, usage("--contact needs --owner", "name the team: --owner TEAM")
	}
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return in, &server.Problem{Class: server.NotFound, Text: "reading " + dir + ": there is no such folder", Hint: "name a folder that exists"}
	}
	if err != nil {
		return in, fmt.Errorf("finding %s: %w", dir, err)
	}
	in.Root = root
	in.Read = func(file string) (secret.Value, []discover.Held, error) {
		return discover.Values(root, file, discover.Usual)
	}
	in.Look = func(file string) (adopt.Attributes, error) {
		return lookAt(filepath.Join(root, filepath.FromSlash(file)))
	}
	if in.Estate, err = adoptEstate(o.seal.Estate); err != nil {
		return in, err
	}
	in.Host, err = a.adoptHost(o.seal.Estate)
	return in, err
}

// adoptEstate is what is there already.
func adoptEstate(estate string) (adopt.Estate, error) {
	existing, err := scaffold.Exists(estate, adopt.Annotation)
	if err != nil {
		return adopt.Estate{}, err
	}
	e := adopt.Estate{Environments: existing.Environments, Names: existing.Names, Paths: existing.Paths, Adopted: map[string]string{}, Static: existing.Static}
	for name, keys := range existing.Notes {
		for _, key := range keys {
			if key != "" && (e.Adopted[key] == "" || len(keys) < len(existing.Notes[e.Adopted[key]])) { // that of a value before that of a file
				e.Adopted[key] = name
			}
		}
	}
	return e, nil
}

// adoptHost is what the host file says, where there is one.
func (a *app) adoptHost(estate string) (adopt.Host, error) {
	h := adopt.Host{Folders: map[string]string{}, Private: map[string]string{"the estate": realPath(estate)}}
	if a.noHost() {
		return h, nil
	}
	spec, err := wire.LoadHost(a.hostFile())
	if err != nil {
		return h, err
	}
	h.File, h.Known = near(absolute(a.hostFile())), true
	for name, path := range spec.Folders {
		h.Folders[name] = realPath(path)
	}
	for what, path := range map[string]string{
		"the state folder": spec.State, "the bootstrap identity": spec.BootstrapIdentity, "the unseal key": spec.Unseal.KeyFile,
		"the unseal identity": spec.Unseal.Identity, "the host's configuration": a.hostFile(), "the grants file": spec.Grants, "the estate": spec.Estate,
	} {
		if path != "" {
			h.Private[what] = realPath(path)
		}
	}
	if spec.Git != nil { // the estate's folder is a checkout, and the host reads another
		delete(h.Private, "the estate")
	}
	return h, nil
}

// realPath is a path from the root without links, as far as it exists.
func realPath(path string) string {
	full := absolute(path)
	if resolved, err := filepath.EvalSymlinks(full); err == nil {
		return resolved
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(full)); err == nil {
		return filepath.Join(dir, filepath.Base(full))
	}
	return full
}

// writeAnswers writes a file that nobody has yet.
func (a *app) writeAnswers(name string, candidates []*adopt.Candidate) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &server.Problem{Class: server.Refused, Text: name + " is there already; nothing was written", Hint: "choose another file, or move it away"}
	}
	if err != nil {
		return fmt.Errorf("writing the answers file: %w", err)
	}
	_, err = file.Write(adopt.Template(candidates))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the answers file: %w", err)
	}
	return a.answer(map[string]any{"answersFile": name}, func(p *printer) {
		p.linef("%s lists %s. Edit it, then run the command with --answers %s.", name, plural(len(candidates), "candidate"), next.Word(name))
	})
}

// adoptWrite writes a plan, or says what it would write.
func (a *app) adoptWrite(ctx context.Context, plan *adopt.Plan, in adopt.Input, o adoption) error {
	result := adopted{Plan: plan, DryRun: o.dryRun, Written: []string{}, estate: o.seal.Estate, host: in.Host.File, neverRan: o.seal.NeverRan}
	before, file, err := checklists(o)
	if err != nil {
		return err
	}
	plan.Checklist = plan.Checklist.Without(before)
	if len(plan.Documents) == 0 && len(plan.Checklist.Items) == 0 {
		return a.answer(result, func(p *printer) { p.adopted(result) })
	}
	work := scaffold.Adoption{
		Estate: o.seal.Estate, Environments: o.seal.Environments, Granted: o.seal.Granted, NeverRan: o.seal.NeverRan, Dry: o.dryRun,
	}
	for _, d := range plan.Documents {
		work.Documents = append(work.Documents, scaffold.NewDocument{File: filepath.FromSlash(d.Path), Text: d.Text, Secret: d.Secret, Path: d.ValuePath, Value: d.Value})
	}
	if len(plan.Checklist.Items) > 0 {
		result.ChecklistFile = file
		work.Beside = map[string][]byte{file: plan.Checklist.Format()}
	}
	written, faults, needs, err := scaffold.Adopt(ctx, scaffold.Config{Codec: wire.Codec(), Now: wire.Now, Types: kinds.Upstreams()}, work)
	if err != nil {
		return err
	}
	result.Written, result.faults = append(result.Written, written...), len(faults)
	for _, need := range needs {
		own := slices.ContainsFunc(plan.Documents, func(d adopt.Document) bool { return d.Secret != "" && slices.Contains(need.Holds, d.Secret) })
		if own && !o.seal.Granted[need.Grant] {
			need.NeverRan = o.seal.NeverRan
			result.NotGranted = append(result.NotGranted, need)
		}
	}
	return a.answer(result, func(p *printer) { p.adopted(result) })
}

// mostChecklists bounds how many are looked for beside an estate.
const mostChecklists = 10_000

// checklists are those that earlier adoptions wrote beside the estate, and the file for the next one.
func checklists(o adoption) (before []adopt.Checklist, file string, err error) {
	beside := filepath.Dir(filepath.Clean(o.seal.Estate))
	for n := 1; n < mostChecklists; n++ {
		file = filepath.Join(beside, fmt.Sprintf("adoption-%d.yaml", n))
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, "", fmt.Errorf("reading an earlier checklist: %w", err)
		}
		list, err := adopt.ParseChecklist(data)
		if err != nil {
			return nil, "", usage("reading the checklist "+file+": "+err.Error(), "correct it, or move it away")
		}
		before = append(before, list)
	}
	if o.checklist != "" {
		file = o.checklist
		if data, err := os.ReadFile(file); err == nil {
			list, err := adopt.ParseChecklist(data)
			if err != nil {
				return nil, "", usage("reading the checklist "+file+": "+err.Error(), "name a file that is not there yet")
			}
			before = append(before, list)
		}
	}
	return before, file, nil
}

// given are the values of candidates that cannot be read.
func (a *app) given(in *adopt.Input, candidates []*adopt.Candidate, files []string) error {
	for _, named := range files {
		name, file, found := strings.Cut(named, "=")
		if !found || name == "" || file == "" {
			return usage("--from-file is not NAME=FILE", "name the candidate and the file with its value, for example --from-file npm-token=token.txt")
		}
		if !slices.ContainsFunc(candidates, func(c *adopt.Candidate) bool { return c.Name == name && c.How == adopt.Task }) {
			return usage(fmt.Sprintf("there is no candidate %q whose value is wanted", visible(name)), "`custody adopt DIR --dry-run` lists the candidates")
		}
		if !in.Given[name].Empty() {
			return usage("the value of "+visible(name)+" is given twice", "name each candidate once with --from-file")
		}
		var text []byte
		var err error
		if file == "-" {
			text, err = io.ReadAll(io.LimitReader(a.in, secret.MaxBytes+1))
		} else {
			text, err = readValue(file)
		}
		if err != nil {
			return fmt.Errorf("reading the value of %s: %w", name, err)
		}
		if text, err = a.edges(text, false); err != nil {
			return err
		}
		if in.Given[name], err = oneField("", text); err != nil {
			return err
		}
	}
	return nil
}

// candidateNames are those that can be chosen.
func candidateNames(candidates []*adopt.Candidate) []string {
	names := map[string]bool{}
	for _, c := range candidates {
		names[c.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
