// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"bytes"
	"encoding/json"
	"reflect"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/api/v1alpha1/schema"
	"custody.dev/custody/internal/upstream"
)

// object is a piece of a JSON schema.
type object map[string]any

// Schema returns the JSON schema (draft 7) of every document, with what the reference says of each field. Tree is as for Markdown.
func Schema(tree string, types upstream.Types) []byte {
	p := &page{comments: &comments{tree: tree}, upstreams: types}
	definitions, kinds := object{}, []any{}
	for _, kind := range documents() {
		of := reflect.TypeOf(kind)
		p.define(definitions, of)
		kinds = append(kinds, object{"$ref": schema.Definitions + of.Name()})
		header := object{}
		p.define(header, reflect.TypeFor[v1alpha1.Header]())
		whole := definitions[of.Name()].(object)
		properties := whole["properties"].(object)
		for name, is := range header["Header"].(object)["properties"].(object) {
			properties[name] = is
		}
		for name, definition := range header {
			if name != "Header" {
				definitions[name] = definition
			}
		}
		properties["apiVersion"] = object{"const": v1alpha1.APIVersion}
		properties["kind"] = object{"const": of.Name()}
		required, _ := whole["required"].([]string)
		whole["required"] = append([]string{"apiVersion", "kind", "metadata"}, required...)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(object{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "Custody documents, " + v1alpha1.APIVersion,
		"oneOf": kinds, "definitions": definitions,
	}); err != nil {
		panic("reference: " + err.Error())
	}
	return out.Bytes()
}

// define adds the definition of a struct type, and of those that it uses.
func (p *page) define(definitions object, of reflect.Type) {
	if definitions[shown(of)] != nil {
		return
	}
	properties, required := object{}, []string(nil)
	whole := object{"type": "object", "properties": properties, "additionalProperties": false}
	definitions[shown(of)] = whole // before those it uses, which may use it
	for _, f := range p.fields(of) {
		is := p.form(definitions, f.is)
		if is["$ref"] != nil { // beside which draft 7 reads nothing
			is = object{"allOf": []any{is}}
		}
		is["description"] = f.doc
		properties[f.name] = is
		if f.required {
			required = append(required, f.name)
		}
	}
	if required != nil {
		whole["required"] = required
	}
}

// form is the schema of a type's values.
func (p *page) form(definitions object, of reflect.Type) object {
	switch of.Kind() {
	case reflect.Pointer:
		return p.form(definitions, of.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": p.form(definitions, of.Elem())}
	case reflect.Map:
		if of.Elem().Kind() == reflect.Interface {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": p.form(definitions, of.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int:
		return object{"type": "integer"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		p.define(definitions, of)
		return object{"$ref": schema.Definitions + shown(of)}
	}
	panic("reference: no schema for type " + of.String())
}
