// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
)

// typeName is the name of the parameters in documents.
const typeName = "exec"

// protocol is the version of requests and answers.
const protocol = 1

// Methods of a program.
const (
	methodKind    = "kind"
	methodPropose = "propose"
	methodApply   = "apply"
	methodVerify  = "verify"
	methodRevoke  = "revoke"
	methodCollect = "collect"
	methodList    = "list"
	methodDecoy   = "decoy"
	methodUses    = "uses"
)

// request is what the program reads.
type request struct {
	Custody    int               `json:"custody"`
	Method     string            `json:"method"`
	Mode       string            `json:"mode"`
	Claim      string            `json:"claim"`
	Deadline   string            `json:"deadline"`
	Parameters map[string]string `json:"parameters"`
	Account    map[string]string `json:"account"`
	Run        string            `json:"run,omitempty"`
	Since      string            `json:"since,omitempty"`
	Password   string            `json:"password,omitempty"`
	Admin      []json.RawMessage `json:"admin,omitempty"`
	Current    json.RawMessage   `json:"current,omitempty"`
	Candidate  json.RawMessage   `json:"candidate,omitempty"`
	Value      json.RawMessage   `json:"value,omitempty"`
	Old        json.RawMessage   `json:"old,omitempty"`
	Successor  json.RawMessage   `json:"successor,omitempty"`
}

// answer is what the program writes. Fields that a method has no use for must not be there.
type answer struct {
	Custody     int              `json:"custody"`
	Error       *failure         `json:"error"`
	Kind        *kindAnswer      `json:"kind"`
	Value       json.RawMessage  `json:"value"`
	Verdict     upstream.Verdict `json:"verdict"`
	Reason      string           `json:"reason"`
	Credentials *[]string        `json:"credentials"`
	Uses        *[]use           `json:"uses"`
}

type failure struct {
	Class string `json:"class"`
	Text  string `json:"text"`
	Hint  string `json:"hint"`
	After string `json:"after"`
}

type use struct {
	Who  string    `json:"who"`
	Last time.Time `json:"last"`
}

type kindAnswer struct {
	Capability   upstream.Capability `json:"capability"`
	Undo         upstream.Undo       `json:"undo"`
	LostReply    upstream.LostReply  `json:"lostReply"`
	Issues       bool                `json:"issues"`
	Verifies     *bool               `json:"verifies"`
	CallDeadline string              `json:"callDeadline"`
	Fences       bool                `json:"fences"`
	Settle       string              `json:"settle"`
	WrongEvery   string              `json:"wrongEvery"`
	Evidence     *struct {
		Source string `json:"source"`
		Late   string `json:"late"`
		Fine   string `json:"fine"`
		Names  bool   `json:"names"`
	} `json:"evidence"`
	Methods []string `json:"methods"`
}

// read checks a program's description of itself.
func (k *kindAnswer) read(config Config) (*upstream.Kind, []string, error) {
	if k == nil {
		return nil, nil, errors.New("the answer has no kind")
	}
	var errs []error
	duration := func(name, text string, otherwise time.Duration) time.Duration {
		if text == "" {
			return otherwise
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			errs = append(errs, fmt.Errorf("%s is no duration such as 20s", name))
		}
		return d
	}
	kind := &upstream.Kind{
		Name: typeName, Capability: k.Capability, Undo: k.Undo, LostReply: k.LostReply, Issues: k.Issues,
		Verifies:     k.Verifies == nil || *k.Verifies,
		CallDeadline: duration("callDeadline", k.CallDeadline, config.Timeout),
		Fences:       k.Fences,
		Settle:       duration("settle", k.Settle, 0), WrongEvery: duration("wrongEvery", k.WrongEvery, 0),
	}
	if e := k.Evidence; e != nil {
		kind.Evidence = &upstream.Evidence{
			Source: plain(e.Source), Late: duration("evidence.late", e.Late, 0), Fine: duration("evidence.fine", e.Fine, 0), Names: e.Names,
		}
	}
	errs = append(errs, kind.Check())
	if kind.Capability != config.Mode {
		errs = append(errs, fmt.Errorf("the program's capability is %s, and the document declares %s", kind.Capability, config.Mode))
	}
	for _, method := range k.wanted(kind) {
		if !slices.Contains(k.Methods, method) {
			errs = append(errs, fmt.Errorf("a program of this kind must offer %s", method))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	return kind, k.Methods, nil
}

// wanted lists the methods without which the kind is not what it says.
func (k *kindAnswer) wanted(kind *upstream.Kind) []string {
	methods := []string{methodApply}
	for method, wanted := range map[string]bool{
		methodVerify:  kind.Verifies,
		methodPropose: !kind.Issues,
		methodRevoke:  kind.Capability != upstream.Overwrite,
		methodCollect: kind.Issues && kind.LostReply == upstream.Reissue,
		methodList:    kind.Issues && kind.LostReply == upstream.Person && kind.Capability != upstream.Overwrite,
		methodDecoy:   kind.Issues && kind.Verifies,
		methodUses:    kind.Evidence != nil,
	} {
		if wanted {
			methods = append(methods, method)
		}
	}
	slices.Sort(methods)
	return methods
}

// call is one request, with the texts that must not come back in words for people.
type call struct {
	request
	secrets []string
}

// administers reports whether the method is given admin credentials: those that change something or look at what others
// made.
func (c *call) administers() bool {
	return slices.Contains([]string{methodApply, methodRevoke, methodCollect, methodList, methodUses}, c.Method)
}

// holds notes what v holds and encodes it; nothing for an empty value.
func (c *call) holds(v secret.Value) json.RawMessage {
	if v.Empty() {
		return nil
	}
	for _, name := range v.Names() {
		if text := v.ExposeText(name); len(text) >= shortest && name != "username" {
			c.secrets = append(c.secrets, text)
		}
	}
	return v.Encode()
}

// shortest is the least length of a text that counts as a secret in what the program says.
const shortest = 4

// value is the credential of an answer.
func (c *call) value(a answer) (secret.Value, error) {
	doing := asking(c.Method)
	if len(a.Value) == 0 {
		return secret.Value{}, fmt.Errorf("%s: the answer has no value", doing)
	}
	v, err := secret.Decode(a.Value)
	if err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", doing, err)
	}
	if err := v.Fits(); err != nil {
		return secret.Value{}, fmt.Errorf("%s: %w", doing, err)
	}
	if v.Empty() {
		return secret.Value{}, fmt.Errorf("%s: the value has no fields", doing)
	}
	return v, nil
}

// longest bounds a text of the program's.
const longest = 300

// shown is a text of the program's, fit to be read by anybody: bounded, in one line, and nothing of it when it quotes a
// value of the call.
func (c *call) shown(text string) string {
	if c.quotes(text) {
		return "(what the program says quotes a value and is not shown)"
	}
	if text = plain(text); text != "" {
		return text
	}
	return "the program gives no reason"
}

// quotes reports whether a text of the program's holds a value of the call.
func (c *call) quotes(text string) bool {
	return slices.ContainsFunc(c.secrets, func(value string) bool { return strings.Contains(text, value) })
}

// nextNames is what an operator does about a list that cannot be used.
const nextNames = "have the program name each credential by an identity of its own that is not secret, such as its id"

// identity is a name fit to be read by anybody. One that had to be altered for that carries a digest of the whole, so that
// two names stay two.
func identity(name string) string {
	shown := plain(name)
	if shown == name {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return shown + " (sha256 " + hex.EncodeToString(sum[:12]) + ")"
}

// plain is text in one line, bounded.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// asking names a request, in errors.
func asking(method string) string { return "asking the program to " + method }

// failed reads the error of an answer.
func (c *call) failed(f *failure) error {
	e := &upstream.Error{Doing: asking(c.Method), Said: c.shown(f.Text)}
	if f.Hint != "" {
		e.Next = c.shown(f.Hint)
	}
	switch f.Class {
	case "refused-candidate":
		e.Class = upstream.ErrRefusedCandidate
	case "superseded":
		e.Class = upstream.ErrSuperseded
	case "not-applied":
		e.Class = upstream.ErrNotApplied
	case "later":
		after, err := time.ParseDuration(f.After)
		if err != nil || after < 0 {
			after = 0
		}
		e.Class = upstream.ErrNotApplied
		return &upstream.Later{After: after, Err: e}
	case "ambiguous":
	default:
		e.Detail = "an error without a class that is known"
	}
	return e
}

// ask runs the program once and reads its answer.
func (u *Upstream) ask(ctx context.Context, c *call) (answer, error) {
	doing := asking(c.Method)
	c.Custody, c.Mode, c.Claim = protocol, string(u.config.Mode), u.config.Claim
	c.Parameters, c.Account = orEmpty(u.config.Parameters), orEmpty(u.config.Account)
	if deadline, ok := ctx.Deadline(); ok {
		c.Deadline = deadline.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	input, err := json.Marshal(c.request)
	if err != nil {
		return answer{}, upstream.NotApplied(doing, "writing the request failed")
	}
	output, err := u.run(ctx, doing, input)
	if err != nil {
		return answer{}, err
	}
	var a answer
	decoder := json.NewDecoder(bytes.NewReader(output))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil || a.Custody != protocol {
		return answer{}, &upstream.Error{
			Doing: doing, Detail: fmt.Sprintf("%d bytes that are no answer: want one JSON object with \"custody\": %d and fields that the contract names", len(output), protocol),
		}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return answer{}, &upstream.Error{Doing: doing, Detail: "more than one answer"}
	}
	if a.Error != nil {
		return answer{}, c.failed(a.Error)
	}
	return a, nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
