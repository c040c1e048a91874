// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line of the log: every field at its bound, each byte escaped, fits.
const maxLine = 256 << 10

// Encode returns the one line, without its newline, that stands for e: its fields in the order of the type, no spaces.
// It errors with ErrInvalid.
func Encode(e Event) ([]byte, error) {
	settled, err := e.settle()
	if err != nil {
		return nil, fmt.Errorf("encoding audit event: %w", err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(settled); err != nil { // a year beyond 9999
		return nil, fmt.Errorf("encoding audit event: %w: %w", ErrInvalid, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// ErrNewer: the event was written by a newer program. It is neither read nor touched.
var ErrNewer = errors.New("schema is newer")

// thisSchema begins every line that this program writes.
var thisSchema = fmt.Appendf(nil, `{"schema":%d,`, Schema)

// newer says whether a line is an event of a schema that this program does not know.
func newer(line []byte) bool {
	var of struct {
		Schema int
		Run    string
	}
	return json.Unmarshal(line, &of) == nil && of.Schema > Schema && of.Run != ""
}

// Decode reads a line, and only what Encode would have written. ErrNewer for an event of a newer schema.
func Decode(line []byte) (Event, error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	var e Event
	err := decoder.Decode(&e)
	if (err != nil || e.Schema > Schema) && newer(line) {
		return Event{}, fmt.Errorf("decoding audit event: %w than %d", ErrNewer, Schema)
	}
	if err != nil {
		return Event{}, errors.New("decoding audit event: not an event")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Event{}, errors.New("decoding audit event: more than one value on the line")
	}
	if e.Schema < 1 {
		return Event{}, errors.New("decoding audit event: the schema number is missing")
	}
	again, err := Encode(e)
	if err != nil {
		return Event{}, fmt.Errorf("decoding audit event: %w", err)
	}
	if !bytes.Equal(again, line) {
		return Event{}, errors.New("decoding audit event: not in the form in which it was written")
	}
	return e, nil
}

// key stands for (Run, Step).
type key [16]byte

var (
	beforeKey = []byte(`,"run":"`)
	afterKey  = []byte(`","workflow":"`)
)

// keyOf finds run and step in a line without decoding it: in a line that Encode wrote, a quote within a string is
// escaped, so the first occurrence of each mark is the field itself. False when the line cannot be an event.
func keyOf(line []byte) (key, bool) {
	start, end := bytes.Index(line, beforeKey), bytes.Index(line, afterKey)
	if start < 0 || end < start {
		return key{}, false
	}
	sum := sha256.Sum256(line[start:end])
	return key(sum[:16]), true
}
