// SPDX-License-Identifier: Apache-2.0

// Package format turns a secret value into the bytes of a file and back.
//
// Guaranteed: reading what was written gives the same keys and bytes (fuzzed for each format); a value that a format
// cannot represent exactly is refused, not changed; the same input always gives the same bytes; errors name keys and
// fields only, never a value. The constant of each format says what it refuses.
//
// Not guaranteed: that Read accepts what another program wrote in the same format. All functions are pure; their cost
// is linear in the size of the value, which is at most 64 KiB.
package format

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/secret"
)

// Name of a format, as documents write it.
type Name string

const (
	// Env is lines of KEY=value. When Layout.Reader is empty they are written such that everything in Readers that knows
	// quotes reads them alike; what needs no quotes has none, so docker's --env-file reads those lines too. With a Reader
	// they are written for that one. Refused: NUL, what is not UTF-8, Unicode's noncharacters, and what the readers
	// wanted have no common way to write (see the limits of shapes).
	Env Name = "env"
	// JSON is one object of strings; a field that is not UTF-8 becomes {"base64": "..."}, as wherever Custody writes
	// bytes into text. Nothing is refused.
	JSON Name = "json"
	// Properties is Java's .properties in ISO-8859-1 with \uXXXX escapes; beyond the basic plane that is a surrogate
	// pair, as java.util.Properties has it. Refused: what is not UTF-8. A reader that expands ${...} must be told not to.
	Properties Name = "properties"
	// Raw is one field's exact bytes. Nothing is refused.
	Raw Name = "raw"
)

// ErrUnfit: the format cannot carry this value exactly. Another format, or another value, is needed.
var ErrUnfit = errors.New("the format cannot carry the value")

// errMalformed stands for what libraries say, which may quote what they read.
var errMalformed = errors.New("the content is malformed")

// Layout says how a value is laid out in a file. The zero Layout is invalid: Format is required.
type Layout struct {
	Format Name
	// Field is the one field that Raw writes; "" is secret.SingleField. Other formats write every field.
	Field string
	// Keys gives the key for a field where it is not the default: the field's name; for Env in upper case with '_' for
	// '.' and '-'. A field named here that the value lacks is an error.
	Keys map[string]string
	// VersionKey is the key under which the version is written as well, "" for none.
	VersionKey string
	// Reader is what reads an Env file, "" for everything that knows quotes. Another format has none.
	Reader Reader
}

// Check reports what is wrong with the layout itself, before there is a value.
func (l Layout) Check() error {
	switch l.Format {
	case Env, JSON, Properties:
		if l.Field != "" {
			return fmt.Errorf("checking layout: a field can be chosen for format %q only", Raw)
		}
	case Raw:
		if l.Reader != "" {
			return fmt.Errorf("checking layout: a reader can be named for format %q only", Env)
		}
		if len(l.Keys) > 0 || l.VersionKey != "" {
			return fmt.Errorf("checking layout: format %q has no keys", Raw)
		}
		return nil
	default:
		return fmt.Errorf("checking layout: unknown format %q: want env, json, properties or raw", l.Format)
	}
	switch {
	case l.Reader == "":
	case l.Format != Env:
		return fmt.Errorf("checking layout: a reader can be named for format %q only", Env)
	case !slices.Contains(Readers, l.Reader):
		return fmt.Errorf("checking layout: unknown reader %q: want one of %v", l.Reader, Readers)
	}
	owners := map[string]string{}
	if l.VersionKey != "" {
		if err := l.CheckKey(l.VersionKey); err != nil {
			return err
		}
		owners[l.VersionKey] = "the version"
	}
	for _, field := range slices.Sorted(maps.Keys(l.Keys)) {
		key := l.Keys[field]
		if err := l.CheckKey(key); err != nil {
			return err
		}
		if other, taken := owners[key]; taken {
			return fmt.Errorf("checking layout: key %q is used for %s and for field %q", key, other, field)
		}
		owners[key] = fmt.Sprintf("field %q", field)
	}
	return nil
}

// Render returns the file's bytes for v. version is written under VersionKey when there is one.
func (l Layout) Render(v secret.Value, version string) ([]byte, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	if l.Format == Raw {
		if !v.Has(l.rawField()) {
			return nil, fmt.Errorf("rendering raw: the value has no field %q", l.rawField())
		}
		return v.Expose(l.rawField()), nil
	}
	for _, field := range slices.Sorted(maps.Keys(l.Keys)) {
		if !v.Has(field) {
			return nil, fmt.Errorf("rendering %s: a key is given for field %q, which the value lacks", l.Format, field)
		}
	}
	entries := map[string][]byte{}
	if l.VersionKey != "" {
		entries[l.VersionKey] = []byte(version)
	}
	for _, field := range v.Names() {
		key := l.Key(field)
		if err := l.CheckKey(key); err != nil {
			return nil, fmt.Errorf("rendering field %q: %w", field, err)
		}
		if _, taken := entries[key]; taken {
			return nil, fmt.Errorf("rendering %s: two fields share the key %q", l.Format, key)
		}
		entries[key] = v.Expose(field)
	}
	write := map[Name]func([]byte, string, []byte) ([]byte, error){
		Env: l.appendEnv, JSON: appendJSON, Properties: appendProperty,
	}[l.Format]
	var out []byte
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		var err error
		if out, err = write(out, key, entries[key]); err != nil {
			return nil, fmt.Errorf("rendering key %q as %s: %w", key, l.Format, err)
		}
	}
	if l.Format == JSON {
		out = closeJSON(out)
	}
	return out, nil
}

// Key returns the key under which field is written.
func (l Layout) Key(field string) string {
	if key, ok := l.Keys[field]; ok {
		return key
	}
	if l.Format == Env {
		return strings.Map(func(r rune) rune {
			if r == '.' || r == '-' {
				return '_'
			}
			return r
		}, strings.ToUpper(field))
	}
	return field
}

// Read returns what Render wrote, by key (Raw: by the field). A version key is among the keys. Its errors never quote
// the content.
func (l Layout) Read(data []byte) (secret.Value, error) {
	if err := l.Check(); err != nil {
		return secret.Value{}, err
	}
	entries, err := map[Name]func([]byte) (map[string][]byte, error){
		Env: l.readEnv, JSON: readJSON, Properties: readProperties,
		Raw: func(data []byte) (map[string][]byte, error) { return map[string][]byte{l.rawField(): data}, nil },
	}[l.Format](data)
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading %s: %w", l.Format, err)
	}
	for key := range entries {
		if materialize.CheckKey(key, false) != nil {
			return secret.Value{}, fmt.Errorf("reading %s: %w", l.Format, errMalformed)
		}
	}
	return secret.New(entries)
}

func (l Layout) rawField() string {
	if l.Field == "" {
		return secret.SingleField
	}
	return l.Field
}

// CheckKey reports why the format cannot write a key.
func (l Layout) CheckKey(key string) error {
	if err := materialize.CheckKey(key, l.Format == Env); err != nil {
		return fmt.Errorf("checking key %q: %w", key, err)
	}
	return nil
}
