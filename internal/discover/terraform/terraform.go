// SPDX-License-Identifier: Apache-2.0

// Package terraform finds secrets in configurations, variables and state of Terraform and OpenTofu.
//
// Configurations are parsed and not evaluated: a value that an expression computes is not found. State of a backend is not
// fetched.
package terraform

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"custody.dev/custody/internal/discover/clue"
)

// Readers are those of configurations and of state.
func Readers() []clue.Reader {
	return []clue.Reader{
		{Source: "terraform", Wants: func(f *clue.File) bool {
			return f.Ext() == ".tf" || f.Ext() == ".tofu" || f.Ext() == ".tfvars"
		}, Read: readHCL},
		{Source: "terraform", Wants: func(f *clue.File) bool {
			return f.Ext() == ".tfstate" || strings.HasSuffix(f.Base(), ".tfstate.backup") || strings.HasSuffix(f.Base(), ".tfvars.json")
		}, Read: readJSON},
	}
}

// makers are resources that make a secret.
var makers = map[string]string{
	"random_password": "password", "random_string": "", "tls_private_key": "private key", "aws_iam_access_key": "cloud access key",
	"google_service_account_key": "cloud access key", "azuread_application_password": "cloud access key",
	"azuread_service_principal_password": "cloud access key", "vault_token": "token", "vault_approle_auth_backend_role_secret_id": "token",
	"github_actions_secret": "", "gitlab_project_access_token": "token", "grafana_service_account_token": "token", "cloudflare_api_token": "token",
}

// secretful are attributes that are secret whatever they are called, by resource or provider.
var secretful = map[string][]string{
	"provider.grafana": {"auth"}, "aws_secretsmanager_secret_version": {"secret_string"}, "github_actions_secret": {"plaintext_value"},
	"vault_generic_secret": {"data_json"}, "vault_kv_secret_v2": {"data_json"}, "google_secret_manager_secret_version": {"secret_data"},
	"azurerm_key_vault_secret": {"value"}, "gitlab_project_variable": {"value"},
}

type reading struct {
	f     *clue.File
	found clue.Found
	seen  map[string]bool
}

// mostHCL bounds the configurations that are parsed, in bytes: signs nest without brackets, and each level takes stack.
const mostHCL = 512 << 10

func readHCL(f *clue.File, found clue.Found) bool {
	if !clue.Parsable(f.Data, mostHCL) {
		return false
	}
	parsed, faults := hclsyntax.ParseConfig(f.Data, f.Path, hcl.Pos{Line: 1, Column: 1})
	if parsed == nil {
		return false
	}
	body, is := parsed.Body.(*hclsyntax.Body)
	if !is {
		return false
	}
	r := reading{f, found, map[string]bool{}}
	for name, attribute := range body.Attributes { // only a file of variables has any here
		r.expression("var."+name, name, "", attribute.Expr)
	}
	for _, block := range body.Blocks {
		r.block(block)
	}
	return !faults.HasErrors()
}

func (r reading) key(name string) string { return "terraform:" + r.f.Dir() + "#" + name }

func (r reading) tell(c clue.Clue) {
	c.Source = "terraform"
	if c.Keys == nil {
		c.Keys = []string{r.key(c.Name)}
	}
	r.found(c)
}

func (r reading) block(b *hclsyntax.Block) {
	line := b.TypeRange.Start.Line
	switch {
	case b.Type == "terraform":
	case b.Type == "variable" && len(b.Labels) == 1:
		r.variable(b.Labels[0], b.Body, line)
	case b.Type == "resource" && len(b.Labels) == 2:
		name := b.Labels[0] + "." + b.Labels[1]
		kind, makes := makers[b.Labels[0]]
		if makes && (b.Labels[0] != "random_string" || clue.SecretName(b.Labels[1])) && b.Labels[0] != "github_actions_secret" {
			r.tell(clue.Clue{Role: clue.Makes, Name: name, Line: line, Kind: kind, Why: "a resource that makes a secret, and keeps it in the state"})
		}
		r.body(name, b.Labels[0], b.Body)
	case b.Type == "provider" && len(b.Labels) == 1:
		r.body("provider."+b.Labels[0], "provider."+b.Labels[0], b.Body)
	case b.Type == "output" && len(b.Labels) == 1:
		if value := b.Body.Attributes["value"]; value != nil && (yes(b.Body.Attributes["sensitive"]) || clue.SecretName(b.Labels[0])) {
			r.expression("output."+b.Labels[0], b.Labels[0], "", value.Expr)
		}
	default:
		r.body(strings.Join(append([]string{b.Type}, b.Labels...), "."), "", b.Body)
	}
}

func yes(a *hclsyntax.Attribute) bool {
	if a == nil {
		return false
	}
	v, faults := a.Expr.Value(nil)
	return !faults.HasErrors() && v.Type() == cty.Bool && v.IsKnown() && !v.IsNull() && v.True()
}

func (r reading) variable(name string, body *hclsyntax.Body, line int) {
	if fallback := body.Attributes["default"]; fallback != nil {
		if text, is := literal(fallback.Expr); is {
			if value, kind, why, ok := clue.Held(name, text, yes(body.Attributes["sensitive"])); ok {
				r.tell(clue.Clue{Role: clue.Holds, Name: "var." + name, Line: fallback.SrcRange.Start.Line, Kind: kind, Value: clue.Text(value), Why: or(why, "the default of a variable that is called like a secret")})
				return
			}
		}
	}
	switch {
	case yes(body.Attributes["sensitive"]):
		r.tell(clue.Clue{Role: clue.Names, Name: "var." + name, Line: line, Why: "a sensitive variable"})
	case clue.SecretName(name):
		r.tell(clue.Clue{Role: clue.Names, Name: "var." + name, Line: line, Why: "the name of the variable"})
	}
}

func or(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

// body reads the attributes of a block, and the blocks within.
func (r reading) body(name, kind string, body *hclsyntax.Body) {
	for _, key := range slices.Sorted(keys(body.Attributes)) {
		r.expression(name+"."+key, key, kind, body.Attributes[key].Expr)
	}
	for _, block := range body.Blocks {
		r.body(name+"."+block.Type, kind, block.Body)
	}
}

func keys(attributes hclsyntax.Attributes) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range attributes {
			if !yield(key) {
				return
			}
		}
	}
}

// expression reads one: a value in clear, an object with some, or one that is taken from elsewhere.
func (r reading) expression(name, last, kind string, e hclsyntax.Expression) {
	sure := slices.Contains(secretful[kind], last)
	line := e.Range().Start.Line
	if object, is := e.(*hclsyntax.ObjectConsExpr); is {
		for _, item := range object.Items {
			if key, known := literalKey(item.KeyExpr); known {
				r.expression(name+"."+key, key, kind, item.ValueExpr)
			}
		}
		return
	}
	if call, is := e.(*hclsyntax.FunctionCallExpr); is && (call.Name == "jsonencode" || call.Name == "sensitive") && len(call.Args) == 1 {
		r.expression(name, last, kind, call.Args[0])
		return
	}
	if list, is := e.(*hclsyntax.TupleConsExpr); is {
		for i, item := range list.Exprs {
			r.expression(name+"."+strconv.Itoa(i), last, kind, item)
		}
		return
	}
	if text, is := literal(e); is {
		if value, guess, why, ok := clue.Held(last, text, sure); ok {
			r.tell(clue.Clue{Role: clue.Holds, Name: name, Line: line, Kind: guess, Value: clue.Text(value), Why: or(why, "the name of the attribute")})
		}
		return
	}
	for _, traversal := range e.Variables() {
		r.use(traversal, last, name, line)
	}
}

// use tells that an expression takes a variable, or an attribute of a resource that makes secrets.
func (r reading) use(traversal hcl.Traversal, last, by string, line int) {
	if len(traversal) < 2 {
		return
	}
	second, is := traversal[1].(hcl.TraverseAttr)
	if !is {
		return
	}
	root := traversal.RootName()
	name := root + "." + second.Name
	c := clue.Clue{Role: clue.Uses, Name: name, Line: line, By: by, Why: "an expression takes it from there", Keys: []string{r.key(name)}}
	if _, makes := makers[root]; !makes {
		if root != "var" && root != "local" && root != "module" {
			return
		}
		c.Maybe = !clue.SecretName(second.Name) && !clue.SecretName(last)
	}
	if r.seen[name] {
		return
	}
	r.seen[name] = true
	r.tell(c)
}

// literal is the text of an expression that is nothing else.
func literal(e hclsyntax.Expression) (string, bool) {
	if len(e.Variables()) > 0 {
		return "", false
	}
	v, faults := e.Value(nil)
	if faults.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

func literalKey(e hclsyntax.Expression) (string, bool) {
	v, faults := e.Value(nil)
	if faults.HasErrors() || v.IsNull() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

// state is a file of state, of version 4.
type state struct {
	Outputs   map[string]struct{ Value, Sensitive json.RawMessage } `json:"outputs"`
	Resources []struct {
		Mode, Type, Name string
		Instances        []struct {
			Key        json.RawMessage            `json:"index_key"`
			Attributes map[string]json.RawMessage `json:"attributes"`
			Sensitive  [][]struct{ Value any }    `json:"sensitive_attributes"`
		}
	} `json:"resources"`
}

// stated are attributes of resources that are secret whatever they are called.
var stated = map[string][]string{
	"random_password": {"result"}, "tls_private_key": {"private_key_pem", "private_key_openssh"}, "aws_iam_access_key": {"secret", "ses_smtp_password_v4"},
	"aws_secretsmanager_secret_version": {"secret_string"}, "google_service_account_key": {"private_key"}, "azuread_application_password": {"value"},
	"azurerm_key_vault_secret": {"value"}, "google_secret_manager_secret_version": {"secret_data"},
}

func readJSON(f *clue.File, found clue.Found) bool {
	r := reading{f, found, map[string]bool{}}
	if strings.HasSuffix(f.Base(), ".tfvars.json") {
		var variables map[string]json.RawMessage
		if json.Unmarshal(f.Data, &variables) != nil {
			return false
		}
		for name, raw := range variables {
			r.attribute("var."+name, name, raw, false, "var."+name)
		}
		return true
	}
	var s state
	if json.Unmarshal(f.Data, &s) != nil {
		return false
	}
	for name, output := range s.Outputs {
		if string(output.Sensitive) == "true" || clue.SecretName(name) {
			r.attribute("output."+name, name, output.Value, true, "output."+name)
		}
	}
	for _, resource := range s.Resources {
		name := resource.Type + "." + resource.Name
		for _, instance := range resource.Instances {
			address := name
			if len(instance.Key) > 0 {
				address += "[" + strings.Trim(string(instance.Key), `"`) + "]"
			}
			for attribute, raw := range instance.Attributes {
				sure := slices.Contains(stated[resource.Type], attribute)
				for _, path := range instance.Sensitive {
					sure = sure || len(path) > 0 && path[0].Value == attribute
				}
				owner := name + "." + attribute
				if slices.Contains(stated[resource.Type], attribute) {
					owner = name
				}
				r.attribute(address+"."+attribute, attribute, raw, sure, owner)
			}
		}
	}
	return true
}

// attribute is one value of the state. A list or an object is read as far as its texts.
func (r reading) attribute(name, last string, raw json.RawMessage, sure bool, owner string) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		value, kind, why, ok := clue.Held(last, text, sure)
		if !ok {
			return
		}
		offset := strings.Index(string(r.f.Data), string(raw))
		r.tell(clue.Clue{Role: clue.Holds, Name: name, Line: clue.LineAt(r.f.Data, max(offset, 0)), Kind: kind, Value: clue.Text(value),
			Why: or(why, "the state has it in clear"), Keys: []string{r.key(owner), r.key(name)}})
		return
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil {
		for key, inner := range fields {
			r.attribute(name+"."+key, key, inner, sure, owner+"."+key)
		}
		return
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) == nil {
		for i, inner := range items {
			r.attribute(name+"."+strconv.Itoa(i), last, inner, sure, owner+"."+strconv.Itoa(i))
		}
	}
}
