// SPDX-License-Identifier: Apache-2.0

// Package scaffold writes the documents and keys that people start with: a whole platform in a folder, and sealed
// documents for secrets that they already have.
//
// Guaranteed: what it writes lints. It overwrites nothing (it adds lines to a .gitignore, and replaces a sealed
// document by one with the same fields and the new one). After an error the folder is as it was. No error contains a
// value. Not guaranteed: that a crash leaves no folder .custody-init-*; such a folder is private, Git ignores it, and
// you can delete it.
//
// Cost: three key generations and, for each imported variable, one sealing and two fsyncs.
package scaffold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/grant"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/upstream"
)

// Classes of failure, found with errors.Is.
var (
	// ErrExists: something stands where a file would be written. Nothing was written.
	ErrExists = errors.New("it exists already")
	// ErrInput: what was given cannot be used. Nothing was written.
	ErrInput = errors.New("it cannot be used as given")
	// ErrNotGranted: the estate asks for what the operator has not granted. Nothing was written.
	ErrNotGranted = errors.New("it is not granted")
	// ErrNotDeclared: the estate does not declare it.
	ErrNotDeclared = errors.New("it is not declared")
)

// Codec seals and opens bootstrap documents.
type Codec interface {
	Seal(ctx context.Context, doc root.Document, recipients []string) ([]byte, error)
	Open(ctx context.Context, raw []byte, identities []root.Identity) (root.Document, error)
}

// Config is what the package needs from outside.
type Config struct {
	Codec Codec
	Now   func() time.Time
	// Types are the types of upstream that documents may name.
	Types upstream.Types
}

// Platform describes what Init makes.
type Platform struct {
	// Dir is the folder; it may exist.
	Dir string
	// Name and Environment of the platform.
	Name, Environment string
	// Team and Contact own every secret until somebody edits the documents.
	Team, Contact string
	// Import is sealed into the estate.
	Import []Variable
}

// Made says what Init wrote.
type Made struct {
	// HostFile, Estate, RootKey, Imported, Dotenv and Example are paths that begin with the platform's Dir; the last three are
	// empty when there is none. Dotenv is the one file with all imported variables.
	HostFile, Estate, RootKey string
	Imported, Dotenv, Example string
	// RootRecipient is the public key of the root.
	RootRecipient string
	// GitIgnore says that lines were added to a .gitignore that was there.
	GitIgnore bool
}

// Names of what Init writes in the platform's folder.
const (
	hostFile   = "custody.yaml"
	grantsFile = "grants.yaml"
	estateDir  = "estate"
	keysDir    = "keys"
	stateDir   = "state"
	runDir     = "run"
	sopsFile   = ".sops.yaml"
	ignore     = ".gitignore"
)

// exampleName is the example's, unless an imported variable has that name.
const exampleName = "example-token"

// document is the mode of what is no key.
var document = durable.Attributes{Mode: 0o644, UID: durable.Keep, GID: durable.Keep}

// Init makes a platform. The folder is made when absent.
func Init(ctx context.Context, c Config, p Platform) (Made, error) {
	if err := p.check(); err != nil {
		return Made{}, err
	}
	_, err := os.Lstat(p.Dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return Made{}, fmt.Errorf("making platform: %w", err)
	}
	result, err := initIn(ctx, c, p)
	if err != nil && made {
		_ = os.Remove(p.Dir) // empty again, or not ours
	}
	return result, err
}

func initIn(ctx context.Context, c Config, p Platform) (Made, error) {
	if err := free(p.Dir); err != nil {
		return Made{}, err
	}
	staging, err := os.MkdirTemp(p.Dir, ".custody-init-")
	if err != nil {
		return Made{}, fmt.Errorf("making platform: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	if err := os.WriteFile(filepath.Join(staging, ignore), []byte("*\n"), 0o600); err != nil {
		return Made{}, fmt.Errorf("making platform: %w", err)
	}
	fresh := filepath.Join(staging, "new")
	made, err := write(ctx, c, p, fresh)
	if err != nil {
		return Made{}, err
	}
	if err := lint(fresh, c.Types, p); err != nil {
		return Made{}, err
	}
	if made.GitIgnore, err = place(fresh, p.Dir); err != nil {
		return Made{}, err
	}
	made.HostFile, made.Estate = filepath.Join(p.Dir, hostFile), filepath.Join(p.Dir, estateDir)
	made.RootKey = filepath.Join(p.Dir, keysDir, "root.agekey")
	return made, nil
}

func (p Platform) check() error {
	for _, n := range []struct{ what, name string }{{"platform", p.Name}, {"environment", p.Environment}} {
		if !v1alpha1.WellNamed(n.name) {
			return &root.Error{Doing: fmt.Sprintf("naming the %s %q", n.what, n.name), Class: ErrInput,
				Next: "choose lower-case letters, digits and single hyphens, 63 at most"}
		}
	}
	for _, text := range []string{p.Team, p.Contact} {
		if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
			return &root.Error{Doing: "naming the owner", Class: ErrInput, Detail: "team and contact are one line of text each",
				Next: "give --team and --contact"}
		}
	}
	return nil
}

// write makes all files in dir.
func write(ctx context.Context, c Config, p Platform, dir string) (Made, error) {
	folder, err := durable.Make(dir)
	if err != nil {
		return Made{}, fmt.Errorf("making platform: %w", err)
	}
	defer func() { _ = folder.Close() }()
	var failed error
	put := func(name string, data []byte, as durable.Attributes) {
		if failed == nil {
			failed = folder.MakeParents(name)
		}
		if failed == nil {
			failed = folder.Replace(name, data, as)
		}
	}
	public := map[string]string{}
	for _, name := range []string{"root", "bootstrap", "unseal"} {
		identity, err := root.NewIdentity()
		if err != nil {
			return Made{}, err
		}
		public[name] = identity.Public()
		put(filepath.Join(keysDir, name+".agekey"), identity.ExposeFile(c.Now()), durable.Private)
	}
	made := Made{RootRecipient: public["root"]}
	facts := facts{
		Platform: p.Name, Environment: p.Environment, Team: p.Team, Contact: p.Contact,
		Root: public["root"], Bootstrap: public["bootstrap"], Imports: len(p.Import) > 0,
	}
	for _, name := range []string{hostFile, estateDir + "/platform.yaml", estateDir + "/policies.yaml", sopsFile, ignore} {
		put(name, render(filepath.Base(name), facts), document)
	}
	put(grantsFile, grant.Format(string(render(grantsFile, facts)), []grant.Grant{
		{Kind: grant.Recipient, Of: grant.Root, To: facts.Root}, {Kind: grant.Recipient, Of: p.Environment, To: facts.Bootstrap},
	}), document)
	mkdir := func(name string) {
		if failed == nil {
			failed = folder.MakeParents(filepath.Join(runDir, name, "file"))
		}
	}
	mkdir("app")
	if !named(p.Import, exampleName) {
		facts.Secret = exampleName
		put(estateDir+"/secrets/"+exampleName+".yaml", render("example.yaml", facts), document)
		made.Example = filepath.Join(p.Dir, runDir, "app", "example.env")
	}
	for _, variable := range p.Import {
		sealed, err := c.Codec.Seal(ctx, root.Document{
			Name: variable.Secret, Seeds: variable.Secret, Value: variable.Value,
			Binding: v1alpha1.Binding{Platform: p.Name, Secret: variable.Secret, Path: importedPath(variable.Secret)},
		}, []string{facts.Root, facts.Bootstrap})
		if err != nil {
			return Made{}, fmt.Errorf("sealing %s: %w", variable.Name, err)
		}
		facts.Secret, facts.Variable, facts.Path = variable.Secret, variable.Name, importedPath(variable.Secret)
		put(estateDir+"/secrets/"+variable.Secret+".yaml", render("imported.yaml", facts), document)
		put(estateDir+"/bootstrap/"+variable.Secret+".yaml", sealed, document)
		made.Imported = filepath.Join(p.Dir, runDir, "imported")
	}
	if made.Imported != "" {
		facts.Secret, facts.All = dotenvName(p.Import), p.Import
		facts.Path = importedPath(facts.Secret)
		put(estateDir+"/secrets/"+facts.Secret+".yaml", render("dotenv.yaml", facts), document)
		made.Dotenv = filepath.Join(made.Imported, ".env")
		mkdir("imported")
	}
	if failed != nil {
		return Made{}, fmt.Errorf("making platform: %w", failed)
	}
	return made, nil
}

// dotenvName is a name that no imported variable and not the example has.
func dotenvName(variables []Variable) string {
	name := "dotenv"
	for named(variables, name) {
		name += "-all"
	}
	return name
}

// importedPath is where an imported secret's value lives in the authority.
func importedPath(name string) string { return "imported/" + name }

// lint holds what was written to the rules that users' estates are held to.
func lint(dir string, types upstream.Types, p Platform) error {
	host, faults, err := intent.LoadHost(filepath.Join(dir, hostFile))
	if err != nil {
		return fmt.Errorf("making platform: %w", err)
	}
	faults = slices.DeleteFunc(faults, func(f intent.Fault) bool { return f.Rule == intent.RuleSocket }) // of the path where it is made
	if len(faults) == 0 {
		_, faults, err = intent.Load(filepath.Join(dir, estateDir), intent.Options{Environment: p.Environment, Types: types, Host: &host.Spec})
		if err != nil {
			return fmt.Errorf("making platform: %w", err)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	texts := make([]string, len(faults))
	for i, fault := range faults {
		texts[i] = fault.Subject + ": " + fault.Reason + " [" + fault.Rule + "]"
	}
	return &root.Error{Doing: "making platform", Class: ErrInput, Detail: "its documents would not lint: " + strings.Join(texts, "; "),
		Next: "choose other names; " + faults[0].Fix}
}
