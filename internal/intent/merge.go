// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
)

// merged returns the secret's document as it holds in an environment: the document itself when nothing is overridden.
// Faults of the merged whole are reported where the patch, or else the document, says it.
func (r *reader) merged(d *document, environment string) *document {
	secret := d.value.(*v1alpha1.ManagedSecret)
	patch, ok := secret.Spec.Environments[environment]
	if environment == "" || !ok || len(patch) == 0 {
		return d
	}
	out := *d
	out.override = environment
	spec, err := mergeSpec(secret.Spec, patch)
	if err != nil {
		r.fault(d, "field-type", at("spec", "environments", environment), "the override cannot be merged", "")
		return d
	}
	whole := &v1alpha1.ManagedSecret{Header: secret.Header}
	r.decode(&out, spec, reflect.ValueOf(&whole.Spec).Elem(), at("spec"))
	out.value = whole
	return &out
}

// mergeSpec applies an RFC 7396 patch to spec without its overrides.
func mergeSpec(spec v1alpha1.ManagedSecretSpec, patch v1alpha1.RawPatch) (*yaml.Node, error) {
	spec.Environments = nil
	base, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding spec: %w", err)
	}
	change, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encoding override: %w", err)
	}
	merged, err := jsonpatch.MergePatch(base, change)
	if err != nil {
		return nil, fmt.Errorf("merging override: %w", err)
	}
	var whole any
	decoder := json.NewDecoder(bytes.NewReader(merged))
	decoder.UseNumber()
	if err := decoder.Decode(&whole); err != nil {
		return nil, fmt.Errorf("decoding merged spec: %w", err)
	}
	return nodeOf(whole), nil
}

// nodeOf is the YAML tree of a JSON value.
func nodeOf(value any) *yaml.Node {
	scalar := func(tag, text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text} }
	switch value := value.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			n.Content = append(n.Content, scalar("!!str", key), nodeOf(value[key]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range value {
			n.Content = append(n.Content, nodeOf(item))
		}
		return n
	case string:
		return scalar("!!str", value)
	case json.Number:
		return scalar("!!int", value.String())
	case bool:
		return scalar("!!bool", strconv.FormatBool(value))
	}
	return scalar("!!null", "null")
}
