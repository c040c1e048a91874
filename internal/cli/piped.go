// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"custody.dev/custody/internal/secret"
)

// pipedRule says in the help of each command that takes a value from standard input how it is read.
const pipedRule = `How standard input (-) is read: with --field, it is the text of that field. Without --field, a JSON object such as
{"username": "app", "password": "..."} gives one field for each key, and anything else is the text of the field named value, which is
the field of a secret that has only one. If the value itself begins with {, use --field value.`

// piped reads a value from standard input by pipedRule; field is "" where none is named.
func (a *app) piped(field string, exact bool) (secret.Value, error) {
	read, err := io.ReadAll(io.LimitReader(a.in, 4*secret.MaxBytes+1)) // JSON may need that many bytes for a value of the largest size
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the value: %w", err)
	}
	if len(withoutNewline(read)) == 0 {
		return secret.Value{}, usage("the value is empty; nothing was taken", "standard input was empty: check the command before the pipe")
	}
	if field == "" && bytes.HasPrefix(bytes.TrimSpace(read), []byte("{")) {
		return a.pipedObject(read)
	}
	text, err := a.edges(read, exact)
	if err != nil {
		return secret.Value{}, err
	}
	return oneField(field, text)
}

// unparsed says why text is no JSON, "" when it is. It repeats nothing of the text.
func unparsed(text []byte) string {
	var whole any
	err := json.Unmarshal(text, &whole)
	syntax, is := errors.AsType[*json.SyntaxError](err)
	switch {
	case err == nil:
		return ""
	case is && syntax.Offset >= int64(len(text)):
		return "it ends before the object does"
	case is:
		return fmt.Sprintf("byte %d of %d does not fit", syntax.Offset, len(text))
	}
	return "it cannot be read"
}

// pipedObject reads what begins as a JSON object does: half of one that a broken pipe left would pass for a text.
func (a *app) pipedObject(read []byte) (secret.Value, error) {
	if why := unparsed(read); why != "" {
		return secret.Value{}, usage("standard input begins with { and is not a JSON object: "+why+"; nothing was taken",
			"check the command before the pipe; if the text itself is the value, add --field value")
	}
	v, err := secret.Decode(read)
	if err != nil {
		return secret.Value{}, usage("standard input is a JSON object, but not all its fields are text; nothing was taken",
			"write each field as a JSON string; if the object itself is the value, add --field value")
	}
	if !slices.ContainsFunc(v.Names(), func(name string) bool { return v.ExposeText(name) != "" }) {
		return secret.Value{}, usage("the value is empty; nothing was taken", "standard input is a JSON object in which every field is empty")
	}
	_, _ = fmt.Fprintf(a.err, "note: standard input is a JSON object, read as the fields %s; --field value takes it as one text\n", strings.Join(v.Names(), ", "))
	return v, nil
}

// largeHint is what to do with a value that Custody does not take.
const largeHint = "store it elsewhere, encrypted, and give Custody the key that decrypts it"

// oneField is a value of one field; "" stands for secret.SingleField.
func oneField(field string, text []byte) (secret.Value, error) {
	switch {
	case len(text) == 0:
		return secret.Value{}, usage("the value is empty; nothing was taken", "check the file, or what was typed; Custody stores no empty value")
	case len(text) > secret.MaxBytes:
		return secret.Value{}, usage(fmt.Sprintf("the value is larger than %d bytes; nothing was taken", secret.MaxBytes), largeHint)
	}
	v, err := secret.New(map[string][]byte{or(field, secret.SingleField): text})
	if err != nil {
		return secret.Value{}, usage(err.Error(), "see docs/documents.md for what a value may be")
	}
	return v, nil
}
