// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// UpstreamSpec says where the upstream is and which admin credential Custody uses there. Exactly one type is given.
type UpstreamSpec struct {
	// Name of the ManagedSecret with the admin credential. `custody upstream explain TYPE` says which fields it needs,
	// or that the type needs none.
	AdminRef string `json:"adminRef,omitempty"`
	// Where the upstream is, under the name of its type.
	Server Parameters `json:",inline" parameters:"server"`
}

// Parameters are what a document says to types of upstream, by the name of the type: pointers to structs that the type's own
// package defines. In documents each stands under its name, among the fields of what holds them. Whoever decodes is given the
// types; see package intent.
type Parameters map[string]any

// Type returns the name of the type that parameters are given of, "" for none; of several, which no rule lets pass, one.
func (p Parameters) Type() string {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		return name
	}
	return ""
}

// Of returns the parameters of that type, the zero S where there are none.
func Of[S any](p Parameters, name string) S {
	if given, ok := p[name].(*S); ok {
		return *given
	}
	var none S
	return none
}

// MarshalJSON writes the parameters in their place.
func (s UpstreamSpec) MarshalJSON() ([]byte, error) { return inline(reflect.ValueOf(s)) }

// MarshalJSON writes the account's parameters in their place.
func (s RotationSpec) MarshalJSON() ([]byte, error) { return inline(reflect.ValueOf(s)) }

// inline writes a struct as encoding/json does, with Parameters under their own names where their field stands.
func inline(v reflect.Value) ([]byte, error) {
	var b bytes.Buffer
	write := func(name string, value any) error {
		encoded, err := json.Marshal(value)
		if err != nil {
			return err
		}
		b.WriteByte(',')
		b.WriteString(`"` + name + `":`)
		b.Write(encoded)
		return nil
	}
	for i := range v.NumField() {
		if given, ok := v.Field(i).Interface().(Parameters); ok {
			for _, name := range slices.Sorted(maps.Keys(given)) {
				if err := write(name, given[name]); err != nil {
					return nil, err
				}
			}
			continue
		}
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if options == "omitempty" && v.Field(i).IsZero() {
			continue
		}
		if err := write(name, v.Field(i).Interface()); err != nil {
			return nil, err
		}
	}
	if b.Len() == 0 {
		return []byte("{}"), nil
	}
	encoded := append(b.Bytes(), '}')
	encoded[0] = '{'
	return encoded, nil
}
