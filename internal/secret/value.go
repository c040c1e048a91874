// SPDX-License-Identifier: Apache-2.0

// Package secret has the only type that can hold a secret value.
//
// A Value is redacted under every formatting verb, in JSON, YAML, text and slog. Its content can be read only with
// Expose, ExposeText, Encode and the functions that compare or digest it, all of which are easy to search for. A Value
// is immutable. The package does not wipe memory: Go's garbage collector may copy values, so it could not promise that.
package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"unicode/utf8"

	"custody.dev/custody/internal/lazyregexp"
)

const (
	// MaxBytes bounds the sum of all names and contents of one managed value: 64 KiB. Every way in checks it (Fits).
	MaxBytes = 64 << 10
	// hardLimit bounds any Value at all: Custody's own entries hold an old value and its candidate together.
	hardLimit = 4 * MaxBytes
	// SingleField is the field name of a value that has only one.
	SingleField = "value"
	// Redacted is what every verb prints in place of a value.
	Redacted = "[redacted]"
)

var fieldName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

// Value is a set of named byte fields. The zero Value has none and is called empty.
//
// fmt cannot call methods on an enclosing struct's unexported field, and under a verb that does not fit it follows one
// pointer. The fields hang behind two, so that it shows an address.
type Value struct{ in *content }

type content struct{ behind *map[string][]byte }

// fields are never changed once made; nil for the zero Value.
func (v Value) fields() map[string][]byte {
	if v.in == nil {
		return nil
	}
	return *v.in.behind
}

// New copies fields into a Value. It errors on a malformed field name and on more than four times MaxBytes in all.
func New(fields map[string][]byte) (Value, error) {
	size := 0
	kept := make(map[string][]byte, len(fields))
	for name, data := range fields {
		if !fieldName.MatchString(name) {
			return Value{}, fmt.Errorf("making value: field name %q must match %s", name, fieldName)
		}
		size += len(name) + len(data)
		kept[name] = append([]byte{}, data...) // never nil: Expose tells an empty field from none
	}
	if size > hardLimit {
		return Value{}, fmt.Errorf("making value: %d bytes exceed the limit of %d", size, hardLimit)
	}
	return Value{&content{&kept}}, nil
}

// Fits reports an error when v is larger than a managed value may be (MaxBytes).
func (v Value) Fits() error {
	size := 0
	for name, data := range v.fields() {
		size += len(name) + len(data)
	}
	if size > MaxBytes {
		return fmt.Errorf("value of %d bytes exceeds the limit of %d for a managed secret", size, MaxBytes)
	}
	return nil
}

// Text makes a Value of string fields; it errors as New does.
func Text(fields map[string]string) (Value, error) {
	raw := make(map[string][]byte, len(fields))
	for name, text := range fields {
		raw[name] = []byte(text)
	}
	return New(raw)
}

// Empty reports whether v has no fields.
func (v Value) Empty() bool { return len(v.fields()) == 0 }

// Names returns the field names in order. Names are not secret.
func (v Value) Names() []string {
	return slices.Sorted(maps.Keys(v.fields()))
}

// Has reports whether v has the named field.
func (v Value) Has(name string) bool {
	_, ok := v.fields()[name]
	return ok
}

// Expose returns a copy of one field's bytes, nil when there is no such field.
func (v Value) Expose(name string) []byte {
	return slices.Clone(v.fields()[name])
}

// ExposeText returns one field as a string, "" when there is no such field.
func (v Value) ExposeText(name string) string {
	return string(v.fields()[name])
}

// With returns v with one field set, all others kept. It errors as New does.
func (v Value) With(name string, data []byte) (Value, error) {
	fields := map[string][]byte{}
	maps.Copy(fields, v.fields())
	fields[name] = data
	return New(fields)
}

// Equal compares names openly and contents in constant time.
func (v Value) Equal(w Value) bool {
	if !slices.Equal(v.Names(), w.Names()) {
		return false
	}
	same := 1
	for _, name := range v.Names() {
		same &= subtle.ConstantTimeCompare(v.fields()[name], w.fields()[name])
	}
	return same == 1
}

// Digest is HMAC-SHA-256 over the canonical encoding. With a key that stays secret it tells equal values apart from
// unequal ones and tells nothing else.
func (v Value) Digest(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(v.Encode())
	return mac.Sum(nil)
}

// Carries reports whether a field of v has the same content as the field of w. Their digests under key are compared, which stays secret.
func (v Value) Carries(key []byte, w Value, field string) bool {
	digest := func(data []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(data)
		return mac.Sum(nil)
	}
	want, same := digest(w.fields()[field]), 0
	for _, data := range v.fields() {
		same |= subtle.ConstantTimeCompare(digest(data), want)
	}
	return same == 1 && len(w.fields()[field]) > 0
}

type taggedBytes struct {
	Base64 string `json:"base64"`
}

// Encode returns the canonical JSON form with the values in it, for sealed storage only: an object of fields in name
// order, each a string, or {"base64": "…"} when it is not UTF-8.
func (v Value) Encode() []byte {
	out := map[string]any{}
	for name, data := range v.fields() {
		if utf8.Valid(data) {
			out[name] = string(data)
		} else {
			out[name] = taggedBytes{base64.StdEncoding.EncodeToString(data)}
		}
	}
	encoded, err := json.Marshal(out) // maps are written in key order
	if err != nil {
		panic("secret: encoding strings cannot fail: " + err.Error())
	}
	return encoded
}

// Decode reads what Encode wrote, however the JSON is laid out. Its errors never quote the input, names included: what
// is not Encode's may be anything.
func Decode(encoded []byte) (Value, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &raw); err != nil || raw == nil {
		return Value{}, errors.New("decoding value: not a JSON object of fields")
	}
	fields := make(map[string][]byte, len(raw))
	for name, part := range raw {
		if !fieldName.MatchString(name) {
			return Value{}, errors.New("decoding value: a field name is malformed")
		}
		data, err := decodeField(part)
		if err != nil {
			return Value{}, err
		}
		fields[name] = data
	}
	return New(fields)
}

func decodeField(part json.RawMessage) ([]byte, error) {
	var text *string
	if json.Unmarshal(part, &text) == nil && text != nil {
		return []byte(*text), nil
	}
	var tagged map[string]*string
	if json.Unmarshal(part, &tagged) != nil || len(tagged) != 1 || tagged["base64"] == nil {
		return nil, errors.New("decoding value: a field is neither text nor tagged base64")
	}
	data, err := base64.StdEncoding.Strict().DecodeString(*tagged["base64"])
	if err != nil {
		return nil, errors.New("decoding value: a field has malformed base64")
	}
	return data, nil
}

// String, GoString, Format, MarshalJSON, MarshalText, MarshalYAML and LogValue all redact.
func (v Value) String() string { return Redacted }

// GoString redacts.
func (v Value) GoString() string { return Redacted }

// Format redacts under every verb and flag.
func (v Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// MarshalJSON redacts; Encode is the form that keeps the content.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(Redacted) }

// MarshalText redacts.
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalYAML redacts.
func (v Value) MarshalYAML() (any, error) { return Redacted, nil }

// LogValue redacts.
func (v Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
