// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
)

// FileKind is the kind of a grants file's document.
const FileKind = "Grants"

// file is an operator's file: for each kind, to what is granted, by what it is of.
type file struct {
	APIVersion string              `yaml:"apiVersion"`
	Kind       string              `yaml:"kind"`
	Recipients map[string][]string `yaml:"recipients,omitempty"`
	Endpoints  map[string][]string `yaml:"endpoints,omitempty"`
	Readers    map[string][]string `yaml:"readers,omitempty"`
}

func (f *file) kinds() map[Kind]*map[string][]string {
	return map[Kind]*map[string][]string{Recipient: &f.Recipients, Endpoint: &f.Endpoints, Reader: &f.Readers}
}

// Parse reads an operator's file. It holds nothing secret, and errors may quote it.
func Parse(data []byte) ([]Grant, error) {
	var f file
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading grants: %w", err)
	}
	if f.APIVersion != v1alpha1.APIVersion || f.Kind != FileKind {
		return nil, fmt.Errorf("reading grants: want apiVersion: %s and kind: %s", v1alpha1.APIVersion, FileKind)
	}
	if err := decoder.Decode(&file{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading grants: want one document alone")
	}
	set := Set{}
	for kind, named := range f.kinds() {
		for of, to := range *named {
			for _, one := range to {
				g := Grant{kind, of, one}
				if err := g.Check(); err != nil {
					return nil, fmt.Errorf("reading grants: %w", err)
				}
				set[g] = true
			}
		}
	}
	return set.List(), nil
}

// Format writes a file that Parse reads, with a comment before it.
func Format(comment string, grants []Grant) []byte {
	f := file{APIVersion: v1alpha1.APIVersion, Kind: FileKind}
	kinds := f.kinds()
	for _, g := range slices.SortedFunc(maps.Keys(SetOf(grants...)), Compare) {
		named := kinds[g.Kind]
		if *named == nil {
			*named = map[string][]string{}
		}
		(*named)[g.Of] = append((*named)[g.Of], g.To)
	}
	var b bytes.Buffer
	b.WriteString(comment)
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(f); err != nil {
		panic("grant: encoding strings cannot fail: " + err.Error())
	}
	return b.Bytes()
}
