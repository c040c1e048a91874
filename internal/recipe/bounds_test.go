// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
)

func keyPEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Signing was not counted: a list of any length could be signed item by item.
func TestSigningCountsInTheCostOfAnExpression(t *testing.T) {
	for signatures, want := range map[int]bool{1: true, 10: true, 100: false} {
		c, err := newCompiler()
		if err != nil {
			t.Fatal(err)
		}
		list := "[" + strings.TrimSuffix(strings.Repeat("1,", signatures), ",") + "]"
		e := c.expression("place", list+`.map(i, jwt(admin.key, {}, {"n": i})).size()`, scope{"admin.key": cel.StringType}, nil)
		if len(c.faults) > 0 {
			t.Fatal(c.faults)
		}
		if _, err := e.eval(Values{"admin.key": keyPEM(t)}); (err == nil) != want {
			t.Errorf("%d signatures: %v", signatures, err)
		}
	}
}

func TestRecipesAreBoundedBeforeTheyAreCompiled(t *testing.T) {
	fault := func(compile func(c *compiler)) string {
		t.Helper()
		c, err := newCompiler()
		if err != nil {
			t.Fatal(err)
		}
		compile(c)
		return fmt.Sprint(errors.Join(c.faults...))
	}
	s := scope{"a": cel.StringType}
	for want, compile := range map[string]func(c *compiler){
		"longer than 4096 bytes":    func(c *compiler) { c.expression("place", strings.Repeat("a+", maxExpression/2)+"a", s, nil) },
		"more than 500 expressions": func(c *compiler) { c.made = maxExpressions; c.expression("place", "a", s, nil) },
		"more than 20 steps":        func(c *compiler) { c.steps("create", make([]Step, maxSteps+1), s, &Recipe{}, changing) },
	} {
		if got := fault(compile); !strings.Contains(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}

// Each account of an upstream compiled its recipe several times.
func TestDefinedRecipeIsCompiledOnce(t *testing.T) {
	data := map[string]any{"name": "none", "kind": "none"}
	_, first := Defined(data)
	_, second := Defined(map[string]any{"kind": "none", "name": "none"})
	if first == nil || !errors.Is(second, first) && fmt.Sprint(second) != fmt.Sprint(first) {
		t.Errorf("got %v and %v", first, second)
	}
	if _, other := Defined(map[string]any{"name": "other", "wrong": 1}); fmt.Sprint(other) == fmt.Sprint(first) {
		t.Errorf("another recipe has the same faults: %v", other)
	}
	for i := range 3 * maxDefined {
		_, _ = Defined(map[string]any{"name": fmt.Sprint("x", i)})
	}
	if kept := len(defined.compiled); kept > maxDefined {
		t.Errorf("%d recipes are kept", kept)
	}
}
