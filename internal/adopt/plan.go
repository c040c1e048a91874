// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/secret"
)

// Plan is what an adoption writes, and what it leaves to people.
type Plan struct {
	Candidates []*Candidate `json:"candidates"`
	Documents  []Document   `json:"documents"`
	// Folders are those of the host that deliver the files, by name.
	Folders   []Folder  `json:"folders,omitempty"`
	Files     []File    `json:"files,omitempty"`
	Checklist Checklist `json:"checklist"`
}

// Document is a file of the estate that is to be written.
type Document struct {
	// Path is relative to the estate.
	Path string `json:"path"`
	// Secret is the ManagedSecret that it declares, "" for another kind.
	Secret string `json:"secret,omitempty"`
	Text   []byte `json:"-"`
	// ValuePath and Value are what is sealed for the secret; nothing for one that is computed.
	ValuePath string       `json:"-"`
	Value     secret.Value `json:"-"`
}

// Folder is a folder of the host.
type Folder struct {
	Name string `json:"name"`
	Path string `json:"path"`
	// New: the host file does not have it.
	New bool `json:"new"`
}

// File is one that is delivered to where it stands.
type File struct {
	Path   string `json:"path"`
	Secret string `json:"secret"`
	Folder string `json:"folder"`
	Mode   string `json:"mode"`
	// Whole: it is sealed as a whole, because no template gives its bytes.
	Whole bool `json:"whole,omitempty"`
	// Readable are the variables whose values can be read in the document, Bare those whose next values must need no escaping.
	Readable []string `json:"readable,omitempty"`
	Bare     []string `json:"bare,omitempty"`
	Tracked  bool     `json:"tracked,omitempty"`
}

type planner struct {
	Input
	all   []*Candidate
	named map[string]bool
	read  map[string]reading
	plan  *Plan
	// files are those that are delivered in place, in order.
	files []string
}

type reading struct {
	whole secret.Value
	held  []discover.Held
}

// Make plans the adoption of candidates.
func Make(in Input, candidates []*Candidate) (*Plan, error) {
	p := &planner{Input: in, all: candidates, named: map[string]bool{}, read: map[string]reading{}, plan: &Plan{Candidates: candidates, Documents: []Document{}}}
	for _, step := range []func() error{p.choose, p.values, p.call, p.documents, p.inPlaceFiles} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.policy()
	p.checklist()
	return p.plan, nil
}

// choose says which candidates are adopted: the chosen ones, and all that are in a file with one of them, because a file is
// delivered as a whole.
func (p *planner) choose() error {
	take := map[*Candidate]bool{}
	var queue []*Candidate
	for _, c := range p.all {
		if c.Choosable() && p.Choices[c.Name] == Take {
			queue = append(queue, c)
		}
	}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		if take[c] {
			continue
		}
		take[c] = true
		for _, file := range c.files() {
			if as := p.Adopted[fileKey(file)]; as != "" {
				return &Error{Doing: "adopting " + c.Name, Class: ErrInput, Detail: fmt.Sprintf("%s holds it, and was adopted before as %s", file, as),
					Next: "add it to the document " + as + " by hand: seal the value for a secret of its own, and name that in the template"}
			}
			if !slices.Contains(p.files, file) {
				p.files = append(p.files, file)
			}
			for _, other := range p.all {
				if take[other] || !other.Choosable() || !slices.Contains(other.files(), file) {
					continue
				}
				switch p.Choices[other.Name] {
				case Refuse:
				case Leave:
					return &Error{Doing: "adopting " + c.Name, Class: ErrInput, Detail: fmt.Sprintf("%s is to be left, and stands in %s with it, which is delivered as a whole", other.Name, file),
						Next: "adopt both, leave both, or say that " + other.Name + " is no secret"}
				default:
					queue = append(queue, other)
				}
			}
		}
	}
	slices.Sort(p.files)
	for _, c := range p.all {
		switch {
		case !c.Choosable() || take[c]:
		case p.Choices[c.Name] == Refuse:
			c.How = NoSecret
		default:
			c.How = Left
		}
	}
	return nil
}

// taken are the candidates that are adopted now.
func (p *planner) taken() (list []*Candidate) {
	for _, c := range p.all {
		if c.Choosable() {
			list = append(list, c)
		}
	}
	return list
}

// again reads a file once more.
func (p *planner) again(file string) (reading, error) {
	if got, done := p.read[file]; done {
		return got, nil
	}
	whole, held, err := p.Read(file)
	if err != nil {
		return reading{}, &Error{Doing: "adopting", Class: ErrChanged, Detail: err.Error(), Next: "put the file back, or make it readable, and run the command again"}
	}
	p.read[file] = reading{whole, held}
	return p.read[file], nil
}

// values takes the values from the places. Each place must still hold what it held.
func (p *planner) values() error {
	for _, c := range p.taken() {
		if c.How == Task {
			c.value = p.Given[c.Name]
			if !c.value.Empty() {
				c.How, c.input, c.fields = Sealed, c.value, c.value.Names()
			}
			continue
		}
		if !p.Given[c.Name].Empty() {
			return &Error{Doing: "adopting " + c.Name, Class: ErrInput, Detail: "its value is in " + c.held[0].Text() + ", and another one is given",
				Next: "leave --from-file out for it, and supply the new value afterwards"}
		}
		for _, place := range c.held {
			got, err := p.again(place.File)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(got.held, func(h discover.Held) bool {
				return h.Source == place.Source && h.Name == place.Name && h.Line == place.Line && p.Digest(h.Value) == place.Digest
			})
			if i < 0 {
				return &Error{Doing: "adopting " + c.Name, Class: ErrChanged, Detail: fmt.Sprintf("%s does not hold what it held a moment ago", place.Text()),
					Next: "run the command again when nobody changes the file"}
			}
			c.value = got.held[i].Value
		}
		if err := p.fieldsOf(c); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf gives a candidate the fields of its value: a user name and a password where addresses have both.
func (p *planner) fieldsOf(c *Candidate) error {
	users := map[string]bool{}
	for _, place := range c.held {
		if place.Source != "dotenv" {
			continue
		}
		if raw := rawOf(p.read[place.File].whole, place); raw != "" {
			if _, _, _, _, is := inAddress(raw); is {
				user, at := addressed(raw)
				users[user] = true
				if c.server == nil {
					c.server = at
				}
				c.user = user
			}
		}
	}
	fields := map[string]string{secret.SingleField: c.value.ExposeText(secret.SingleField)}
	if len(users) == 1 && c.user != "" {
		fields = map[string]string{"username": c.user, "password": fields[secret.SingleField]}
	} else {
		c.server = nil
	}
	v, err := secret.Text(fields)
	if err == nil {
		err = v.Fits()
	}
	if err != nil {
		return &Error{Doing: "adopting " + c.Name, Class: ErrInput, Detail: err.Error(), Next: "leave it: Custody keeps no value of that size"}
	}
	c.input, c.fields = v, v.Names()
	return nil
}

// call names what is adopted.
func (p *planner) call() (err error) {
	for _, c := range p.taken() {
		if c.How == Task {
			continue
		}
		if chosen := p.Names[c.Name]; chosen != "" {
			c.As, err = p.chosen(chosen, c.Name)
		} else {
			c.As = p.name(c.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fileKey is what a document says of a file that it adopted as a whole.
func fileKey(file string) string { return "file " + oneLine(file) }

// inPlaceFiles plans the delivery of files to where they stand.
func (p *planner) inPlaceFiles() error {
	for _, file := range p.files {
		got, err := p.again(file)
		if err != nil {
			return err
		}
		if got.whole.Empty() {
			return &Error{Doing: "adopting " + file, Class: ErrInput, Detail: "the file is larger than a secret may be", Next: "take what is no setting out of the file, or leave its secrets"}
		}
		folder, err := p.folder(file)
		if err != nil {
			return err
		}
		as, err := p.Look(file)
		if err != nil {
			return &Error{Doing: "adopting " + file, Class: ErrChanged, Detail: err.Error(), Next: "put the file back and run the command again"}
		}
		mode := as.Mode.Perm() &^ 0o133
		one := File{Path: file, Folder: folder, Mode: fmt.Sprintf("%04o", mode), Tracked: p.tracked(file)}
		if mode&0o400 == 0 {
			return &Error{Doing: "adopting " + file, Class: ErrInput, Detail: "its owner may not read it", Next: "run `chmod u+r` on it first"}
		}
		p.consume(file, &one, as, got)
		p.plan.Files = append(p.plan.Files, one)
	}
	return nil
}

// consume writes the documents of one file.
func (p *planner) consume(file string, one *File, as Attributes, got reading) {
	owner := p.ownerOf(p.in(file)[0])
	d := draft{owner: owner, consumer: &consumer{name: p.reader(file), file: *one, base: path.Base(file), attributes: as}, adopted: []string{fileKey(file)}}
	if p.in(file)[0].found.Owner.Why != "" && p.Owner.Team == "" {
		d.comments = append(d.comments, "Owner: a guess from "+oneLine(p.in(file)[0].found.Owner.Why)+".")
	}
	var holes []hole
	for _, c := range p.in(file) {
		for _, place := range c.held {
			if place.File == file && place.Source == "dotenv" {
				holes = append(holes, hole{place.Name, place.Line, c})
			}
		}
	}
	name := p.name(p.fileName(file))
	if len(holes) > 0 {
		settings := name + "-settings"
		if p.Estate.Names[settings] || p.named[settings] || p.Paths[prefix+settings] {
			settings = p.name(name + " settings")
		}
		if l, ok := lay(got.whole, holes, settings); ok {
			p.laid(file, name, settings, l, d, one)
			return
		}
		one.Whole = true
		d.comments = append(d.comments, "No template gives the bytes of this file, so it is one value: supply the whole file to change it.")
	}
	d.name, d.value = name, got.whole
	d.purpose = "The file " + oneLine(file) + ", as it was found."
	d.consumer.field = secret.SingleField
	one.Secret = name
	for _, c := range p.in(file) {
		d.adopted = append(d.adopted, keysIn(c, file)...)
		if slices.Equal(c.files(), []string{file}) { // it has no document of its own
			p.without(c, name)
		}
	}
	p.add(d)
}

// without takes the document of a candidate out of the plan: a file that is one value has it.
func (p *planner) without(c *Candidate, as string) {
	p.plan.Documents = slices.DeleteFunc(p.plan.Documents, func(d Document) bool { return d.Secret == c.As })
	c.As = as
}

// laid adds the documents of a file that is computed.
func (p *planner) laid(file, name, settings string, l *layout, d draft, one *File) {
	if len(l.sealed) > 0 {
		p.named[settings] = true
		p.add(draft{name: settings, owner: d.owner, value: l.values[ownInput], purpose: "What " + oneLine(file) + " has beside its secrets: settings and comments that were not shown in a document.",
			comments: []string{"Each field is a piece of the file, as it stands there."}})
	}
	d.name, d.inputs, d.template = name, l.inputs, l.template
	d.purpose = "The file " + oneLine(file) + ", computed from its secrets."
	d.consumer.field = fileField
	for _, bare := range l.bare {
		d.comments = append(d.comments, bare+" is not escaped: choose new values of letters and digits.")
	}
	one.Secret, one.Readable, one.Bare = name, l.readable, l.bare
	p.add(d)
}

// in are the candidates that are adopted and stand in a file.
func (p *planner) in(file string) (list []*Candidate) {
	for _, c := range p.taken() {
		if slices.Contains(c.files(), file) {
			list = append(list, c)
		}
	}
	return list
}

func (p *planner) tracked(file string) bool {
	for _, c := range p.all {
		for _, place := range c.held {
			if place.File == file {
				return place.Tracked
			}
		}
	}
	return false
}

// reader is what the consumer of a file is called: the one service that is known to read it.
func (p *planner) reader(file string) string {
	var names []string
	for _, c := range p.in(file) {
		for _, place := range c.found.Consumers {
			_, by, named := strings.Cut(place.By, " ")
			if by = slug(by); named && by != "" && place.Role == clue.Uses && place.Name == file && !slices.Contains(names, by) {
				names = append(names, by)
			}
		}
	}
	if len(names) == 1 && v1alpha1.WellNamed(names[0]) {
		return names[0]
	}
	return "app"
}

// folder is the folder of the host that a file is delivered to: one that is there, or a new one.
func (p *planner) folder(file string) (string, error) {
	at := filepath.Join(p.Root, filepath.Dir(filepath.FromSlash(file)))
	for _, what := range slices.Sorted(mapsKeys(p.Private)) {
		if private := p.Private[what]; private != "" && (within(private, at) || within(at, private)) {
			return "", &Error{Doing: "adopting " + file, Class: ErrFolder, Detail: fmt.Sprintf("its folder %s and %s (%s) lie one inside the other: whoever can write to the estate could then replace what the platform lives on", at, what, private),
				Next: "make the platform beside the folder of the application, not in it (`custody init PLATFORM-DIR`), and name its estate with --estate"}
		}
	}
	for _, f := range p.plan.Folders {
		if f.Path == at {
			return f.Name, nil
		}
	}
	for _, name := range slices.Sorted(mapsKeys(p.Folders)) {
		if p.Folders[name] == at {
			p.plan.Folders = append(p.plan.Folders, Folder{name, at, false})
			return name, nil
		}
	}
	base := slug(filepath.Base(at))
	if base == "" {
		base = "app"
	}
	name := base
	taken := func() bool {
		_, known := p.Folders[name]
		return known || slices.ContainsFunc(p.plan.Folders, func(f Folder) bool { return f.Name == name })
	}
	for n := 2; taken(); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	p.plan.Folders = append(p.plan.Folders, Folder{name, at, true})
	return name, nil
}

// within reports whether path is folder or lies beneath it.
func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(relative)
}
