// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/plaintext"
	"custody.dev/custody/internal/secret"
)

// consumerRules check all consumers, since two of them may meet in one file.
func (c *checker) consumerRules(v *view) {
	files, onHost := newPlaces(), newPlaces()
	for _, d := range v.secrets {
		spec := d.value.(*v1alpha1.ManagedSecret).Spec
		seen := map[string]bool{}
		for i, consumer := range spec.Consumers {
			t := at("spec", "consumers", i)
			switch {
			case consumer.Name == "":
			case !v1alpha1.WellNamed(consumer.Name):
				c.fault(d, "consumer-name", t.to("name"), fmt.Sprintf("the consumer name %s is not well-formed", plaintext.Show(consumer.Name)), "")
			case seen[consumer.Name]:
				c.fault(d, "consumer-name", t.to("name"), fmt.Sprintf("the consumer name %s is given twice", consumer.Name), "")
			}
			seen[consumer.Name] = true
			c.proofRules(d, t, consumer)
			if consumer.File == nil {
				c.fault(d, "consumer-kind", t, "the consumer does not say where to deliver to", "")
				continue
			}
			c.machineRules(d, t, consumer)
			t = t.to("file")
			c.fileRules(d, t, *consumer.File)
			c.hostRules(d, t, consumer)
			c.formatRules(d, t, *consumer.File, fields(spec))
			if d.leaving { // it gives its file to who is declared; see giveFiles
				continue
			}
			if !c.shared(d, t, consumer, files, "/"+consumer.Machine+":"+consumer.File.Folder+":") && c.options.Host != nil && consumer.Machine == "" {
				if folder, ok := c.options.Host.Folders[consumer.File.Folder]; ok {
					c.shared(d, t, consumer, onHost, filepath.ToSlash(folder))
				}
			}
		}
	}
}

func (c *checker) proofRules(d *document, t trail, consumer v1alpha1.ConsumerSpec) {
	if consumer.Proof == "" {
		return
	}
	level, err := materialize.ParseLevel(consumer.Proof)
	switch highest := highest(consumer); {
	case err != nil:
		c.fault(d, "proof-level", t.to("proof"), "there is no proof level "+plaintext.Show(consumer.Proof), "")
	case consumer.File != nil && level > highest:
		c.fault(d, "proof-unreachable", t.to("proof"), fmt.Sprintf("the consumer can prove %s at most, not %s", highest, level), "")
	}
}

// highest is the most that a consumer can show as declared: without a check nobody looks at what the process runs on.
func highest(consumer v1alpha1.ConsumerSpec) materialize.Level {
	if consumer.File != nil && consumer.File.Check != "" {
		return materialize.Observed
	}
	return materialize.Delivered
}

// plainPath reports whether p is a path beneath a folder, written in the one way there is.
func plainPath(p string) bool {
	return filepath.IsLocal(p) && path.Clean(p) == p && p != "." && !strings.ContainsAny(p, "\\\n\t")
}

var modeForm = lazyregexp.New(`^0?[0-7]{3}$`)

func (c *checker) fileRules(d *document, t trail, file v1alpha1.FileConsumer) {
	if file.Folder != "" && !v1alpha1.WellNamed(file.Folder) {
		c.fault(d, "file-path", t.to("folder"), "the folder is not a name", "")
	}
	if file.Path != "" && !plainPath(file.Path) {
		c.fault(d, "file-path", t.to("path"), "the path is not a plain path inside the folder", "")
	}
	if materialize.Reserved(path.Base(file.Path)) {
		c.fault(d, "file-path", t.to("path"), fmt.Sprintf("the name %s is one that Custody keeps for itself", plaintext.Show(path.Base(file.Path))), "")
	}
	if file.Mode != "" {
		mode, err := strconv.ParseUint(file.Mode, 8, 32)
		switch {
		case err != nil || !modeForm.MatchString(file.Mode):
			c.fault(d, "file-mode", t.to("mode"), "the mode is not three octal digits, with or without a 0 before them", "")
		case mode&0o022 != 0:
			c.fault(d, "file-mode", t.to("mode"), "the mode lets group or others write", "")
		case fs.FileMode(mode)&materialize.ForbiddenMode != 0:
			c.fault(d, "file-mode", t.to("mode"), "the mode lets somebody run the file", "")
		case mode&0o400 == 0:
			c.fault(d, "file-mode", t.to("mode"), "the mode does not let the owner read", "")
		}
	}
}

// machineRules check the machine that a consumer is on, where that is not the server's.
func (c *checker) machineRules(d *document, t trail, consumer v1alpha1.ConsumerSpec) {
	if consumer.Machine == "" {
		return
	}
	if !v1alpha1.WellNamed(consumer.Machine) {
		c.fault(d, "machine-name", t.to("machine"), fmt.Sprintf("the name of the machine %s is not well-formed", plaintext.Show(consumer.Machine)), "")
	}
	if host := c.options.Host; host != nil && host.Agents == nil {
		c.here(d, consumer, RuleMachineAgents, t.to("machine"), "the consumer is on another machine, and the host file has no agents")
	}
}

// hostRules find what this machine alone gets wrong. What another machine has, its agent knows.
func (c *checker) hostRules(d *document, t trail, consumer v1alpha1.ConsumerSpec) {
	host, file := c.options.Host, consumer.File
	if host == nil || consumer.Machine != "" {
		return
	}
	names := []struct {
		step, name string
		known      []string
	}{
		{"folder", file.Folder, slices.Sorted(maps.Keys(host.Folders))},
		{"reload", file.Reload, slices.Sorted(maps.Keys(host.Reloads))},
		{"check", file.Check, slices.Sorted(maps.Keys(host.Checks))},
	}
	for _, n := range names {
		if n.name != "" && !slices.Contains(n.known, n.name) {
			c.here(d, consumer, "host-name", t.to(n.step), fmt.Sprintf("the host has no %s %s (it has: %s)", n.step, plaintext.Show(n.name), listed(n.known)))
		}
	}
	for _, owner := range []struct{ step, name string }{{"user", file.User}, {"group", file.Group}} {
		if owner.name != "" && !c.options.Privileged {
			c.here(d, consumer, "file-owner", t.to(owner.step), owner.step+" is set, and the host's process is not privileged")
		}
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

var envKey = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// formatRules check what is written. have are the value's fields, nil when they cannot be told.
func (c *checker) formatRules(d *document, t trail, file v1alpha1.FileConsumer, have []string) {
	if file.Reader != "" {
		switch known := materialize.EnvReaders(); {
		case file.Format != "env":
			c.fault(d, "format-keys", t.to("reader"), "reader belongs to format env", "")
		case !slices.Contains(known, file.Reader):
			c.fault(d, "format-unknown", t.to("reader"), fmt.Sprintf("%s is not a known reader of env files (known: %s)", plaintext.Show(file.Reader), listed(known)), "")
		}
	}
	switch file.Format {
	case "":
		return
	case "raw":
		if len(file.Keys) > 0 {
			c.fault(d, "format-keys", t.to("keys"), "format raw writes no keys", "")
		}
		if file.VersionKey != "" {
			c.fault(d, "format-keys", t.to("versionKey"), "format raw writes no keys", "")
		}
		field := file.Field
		if field == "" {
			field = secret.SingleField
		}
		if have != nil && !slices.Contains(have, field) {
			c.fault(d, "consumer-field", t.to("field"), fmt.Sprintf("the value has no field %s (it has: %s)", plaintext.Show(field), listed(have)), "")
		}
		return
	case "env", "json", "properties":
	default:
		c.fault(d, "format-unknown", t.to("format"), "there is no format "+plaintext.Show(file.Format), "")
		return
	}
	if file.Field != "" {
		c.fault(d, "format-keys", t.to("field"), "field belongs to format raw", "")
	}
	c.keyRules(d, t, file, have)
}

// keyRules check the keys of formats that have them: well-formed, and none written twice.
func (c *checker) keyRules(d *document, t trail, file v1alpha1.FileConsumer, have []string) {
	type written struct {
		key string
		at  trail
	}
	var keys []written
	for _, field := range slices.Sorted(maps.Keys(file.Keys)) {
		keys = append(keys, written{file.Keys[field], t.to("keys", field)})
		if have != nil && !slices.Contains(have, field) {
			c.fault(d, "consumer-field", t.to("keys", field), fmt.Sprintf("the value has no field %s (it has: %s)", plaintext.Show(field), listed(have)), "")
		}
	}
	for _, field := range have {
		if _, ok := file.Keys[field]; ok {
			continue
		}
		if file.Format == "env" {
			field = strings.ToUpper(field)
		}
		keys = append(keys, written{field, t.to("keys")})
	}
	if file.VersionKey != "" {
		keys = append(keys, written{file.VersionKey, t.to("versionKey")})
	}
	seen := map[string]bool{}
	for _, k := range keys {
		switch err := materialize.CheckKey(k.key, file.Format == "env"); {
		case file.Format == "env" && !envKey.MatchString(k.key):
			c.fault(d, "env-key", k.at, fmt.Sprintf("%s cannot be the name of an environment variable", plaintext.Show(k.key)), "")
		case k.key == "" || strings.ContainsAny(k.key, "\n\t"):
			c.fault(d, "format-keys", k.at, "the key is empty or holds a line break", "")
		case seen[k.key]:
			c.fault(d, "format-keys", k.at, fmt.Sprintf("the key %s is written twice", plaintext.Show(k.key)), "")
		case err != nil && file.Format == "env":
			c.fault(d, "env-key", k.at, fmt.Sprintf("%s steers the shell or the program that reads the file, or is too long", plaintext.Show(k.key)), "Choose another key for the field under keys.")
		case err != nil:
			c.fault(d, "format-keys", k.at, fmt.Sprintf("the key %s is not letters, digits, dots, dashes and underscores", plaintext.Show(k.key)), "")
		}
		seen[k.key] = true
	}
}

// places remembers who writes which file, and which folders are above those files.
type places struct{ files, folders map[string]*document }

func newPlaces() places { return places{map[string]*document{}, map[string]*document{}} }

// shared finds two consumers that write one file, or a file where another needs a folder: in folders by their names, which
// holds everywhere, and then in those that a host gives the names. It reports whether it found one.
func (c *checker) shared(d *document, t trail, consumer v1alpha1.ConsumerSpec, taken places, folder string) bool {
	file := *consumer.File
	if file.Folder == "" || !plainPath(file.Path) {
		return false
	}
	bad := func(reason string) bool {
		if strings.HasSuffix(folder, ":") {
			c.fault(d, "file-shared", t.to("path"), reason, "")
		} else {
			c.here(d, consumer, "file-shared", t.to("path"), reason)
		}
		return true
	}
	place := path.Join("/", folder, file.Path)
	if first := taken.files[place]; first != nil {
		return bad("another consumer writes the same file, declared at " + first.position())
	}
	other := taken.folders[place]
	for above := path.Dir(place); above != "/"; above = path.Dir(above) {
		if other == nil {
			other = taken.files[above]
		}
		if taken.folders[above] == nil {
			taken.folders[above] = d
		}
	}
	if other != nil {
		return bad("another consumer writes a file above or beneath this one, declared at " + other.position())
	}
	taken.files[place] = d
	return false
}
