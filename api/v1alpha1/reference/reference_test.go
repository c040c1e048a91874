// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/wire/kinds"
)

const tree = "../../.."

// Every JSON field of every type that documents are made of stands in the table of its type, with what it is.
func TestEveryFieldIsListed(t *testing.T) {
	got := string(Markdown(tree, kinds.Upstreams()))
	types := map[reflect.Type]bool{}
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(of.Elem())
		case reflect.Struct:
			if types[of] {
				return
			}
			types[of] = true
			for i := range of.NumField() {
				walk(of.Field(i).Type)
			}
		}
	}
	for _, kind := range documents() {
		walk(reflect.TypeOf(kind))
	}
	for _, u := range kinds.Upstreams() {
		walk(reflect.TypeOf(u.NewServer()))
		walk(reflect.TypeOf(u.NewAccount()))
		for _, path := range []string{"spec.", "spec.rotation."} {
			if !strings.Contains(got, "\n### `"+path+u.Name()+"`: "+u.Name()+".") {
				t.Errorf("type %s has no section %s%s", u.Name(), path, u.Name())
			}
		}
	}
	count := 0
	for of := range types {
		_, table, found := strings.Cut(got, "`: "+shown(of)+"\n")
		if !found {
			_, table, found = strings.Cut(got, "\n## "+of.Name()+"\n")
		}
		table, _, _ = strings.Cut(table, "\n#")
		if !found && of != reflect.TypeFor[v1alpha1.Header]() {
			t.Errorf("type %s has no section", of)
			continue
		}
		for i := range of.NumField() {
			name, options, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name == "" || !found {
				continue
			}
			count++
			required := map[bool]string{true: "no", false: "yes"}[strings.Contains(options, "omitempty")]
			_, row, listed := strings.Cut(table, "\n| `"+name+"` | ")
			row, _, _ = strings.Cut(row, "\n")
			if cells := strings.Split(row, " | "); !listed || len(cells) < 3 || cells[1] != required || cells[2] == "" {
				t.Errorf("%s.%s (required: %s) is not listed: %q", of, name, required, row)
			}
		}
	}
	if count < 200 {
		t.Errorf("only %d fields were found", count)
	}
	if !bytes.Equal(Markdown(tree, kinds.Upstreams()), []byte(got)) {
		t.Error("the reference differs between two renderings")
	}
}

func TestFieldWithoutComment(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "api", "v1alpha1")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"types.go", "derived.go", "upstreams.go"} {
		source, err := os.ReadFile(filepath.Join(tree, "api", "v1alpha1", name))
		if err != nil {
			t.Fatal(err)
		}
		source = bytes.Replace(source, []byte("\t// Name of the Platform.\n"), nil, 1)
		if err := os.WriteFile(filepath.Join(folder, name), source, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if said := recover(); said == nil || !strings.Contains(said.(string), "Binding.Platform has no comment") {
			t.Errorf("a field without a comment was rendered, or something else was wrong: %v", said)
		}
	}()
	Markdown(filepath.Dir(filepath.Dir(folder)), nil)
}
