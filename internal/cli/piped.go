// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"custody.dev/custody/internal/secret"
)

// pipedRule says in the help of each command that takes a value from standard input how it is read.
const pipedRule = `Standard input (-) is read by one rule. With --field it is the text of that field. Without --field, a JSON object such as
{"username": "app", "password": "..."} is taken as the fields that it names, and anything else as the text of the field value, which
is the field of a secret that has only one. To take a JSON object as one text, as it is: --field value.`

// piped reads a value from standard input by pipedRule; field is "" where none is named.
func (a *app) piped(field string, exact bool) (secret.Value, error) {
	read, err := io.ReadAll(io.LimitReader(a.in, 4*secret.MaxBytes+1)) // JSON may need that many bytes for a value of the largest size
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading the value: %w", err)
	}
	if len(withoutNewline(read)) == 0 {
		return secret.Value{}, usage("the value is empty; nothing was taken", "the pipe gave nothing: see that the command before it works")
	}
	if field == "" && isObject(read) {
		return a.pipedObject(read)
	}
	text, err := a.edges(read, exact)
	if err != nil {
		return secret.Value{}, err
	}
	return oneField(field, text)
}

// isObject reports whether text is a JSON object as a whole. A password may begin with a brace.
func isObject(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) && json.Valid(text)
}

func (a *app) pipedObject(read []byte) (secret.Value, error) {
	v, err := secret.Decode(read)
	if err != nil {
		return secret.Value{}, usage("standard input is a JSON object and not one of fields, each of which is a text; nothing was taken",
			"write each field as a text; if the object itself is the value, name the field that it is the text of: --field value")
	}
	if !slices.ContainsFunc(v.Names(), func(name string) bool { return v.ExposeText(name) != "" }) {
		return secret.Value{}, usage("the value is empty; nothing was taken", "standard input holds a JSON object without the text of any field")
	}
	_, _ = fmt.Fprintf(a.err, "note: standard input is a JSON object, taken as the fields %s; --field value takes it as one text\n", strings.Join(v.Names(), ", "))
	return v, nil
}

// oneField is a value of one field; "" stands for secret.SingleField.
func oneField(field string, text []byte) (secret.Value, error) {
	switch {
	case len(text) == 0:
		return secret.Value{}, usage("the value is empty; nothing was taken", "")
	case len(text) > secret.MaxBytes:
		return secret.Value{}, usage(fmt.Sprintf("the value is larger than %d bytes", secret.MaxBytes), "")
	}
	v, err := secret.New(map[string][]byte{or(field, secret.SingleField): text})
	if err != nil {
		return secret.Value{}, usage(err.Error(), "see docs/documents.md for what a value may be")
	}
	return v, nil
}
