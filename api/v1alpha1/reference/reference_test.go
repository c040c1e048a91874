// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
)

// TestEveryFieldIsListed compares the reference with the compiled types, which know nothing of comments.
func TestEveryFieldIsListed(t *testing.T) {
	got := string(Markdown())
	seen := map[reflect.Type]bool{}
	count := 0
	inlined := func(f reflect.StructField) bool { return f.Anonymous && f.Type != reflect.TypeFor[v1alpha1.Header]() }
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(of.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[of] {
			return
		}
		seen[of] = true
		_, table, found := strings.Cut(got, "`: "+of.Name()+"\n")
		if !found {
			_, table, found = strings.Cut(got, "\n## "+of.Name()+"\n")
		}
		table, _, _ = strings.Cut(table, "\n#")
		if !found && of != reflect.TypeFor[v1alpha1.Header]() {
			t.Errorf("type %s has no section", of.Name())
		}
		for i := range of.NumField() {
			f := of.Field(i)
			if inlined(f) {
				for j := range f.Type.NumField() {
					walk(f.Type.Field(j).Type)
				}
				continue
			}
			walk(f.Type)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || !found {
				continue
			}
			count++
			required := "yes"
			if strings.Contains(options, "omitempty") {
				required = "no"
			}
			row := regexp.MustCompile("\n\\| `" + name + "` \\| [^|]+ \\| " + required + " \\| [^|]+")
			if !row.MatchString(table) {
				t.Errorf("%s.%s (required: %s) is not listed", of.Name(), name, required)
			}
		}
	}
	for _, kind := range []any{
		v1alpha1.Platform{}, v1alpha1.ManagedSecret{}, v1alpha1.RotationPolicy{}, v1alpha1.Upstream{}, v1alpha1.BootstrapSecret{}, v1alpha1.Host{},
	} {
		walk(reflect.TypeOf(kind))
	}
	if count < 80 {
		t.Errorf("only %d fields were found", count)
	}
	if !bytes.Equal(Markdown(), []byte(got)) {
		t.Error("the reference differs between two renderings")
	}
}

func TestFieldWithoutComment(t *testing.T) {
	source := strings.Replace(v1alpha1.Source(), "\t// Name of the Platform.\n", "", 1)
	defer func() {
		if recover() == nil {
			t.Error("a field without a comment was rendered")
		}
	}()
	render(source)
}
