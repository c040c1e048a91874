// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// costLimit bounds one evaluation. A list of ten thousand items with a comparison of texts each stays below it.
const costLimit = 5_000_000

const (
	// maxExpression bounds the text of one expression, maxExpressions how many a recipe has: compiling each costs a hundred
	// kilobytes or so.
	maxExpression  = 4 << 10
	maxExpressions = 500
	// maxSteps bounds the steps of one operation.
	maxSteps = 20
	// signCost is what one signature costs, of costLimit: an RSA key of 4096 bits takes some milliseconds.
	signCost = 250_000
	// byteShare is how many bytes of a text that is read or hashed cost one.
	byteShare = 10
)

// costs are those of the functions that recipes have beside CEL's.
type costs struct{}

// CallCost counts one call; nil leaves the function to CEL.
func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	cost := uint64(signCost)
	switch function {
	case "jwt":
	case "json", "sha256":
		text, _ := args[0].Value().(string)
		cost = 1 + uint64(len(text)/byteShare)
	default:
		return nil
	}
	return &cost
}

// scope is what an expression may name, with types. Names are qualified: params.user is one name.
type scope map[string]*cel.Type

// with returns s and more.
func (s scope) with(others ...scope) scope {
	out := maps.Clone(s)
	for _, other := range others {
		maps.Copy(out, other)
	}
	return out
}

// expression is one compiled CEL expression.
type expression struct {
	place   string
	source  string
	program cel.Program
	// names are the variables in it.
	names []string
}

// errExpression never quotes what CEL said: its errors may quote values. A key that is missing is named where the recipe
// itself names it.
type errExpression struct{ place, key string }

func (e errExpression) Error() string {
	text := e.place + ": the expression cannot be evaluated on what the upstream answered"
	if e.key != "" {
		text += fmt.Sprintf(": there is no key %q", e.key)
	}
	return text
}

// noKey is how CEL begins to say that a mapping lacks a key.
const noKey = "no such key: "

// missing is the key that was not there, "" when that is not what went wrong, or when the key is no word of the recipe's.
func (e *expression) missing(err error) string {
	_, key, found := strings.Cut(err.Error(), noKey)
	key, _, _ = strings.Cut(key, "\n")
	words := strings.FieldsFunc(e.source, func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if !found || !slices.Contains(words, key) {
		return ""
	}
	return key
}

// eval runs it.
func (e *expression) eval(v Values) (ref.Val, error) {
	out, _, err := e.program.Eval(map[string]any(v))
	if err != nil {
		return nil, errExpression{e.place, e.missing(err)}
	}
	return out, nil
}

// holds is eval for conditions. A condition that cannot be evaluated does not hold: a reply without the field asked for
// is not that reply.
func (e *expression) holds(v Values) bool {
	out, err := e.eval(v)
	return err == nil && out == types.True
}

// text is eval for what must come out as text.
func (e *expression) text(v Values) (string, error) {
	out, err := e.eval(v)
	if err != nil {
		return "", err
	}
	text, ok := asText(out)
	if !ok {
		return "", fmt.Errorf("%s: neither text nor a number, true, false or a time", e.place)
	}
	return text, nil
}

// compiler makes expressions and collects faults.
type compiler struct {
	base   *cel.Env
	faults []error
	made   int // expressions
}

func newCompiler() (*compiler, error) {
	base, err := cel.NewEnv(cel.OptionalTypes(), ext.Strings(), ext.Encoders(), ext.Lists(), ext.Bindings(), cel.Lib(functions{}))
	if err != nil {
		return nil, errors.New("preparing the language of recipes")
	}
	return &compiler{base: base}, nil
}

func (c *compiler) bad(place, format string, args ...any) {
	c.faults = append(c.faults, Fault{Place: place, Reason: fmt.Sprintf(format, args...)})
}

// expression compiles text, which may name what is in s. want is the type that it must have, nil for any.
func (c *compiler) expression(place, text string, s scope, want *cel.Type) *expression {
	if text == "" {
		return nil
	}
	if c.made++; c.made > maxExpressions {
		if c.made == maxExpressions+1 {
			c.bad(place, "the recipe has more than %d expressions; leave some out, or write a program for upstreams of type exec", maxExpressions)
		}
		return nil
	}
	if len(text) > maxExpression {
		c.bad(place, "the expression is longer than %d bytes; have a step let a part of it", maxExpression)
		return nil
	}
	options := make([]cel.EnvOption, 0, len(s))
	for _, name := range slices.Sorted(maps.Keys(s)) {
		options = append(options, cel.Variable(name, s[name]))
	}
	env, err := c.base.Extend(options...)
	if err != nil {
		c.bad(place, "preparing the expression: %v", err)
		return nil
	}
	checked, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		c.bad(place, "%s", strings.TrimPrefix(first, "ERROR: <input>:"))
		return nil
	}
	if want != nil && !checked.OutputType().IsExactType(want) && !checked.OutputType().IsExactType(cel.DynType) {
		c.bad(place, "want %s, not %s", want, checked.OutputType())
		return nil
	}
	program, err := env.Program(checked, cel.CostLimit(costLimit), cel.CostTracking(costs{}))
	if err != nil {
		c.bad(place, "%v", err)
		return nil
	}
	e := &expression{place: place, source: text, program: program}
	for _, reference := range checked.NativeRep().ReferenceMap() {
		if _, known := s[reference.Name]; known && !slices.Contains(e.names, reference.Name) {
			e.names = append(e.names, reference.Name)
		}
	}
	return e
}

// needed is expression for what cannot be left out.
func (c *compiler) needed(place, text string, s scope, want *cel.Type) *expression {
	if text == "" {
		c.bad(place, "empty")
	}
	return c.expression(place, text, s, want)
}

// expressions compiles a mapping of them.
func (c *compiler) expressions(place string, texts map[string]string, s scope) map[string]*expression {
	out := map[string]*expression{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if e := c.needed(join(place, name), texts[name], s, nil); e != nil {
			out[name] = e
		}
	}
	return out
}
