// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	getsops "github.com/getsops/sops/v3"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

const (
	dataField    = "data"
	bindingField = "binding"
	valuesField  = "values"
	tagSuffix    = ".base64"
	tagPrefix    = "base64:"
)

// encodeData lays out what is encrypted, in alphabetical order.
func encodeData(binding v1alpha1.Binding, v secret.Value) getsops.TreeBranch {
	var bound, values getsops.TreeBranch
	if binding.Namespace != "" {
		bound = append(bound, getsops.TreeItem{Key: "namespace", Value: binding.Namespace})
	}
	bound = append(bound, getsops.TreeItem{Key: "path", Value: binding.Path}, getsops.TreeItem{Key: "platform", Value: binding.Platform}, getsops.TreeItem{Key: "secret", Value: binding.Secret})

	written := map[string]string{}
	for _, name := range v.Names() {
		data := v.Expose(name)
		key, content := name, string(data)
		if strings.HasSuffix(name, tagSuffix) || !plain(data) {
			key, content = name+tagSuffix, tagPrefix+base64.StdEncoding.EncodeToString(data)
		}
		written[key] = content
	}
	for _, key := range slices.Sorted(maps.Keys(written)) {
		values = append(values, getsops.TreeItem{Key: key, Value: written[key]})
	}
	return getsops.TreeBranch{{Key: bindingField, Value: bound}, {Key: valuesField, Value: values}}
}

// plain reports whether data can travel as text. An empty field cannot: sops leaves it out of encryption and MAC, so
// anyone could add or drop one. Neither can what an editor that rewrites the YAML would not give back unchanged.
func plain(data []byte) bool {
	if len(data) == 0 || !utf8.Valid(data) {
		return false
	}
	written, err := yaml.Marshal(map[string]string{"v": string(data)})
	if err != nil {
		return false
	}
	var back map[string]string
	return yaml.Unmarshal(written, &back) == nil && back["v"] == string(data)
}

// decodeData reads what encodeData laid out and sops edits may have changed.
func decodeData(branch getsops.TreeBranch) (v1alpha1.Binding, secret.Value, error) {
	var binding v1alpha1.Binding
	fields := map[string][]byte{}
	for _, part := range branch {
		items, ok := part.Value.(getsops.TreeBranch)
		if !ok {
			return binding, secret.Value{}, malformed("data.%v is no mapping", part.Key)
		}
		for _, item := range items {
			name, isText := item.Key.(string)
			content, isContent := item.Value.(string)
			if !isText || !isContent {
				return binding, secret.Value{}, malformed("data.%v.%v is not text", part.Key, item.Key)
			}
			if part.Key == valuesField {
				if err := decodeField(fields, name, content); err != nil {
					return binding, secret.Value{}, err
				}
				continue
			}
			switch name {
			case "namespace":
				binding.Namespace = content
			case "path":
				binding.Path = content
			case "platform":
				binding.Platform = content
			case "secret":
				binding.Secret = content
			}
		}
	}
	v, err := secret.New(fields)
	if err != nil {
		return binding, secret.Value{}, &root.Error{Doing: "opening document", Class: root.ErrMalformed, Detail: err.Error(),
			Next: "correct it with sops edit"}
	}
	return binding, v, nil
}

func decodeField(fields map[string][]byte, name, content string) error {
	data := []byte(content)
	if bare, tagged := strings.CutSuffix(name, tagSuffix); tagged {
		encoded, marked := strings.CutPrefix(content, tagPrefix)
		if !marked {
			return malformed("data.values.%s is not written %q", name, tagPrefix+"…")
		}
		decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			return malformed("data.values.%s has malformed base64", name)
		}
		name, data = bare, decoded
	}
	if _, twice := fields[name]; twice {
		return malformed("data.values has field %s both as text and as base64", name)
	}
	fields[name] = data
	return nil
}

func malformed(format string, args ...any) error {
	return &root.Error{Doing: "opening document", Class: root.ErrMalformed, Detail: fmt.Sprintf(format, args...),
		Next: "correct it with sops edit, or restore it from an earlier commit"}
}
