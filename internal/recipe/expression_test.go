// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
)

// An expression that failed never named the key that was missing.
func TestExpressionNamesTheMissingKey(t *testing.T) {
	for text, want := range map[string]string{
		"body.token":               `there is no key "token"`,
		`body["access-token"].key`: `there is no key "access-token"`,
		"body[body.name]":          "", // the key is what the upstream answered
	} {
		c, err := newCompiler()
		if err != nil {
			t.Fatal(err)
		}
		e := c.expression("create.value.key", text, scope{"body": cel.DynType}, nil)
		if e == nil {
			t.Fatal(c.faults)
		}
		_, err = e.eval(Values{"body": map[string]any{"name": "hunter2"}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || want == "" && strings.Contains(err.Error(), "no key") {
			t.Errorf("%s: got %v, want %q and no value", text, err, want)
		}
	}
}
