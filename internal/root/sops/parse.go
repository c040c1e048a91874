// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	getsops "github.com/getsops/sops/v3"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/root"
)

const (
	// maxDocument bounds what is parsed at all: a value of 64 KiB in base64 twice over, and room for recipients.
	maxDocument = 1 << 20
	maxDepth    = 16
)

var (
	// ciphertext is stricter than the library's own form, which ignores what follows and what base64 leaves open: each
	// plaintext then has one spelling, and types other than text (which the library does not authenticate, and which
	// can make it panic) never reach it.
	ciphertext = lazyregexp.New(`^ENC\[AES256_GCM,data:([A-Za-z0-9+/]+=*),iv:([A-Za-z0-9+/]{43}=),tag:([A-Za-z0-9+/]{22}==),type:([a-z]+)\]$`)
	// otherKeys are kinds of recipient that older sops lists as empty.
	otherKeys = []string{"kms", "gcp_kms", "azure_kv", "hc_vault", "hckms", "pgp", "key_groups"}
)

// sealed is a document whose form has been checked and whose data is still encrypted.
type sealed struct {
	document root.Document // without binding and value
	data     getsops.TreeBranch
	keys     []sealedKey
	mac      string
	modified time.Time
}

type sealedKey struct{ recipient, sealed string }

// parse checks everything that can be checked without a key.
func parse(raw []byte) (*sealed, error) {
	top, err := load(raw)
	if err != nil {
		return nil, err
	}
	s := &sealed{}
	fields, err := fieldsOf(top, "the document")
	if err != nil {
		return nil, err
	}
	if fields["apiVersion"] == nil || fields["apiVersion"].Value != v1alpha1.APIVersion ||
		fields["kind"] == nil || fields["kind"].Value != v1alpha1.KindBootstrapSecret {
		return nil, malformed("it is no %s of %s", v1alpha1.KindBootstrapSecret, v1alpha1.APIVersion)
	}
	if err := s.readHeader(fields); err != nil {
		return nil, err
	}
	if fields[dataField] == nil {
		return nil, malformed("it has no data")
	}
	if fields["sops"] == nil {
		return nil, &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrPlaintext, Detail: "it has no sops metadata",
			Next: "encrypt it with sops encrypt --in-place; if it was ever committed as it is, treat the value as exposed and rotate it"}
	}
	if err := s.readData(fields[dataField]); err != nil {
		return nil, err
	}
	return s, s.readMetadata(fields["sops"])
}

// load yields the mapping of a single YAML document without anchors, aliases and doubled keys.
func load(raw []byte) (top *yaml.Node, err error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, malformed("it is empty")
	}
	if len(raw) > maxDocument {
		return nil, malformed("it has %d bytes; %d at most", len(raw), maxDocument)
	}
	// Documents come from Git, which is not trusted to be kind to a parser: a panic in it is a malformed document.
	defer func() {
		if recover() != nil {
			top, err = nil, malformed("it is not YAML")
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	var node, next yaml.Node
	if err := decoder.Decode(&node); err != nil { // its words may quote what it read
		return nil, malformed("it is not YAML, or is cut short")
	}
	if err := decoder.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, malformed("it holds more than one YAML document")
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) != 1 || node.Content[0].Kind != yaml.MappingNode {
		return nil, malformed("it is no mapping, or is cut short")
	}
	if err := simple(node.Content[0], 0); err != nil {
		return nil, err
	}
	return node.Content[0], nil
}

func simple(node *yaml.Node, depth int) error {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		return malformed("line %d uses an anchor or alias", node.Line)
	}
	if depth > maxDepth {
		return malformed("line %d is nested more than %d deep", node.Line, maxDepth)
	}
	seen := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			if child.Kind != yaml.ScalarNode || child.ShortTag() != "!!str" {
				return malformed("line %d has a key that is not text", child.Line)
			}
			if seen[child.Value] {
				return malformed("line %d repeats a key", child.Line)
			}
			seen[child.Value] = true
		}
		if err := simple(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func fieldsOf(node *yaml.Node, what string) (map[string]*yaml.Node, error) {
	if node.Kind != yaml.MappingNode {
		return nil, malformed("%s is no mapping, or is cut short", what)
	}
	fields := make(map[string]*yaml.Node, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		fields[node.Content[i].Value] = node.Content[i+1]
	}
	return fields, nil
}

func (s *sealed) readHeader(fields map[string]*yaml.Node) error {
	var metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	}
	var spec struct {
		Seeds    string   `yaml:"seeds"`
		NeededBy []string `yaml:"neededBy"`
	}
	if fields["metadata"] == nil || fields["metadata"].Decode(&metadata) != nil || metadata.Name == "" {
		return malformed("metadata has no name")
	}
	if fields["spec"] == nil || fields["spec"].Decode(&spec) != nil || spec.Seeds == "" {
		return malformed("spec does not say which secret it seeds, or is cut short")
	}
	s.document = root.Document{Name: metadata.Name, Labels: metadata.Labels, Seeds: spec.Seeds, NeededBy: spec.NeededBy}
	return nil
}

// readData wants the two mappings and nothing but ciphertext in them. Comments are left behind: they are not covered by
// the MAC, and the library logs those that are plain.
func (s *sealed) readData(node *yaml.Node) error {
	parts, err := fieldsOf(node, dataField)
	if err != nil {
		return err
	}
	if len(parts) != 2 || parts[bindingField] == nil || parts[valuesField] == nil {
		return malformed("data holds %s; it must hold binding and values", strings.Join(slices.Sorted(maps.Keys(parts)), ", "))
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		part := node.Content[i].Value
		if _, err := fieldsOf(node.Content[i+1], "data."+part); err != nil {
			return err
		}
		var branch getsops.TreeBranch
		for j := 0; j+1 < len(node.Content[i+1].Content); j += 2 {
			name, leaf := node.Content[i+1].Content[j].Value, node.Content[i+1].Content[j+1]
			if part == bindingField && !slices.Contains([]string{"namespace", "path", "platform", "secret"}, name) {
				return malformed("data.binding has the unknown field %q", name)
			}
			if err := s.checkLeaf("data."+part+"."+name, leaf); err != nil {
				return err
			}
			branch = append(branch, getsops.TreeItem{Key: name, Value: leaf.Value})
		}
		s.data = append(s.data, getsops.TreeItem{Key: part, Value: branch})
	}
	if binding, _ := fieldsOf(parts[bindingField], ""); binding["platform"] == nil || binding["secret"] == nil {
		return malformed("data.binding must hold platform, secret and path")
	} else if binding["path"] == nil {
		return &root.Error{Doing: "opening document", Class: root.ErrMalformed,
			Detail: "data.binding holds no path, so that it does not say where its value belongs",
			Next:   "seal its value again: `custody seal NAME --replace`"}
	}
	if len(parts[valuesField].Content) == 0 {
		return malformed("data.values is empty")
	}
	return nil
}

func (s *sealed) checkLeaf(where string, leaf *yaml.Node) error {
	if leaf.Kind != yaml.ScalarNode {
		return malformed("%s is not a single text", where)
	}
	if leaf.Value == "" || leaf.ShortTag() == "!!null" {
		return &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrMalformed,
			Detail: where + " is empty, which sops neither encrypts nor protects",
			Next:   fmt.Sprintf("remove it, or write an empty value as NAME%s: %q", tagSuffix, tagPrefix)}
	}
	if !strings.Contains(leaf.Value, "AES256_GCM,data:") {
		return &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrPlaintext, Detail: where + " is plain",
			Next: "put it in with sops edit; if it was ever committed as it is, treat the value as exposed and rotate it"}
	}
	return s.checkCiphertext(where, leaf.Value)
}

func (s *sealed) checkCiphertext(where, encrypted string) error {
	parts := ciphertext.FindStringSubmatch(encrypted)
	if parts == nil {
		return malformed("%s is damaged ciphertext", where)
	}
	for _, part := range parts[1:4] {
		if _, err := base64.StdEncoding.Strict().DecodeString(part); err != nil {
			return malformed("%s is damaged ciphertext", where)
		}
	}
	if parts[4] != "str" {
		return &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrMalformed, Detail: where + " is not text but " + parts[4],
			Next: "edit it with sops and put the value in quotes"}
	}
	return nil
}

func (s *sealed) readMetadata(node *yaml.Node) error {
	fields, err := fieldsOf(node, "sops")
	if err != nil {
		return err
	}
	for name, field := range fields {
		switch {
		case slices.Contains([]string{"age", "encrypted_regex", "lastmodified", "mac", "mac_only_encrypted", "version"}, name):
		case slices.Contains(otherKeys, name) && len(field.Content) == 0:
		default:
			return &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrMalformed,
				Detail: fmt.Sprintf("sops has %q; only age recipients in one group, encrypted by encrypted_regex, are taken", name),
				Next:   "seal it again to age recipients alone"}
		}
	}
	var meta struct {
		Age []struct {
			Recipient string `yaml:"recipient"`
			Enc       string `yaml:"enc"`
		} `yaml:"age"`
		EncryptedRegex   string `yaml:"encrypted_regex"`
		LastModified     string `yaml:"lastmodified"`
		MAC              string `yaml:"mac"`
		MACOnlyEncrypted bool   `yaml:"mac_only_encrypted"`
	}
	if node.Decode(&meta) != nil {
		return malformed("sops metadata has fields of the wrong kind")
	}
	if meta.EncryptedRegex != encryptedRegex || !meta.MACOnlyEncrypted {
		return &root.Error{Doing: "opening document " + s.document.Name, Class: root.ErrMalformed,
			Detail: "it would not survive being sorted by an API server",
			Next:   "decrypt it and encrypt it again with --encrypted-regex '" + encryptedRegex + "' --mac-only-encrypted"}
	}
	if s.modified, err = time.Parse(time.RFC3339, meta.LastModified); err != nil {
		return malformed("sops.lastmodified is no time")
	}
	if err := s.checkCiphertext("sops.mac", meta.MAC); err != nil {
		return err
	}
	s.mac = meta.MAC
	for _, key := range meta.Age {
		if err := root.CheckRecipient(key.Recipient); err != nil {
			return fmt.Errorf("opening document %s: %w", s.document.Name, err)
		}
		if key.Enc == "" {
			return malformed("sops holds no key for %s", key.Recipient)
		}
		s.keys = append(s.keys, sealedKey{key.Recipient, key.Enc})
	}
	if len(s.keys) == 0 {
		return malformed("sops names no age recipient")
	}
	return nil
}

func emit(top *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top); err != nil {
		return nil, fmt.Errorf("writing document: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("writing document: %w", err)
	}
	return out.Bytes(), nil
}

func branchNode(branch getsops.TreeBranch) *yaml.Node {
	var content []*yaml.Node
	for _, item := range branch {
		name, _ := item.Key.(string)
		switch value := item.Value.(type) {
		case getsops.TreeBranch:
			content = append(content, mapping(name, branchNode(value))...)
		case string:
			content = append(content, mapping(name, text(value))...)
		}
	}
	return tree(content)
}

func tree(content []*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: content}
}

func mapping(name string, value *yaml.Node) []*yaml.Node { return []*yaml.Node{text(name), value} }

func text(value string) *yaml.Node {
	var node yaml.Node
	node.SetString(value)
	return &node
}

func texts(values map[string]string) *yaml.Node {
	var content []*yaml.Node
	for _, name := range slices.Sorted(maps.Keys(values)) {
		content = append(content, mapping(name, text(values[name]))...)
	}
	return tree(content)
}

func list(values []string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, value := range values {
		node.Content = append(node.Content, text(value))
	}
	return node
}
