// SPDX-License-Identifier: Apache-2.0

package formula_test

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/secret"
)

// allocated is how many bytes do takes from the heap in all, freed or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A formula of 16 KB made 120 MB: inputs many times over, and functions that double what they are given.
func TestFormulaTakesNoMoreThanItsBounds(t *testing.T) {
	large, err := secret.Text(map[string]string{"password": strings.Repeat(`"`, secret.MaxBytes-100)})
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprintf("field%d", i)] = "{{ .db.password }}"
	}
	more := maps.Clone(many)
	more["another"] = "text"
	for name, test := range map[string]struct {
		fields map[string]string
		want   string
	}{
		"an input many times":          {map[string]string{"out": strings.Repeat("{{.db.password}}", 1000)}, "longer than the 65536 bytes"},
		"an input in many fields":      {many, "longer than the 65536 bytes"},
		"more fields":                  {more, "may have 100"},
		"functions that double":        {map[string]string{"out": "{{ .db.password" + strings.Repeat(" | json", 90) + " }}"}, "longer than the 65536 bytes"},
		"functions that grow a little": {map[string]string{"out": `{{ "a"` + strings.Repeat(" | base64", 90) + " }}"}, "longer than the 65536 bytes"},
		"many calls":                   {map[string]string{"out": strings.Repeat(`{{ base64 "a" }}`, 101)}, "more than 100 calls of functions"},
		"many hashes":                  {map[string]string{"out": strings.Repeat(`{{ htpasswd "a" "b" }}`, 5)}, "more than 4 calls of htpasswd"},
		"a long template":              {map[string]string{"out": "{{ .db.password }}" + strings.Repeat("x", secret.MaxBytes)}, "may have 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			took := allocated(func() {
				var f *formula.Formula
				if f, err = formula.Compile(test.fields, []string{"db"}); err == nil {
					_, err = f.Compute(map[string]secret.Value{"db": large})
				}
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if most := uint64(64 * secret.MaxBytes); took > most {
				t.Errorf("it took %d bytes, want %d at most: 64 times what a value may hold", took, most)
			}
		})
	}
}
