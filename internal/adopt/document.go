// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/dotenv"
	"custody.dev/custody/internal/secret"
)

// Annotation is what a document says it adopted: a line for each place.
const Annotation = "adopted-from"

func mapsKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// draft is a ManagedSecret that is to be written.
type draft struct {
	name, purpose string
	owner         Owner
	comments      []string
	adopted       []string
	// value is sealed; without one the secret is computed from inputs.
	value    secret.Value
	inputs   map[string]string
	template string
	consumer *consumer
}

type consumer struct {
	name, base, field string
	file              File
	attributes        Attributes
}

// add renders a draft.
func (p *planner) add(d draft) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, c := range d.comments {
		line("# %s", c)
	}
	line("apiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata:\n  name: %s", scalar(d.name))
	if len(d.adopted) > 0 {
		line("  annotations:\n    # What was adopted: custody adopt does not take it again.\n    %s:%s", Annotation, block(strings.Join(d.adopted, "\n")+"\n", 6))
	}
	line("spec:\n  purpose: %s\n  owner:\n    team: %s\n    contact: %s", scalar(d.purpose), scalar(d.owner.Team), scalar(d.owner.Contact))
	path := prefix + d.name
	if d.value.Empty() {
		line("  class: derived\n  path: %s\n  origin:\n    derived:\n      inputs:", path)
		for _, input := range slices.Sorted(maps.Keys(d.inputs)) {
			line("        %s: %s", input, scalar(d.inputs[input]))
		}
		line("      fields:\n        %s:%s", fileField, block(d.template, 10))
	} else {
		line("  class: runtime\n  path: %s\n  origin:\n    bootstrap:\n      secretRef: %s", path, scalar(d.name))
		line("  rotation:\n    policyRef: %s", p.static())
	}
	if c := d.consumer; c != nil {
		line("  consumers:\n    - name: %s\n      file:\n        folder: %s\n        path: %s\n        format: raw\n        field: %s\n        mode: %q", c.name, c.file.Folder, scalar(c.base), c.field, c.file.Mode)
		if c.attributes.User != "" {
			line("        user: %s", scalar(c.attributes.User))
		}
		if c.attributes.Group != "" {
			line("        group: %s", scalar(c.attributes.Group))
		}
		line("        # A reload or a check of the host file makes the program read a new version, and shows that it did:\n        # reload: NAME")
	}
	p.plan.Documents = append(p.plan.Documents, Document{Path: "secrets/" + d.name + ".yaml", Secret: d.name, Text: []byte(b.String()), ValuePath: path, Value: d.value})
}

// scalar is text as YAML reads it back.
func scalar(text string) string {
	data, err := yaml.Marshal(text)
	if err != nil || strings.Contains(strings.TrimSuffix(string(data), "\n"), "\n") {
		return strconv.Quote(text)
	}
	return strings.TrimSuffix(string(data), "\n")
}

// block is text after a key of YAML, each further line indented.
func block(text string, indent int) string {
	data, err := yaml.Marshal(map[string]string{"x": text})
	if err != nil {
		return " " + strconv.Quote(text)
	}
	_, made, _ := strings.Cut(strings.TrimSuffix(string(data), "\n"), ":")
	lines := strings.Split(made, "\n")
	for i := 1; i < len(lines); i++ {
		if lines[i] != "" {
			lines[i] = strings.Repeat(" ", indent-4) + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// documents writes a ManagedSecret for each value that is adopted.
func (p *planner) documents() error {
	for _, c := range p.taken() {
		owner := p.ownerOf(c)
		if owner.Team == "" {
			return &Error{Doing: "adopting " + c.Name, Class: ErrOwner, Detail: "nothing in the folder says who owns it", Next: "name a team with --owner TEAM"}
		}
		c.Owner = owner.Team
		if c.How == Task {
			continue
		}
		d := draft{name: c.As, owner: owner, value: c.input, purpose: fmt.Sprintf("Found as %s (%s); say here what it opens.", c.Name, oneLine(c.Kind))}
		if c.found.Owner.Why != "" && p.Owner.Team == "" && p.Owners[c.Name].Team == "" {
			d.comments = append(d.comments, "Owner: a guess from "+oneLine(c.found.Owner.Why)+".")
		}
		for _, risk := range c.found.Risks {
			d.comments = append(d.comments, "Found "+string(risk.Level)+": "+oneLine(risk.Text)+".")
		}
		d.comments = append(d.comments, p.suggestion(c)...)
		for _, place := range c.Places {
			d.adopted = append(d.adopted, place.Key())
		}
		p.add(d)
	}
	return nil
}

// postgres are the schemes of addresses of PostgreSQL.
var postgres = []string{"postgres", "postgresql"}

// PostgresPage is where it is written how one account becomes two that take turns.
const PostgresPage = "docs/upstreams/postgres.md"

// suggestion is how the secret could be rotated, as comments: nothing of it has an effect.
func (p *planner) suggestion(c *Candidate) []string {
	const static = "Custody does not rotate it by itself. "
	if c.server == nil || !slices.Contains(postgres, c.server.scheme) {
		switch {
		case strings.Contains(c.Kind, "certificate"), strings.Contains(c.Kind, "key"):
			return []string{static + "Before it ends, or once a year: custody supply " + c.As + " --reason TEXT"}
		}
		return []string{static + "A type of upstream may be able to: docs/upstreams/README.md. By hand: custody supply " + c.As + " --reason TEXT"}
	}
	tls := "verify-full"
	if mode := c.server.query.Get("sslmode"); mode == "require" || mode == "verify-ca" {
		tls = mode
	}
	lines := []string{
		static + "It is the account " + oneLine(c.user) + " of a PostgreSQL server. Proposed, once there is an admin account;",
		"how one account becomes two that take turns, without a refused sign-in: " + PostgresPage,
		"  kind: Upstream",
		"  metadata: {name: " + scalar(slug(c.server.host)) + "}",
		"  spec:",
		"    adminRef: ADMIN-SECRET",
		fmt.Sprintf("    postgres: {host: %s, port: %s, database: %s, tls: %s}", scalar(c.server.host), or(c.server.port, "5432"), scalar(or(c.server.database, "postgres")), tls),
		"and here, under rotation:",
		"    upstreamRef: " + scalar(slug(c.server.host)),
		"    postgres: {mode: alternate, owner: " + scalar(c.user+"_owner") + "}",
	}
	for i := range lines {
		lines[i] = oneLineKeeping(lines[i])
	}
	return lines
}

// oneLineKeeping is oneLine that keeps what a line begins with.
func oneLineKeeping(text string) string {
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	return indent + oneLine(strings.TrimLeft(text, " "))
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// ownerOf is who owns a candidate: who was named, else the guess of discover, else whoever is named for the rest.
func (p *planner) ownerOf(c *Candidate) Owner {
	if owner := p.Owners[c.Name]; owner.Team != "" {
		return owner.whole()
	}
	if p.Owner.Team != "" {
		return p.Owner.whole()
	}
	guess := oneLine(c.found.Owner.Name)
	if name, mail, is := strings.Cut(guess, " <"); is {
		return Owner{name, strings.TrimSuffix(mail, ">")}.whole()
	}
	if names := strings.Fields(guess); len(names) > 0 {
		return Owner{strings.TrimPrefix(names[0], "@"), names[0]}.whole()
	}
	return p.Else.whole()
}

func (o Owner) whole() Owner { return Owner{o.Team, or(o.Contact, o.Team)} }

// static is the policy of what is adopted.
func (p *planner) static() string { return or(p.Static, "adopted") }

// policy adds the policy that adopted secrets have, where the estate has none that rotates nothing by itself.
func (p *planner) policy() {
	if p.Static != "" || !slices.ContainsFunc(p.plan.Documents, func(d Document) bool { return !d.Value.Empty() }) {
		return
	}
	p.plan.Documents = append(p.plan.Documents, Document{Path: "policies/adopted.yaml", Text: []byte(`# Nothing is rotated by the clock until somebody chooses another policy for it.
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata:
  name: adopted
spec:
  rotationType: static
`)})
}

// rawOf is what stands for a variable in a file, quotes included.
func rawOf(whole secret.Value, place discover.Place) string {
	text := whole.ExposeText(secret.SingleField)
	for _, e := range dotenv.Entries([]byte(text)) {
		if e.Name == place.Name && e.Line == place.Line {
			return text[e.From:e.To]
		}
	}
	return ""
}

// keysIn are the keys of a candidate's places in a file.
func keysIn(c *Candidate, file string) (keys []string) {
	for _, place := range c.Places {
		if place.File == file {
			keys = append(keys, place.Key())
		}
	}
	return keys
}
