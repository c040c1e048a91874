// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1/schema"
	"custody.dev/custody/internal/wire/kinds"
)

// fits says where a value does not have the form that a schema asks for, by as much of JSON schema as Schema writes.
func fits(definitions, is map[string]any, value any, at string) []string {
	if all, ok := is["allOf"].([]any); ok {
		return fits(definitions, all[0].(map[string]any), value, at)
	}
	if reference, ok := is["$ref"].(string); ok {
		named, found := definitions[strings.TrimPrefix(reference, schema.Definitions)].(map[string]any)
		if !found {
			return []string{at + ": there is no " + reference}
		}
		return fits(definitions, named, value, at)
	}
	if want, ok := is["const"]; ok && want != value {
		return []string{fmt.Sprintf("%s: %v is not %v", at, value, want)}
	}
	kind := map[string]any{"string": "", "integer": 0, "boolean": false}
	switch is["type"] {
	case "object":
		return fitsObject(definitions, is, value, at)
	case "array":
		list, ok := value.([]any)
		if !ok {
			return []string{at + " is no list"}
		}
		var faults []string
		for i, one := range list {
			faults = append(faults, fits(definitions, is["items"].(map[string]any), one, fmt.Sprintf("%s.%d", at, i))...)
		}
		return faults
	case nil:
		return nil
	default:
		if at, is := value.(time.Time); is { // which YAML makes of a text, and editors do not
			value = at.String()
		}
		if fmt.Sprintf("%T", value) != fmt.Sprintf("%T", kind[is["type"].(string)]) {
			return []string{fmt.Sprintf("%s is %T, want %s", at, value, is["type"])}
		}
	}
	return nil
}

func fitsObject(definitions, is map[string]any, value any, at string) (faults []string) {
	fields, ok := value.(map[string]any)
	if !ok {
		return []string{at + " is no mapping"}
	}
	required, _ := is["required"].([]any)
	for _, name := range required {
		if _, has := fields[name.(string)]; !has {
			faults = append(faults, fmt.Sprintf("%s lacks %s", at, name))
		}
	}
	properties, _ := is["properties"].(map[string]any)
	for name, field := range fields {
		property, known := properties[name].(map[string]any)
		if !known {
			property, known = is["additionalProperties"].(map[string]any)
			if is["additionalProperties"] == nil {
				continue
			}
		}
		if !known {
			faults = append(faults, at+" has the unknown field "+name)
			continue
		}
		faults = append(faults, fits(definitions, property, field, at+"."+name)...)
	}
	return faults
}

// open is what the estate for tests leaves to be filled in.
var open = regexp.MustCompile(`\{\{[A-Z:a-z]+\}\}`)

// What lints has the form that editors are told of, and what does not have it is marked.
func TestDocumentsFitTheSchema(t *testing.T) {
	var whole struct{ Definitions map[string]any }
	if err := json.Unmarshal(Schema(tree, kinds.Upstreams()), &whole); err != nil {
		t.Fatal(err)
	}
	count := 0
	check := func(text []byte, name string) (faults []string) {
		for decoder := yaml.NewDecoder(strings.NewReader(string(text))); ; {
			var document map[string]any
			if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
				return faults
			} else if err != nil {
				t.Fatal(name, err)
			}
			count++
			kind, _ := document["kind"].(string)
			faults = append(faults, fits(whole.Definitions, map[string]any{"$ref": schema.Definitions + kind}, document, kind)...)
		}
	}
	for _, pattern := range []string{"examples/*/estate/*.yaml", "examples/*/*.yaml", "internal/intent/testdata/good/estate/*/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasPrefix(filepath.Base(filepath.Dir(file)), ".") { // not part of the estate
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(file, "examples") { // it leaves recipients and what is encrypted open
				text = open.ReplaceAll(text, []byte("filled"))
			}
			for _, fault := range check(text, file) {
				t.Errorf("%s: %s", file, fault)
			}
		}
	}
	if count < 10 {
		t.Errorf("only %d documents were found", count)
	}
	const broken = "apiVersion: custody.dev/v1alpha1\nkind: Upstream\nmetadata: {name: db}\nspec: {postgres: {hots: x, port: many}}\n"
	if faults := check([]byte(broken), "broken"); len(faults) != 3 {
		t.Errorf("got %q, want an unknown field, a missing one and one of another type", faults)
	}
}
