// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
	recipe "custody.dev/custody/internal/upstream/http"

	"go.yaml.in/yaml/v3"
)

func httpUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	config, err := httpConfig(*b.server.HTTP, b.account.HTTP)
	if err != nil {
		return nil, err
	}
	config.Admin, config.NewPassword, config.Claim = b.admin, b.password, b.claim
	made, err := recipe.New(config)
	if err != nil {
		return nil, err
	}
	return made.Powers(), nil
}

// httpConfig is what documents say of an account.
func httpConfig(spec v1alpha1.HTTPUpstream, account *v1alpha1.HTTPAccount) (recipe.Config, error) {
	compile := func() (*recipe.Compiled, error) { return recipe.Builtin(spec.Recipe) }
	if spec.Define != nil {
		compile = func() (*recipe.Compiled, error) { return recipe.Defined(spec.Define) }
	}
	compiled, err := compile()
	if err != nil {
		return recipe.Config{}, err
	}
	parameters := map[string]any{}
	maps.Copy(parameters, spec.Parameters)
	if account != nil {
		maps.Copy(parameters, account.Parameters)
	}
	return recipe.Config{
		Recipe: compiled, URL: spec.URL, Endpoints: spec.Endpoints, CACertificate: spec.CACertificate, Parameters: parameters,
		Clock: Now, Random: Random(),
	}, nil
}

// UpstreamTrial is a recipe to run against the real thing with nothing kept.
type UpstreamTrial struct {
	config recipe.Config
	admin  map[string]string
	fields []string
}

// TrialStep is one step of a trial, or one request within it.
type TrialStep = recipe.Trial

// ErrTrial: the recipe does not do on the upstream what it says.
var ErrTrial = recipe.ErrTrial

// ReadTrial reads a file with an Upstream of type http, and a ManagedSecret with an account of it where the recipe wants
// parameters of the account. Errors do not quote the file.
func ReadTrial(text []byte) (*UpstreamTrial, error) {
	var server *v1alpha1.HTTPUpstream
	var account *v1alpha1.HTTPAccount
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("reading the file: it is not YAML documents")
		}
		switch document["kind"] {
		case v1alpha1.KindUpstream:
			var upstream v1alpha1.Upstream
			if err := strictly(document, &upstream); err != nil {
				return nil, err
			}
			server = upstream.Spec.HTTP
		case v1alpha1.KindManagedSecret:
			var managed v1alpha1.ManagedSecret
			if err := strictly(document, &managed); err != nil {
				return nil, err
			}
			if managed.Spec.Rotation != nil {
				account = managed.Spec.Rotation.HTTP
			}
		default:
			return nil, errors.New("reading the file: want an Upstream and a ManagedSecret, and nothing else")
		}
	}
	if server == nil {
		return nil, errors.New("reading the file: it has no Upstream of type http")
	}
	config, err := httpConfig(*server, account)
	if err != nil {
		return nil, err
	}
	config.Claim = "custody/try/nothing-kept"
	config.NewPassword = func(random io.Reader) (string, error) {
		return generated.Password(random, v1alpha1.GenerateRule{Type: "password"})
	}
	trial := &UpstreamTrial{config: config, admin: map[string]string{}}
	if config.Recipe.Admin != nil {
		trial.admin = config.Recipe.Admin.Fields
	}
	if config.Recipe.Interrupts() {
		for name, field := range config.Recipe.Fields {
			if !field.Optional {
				trial.fields = append(trial.fields, name)
			}
		}
		slices.Sort(trial.fields)
	}
	return trial, nil
}

// strictly decodes a document that was read without types.
func strictly(document map[string]any, into any) error {
	encoded, err := json.Marshal(document)
	if err != nil {
		return errors.New("reading the file: a document is not plain data")
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return errors.New("reading the file: a document has fields of another name or type; custody lint says which")
	}
	return nil
}

// Admin lists the fields of the admin credential with what they mean; none when the recipe needs no admin.
func (t *UpstreamTrial) Admin() map[string]string { return t.admin }

// Current lists the fields of the current value that the trial needs; none for most recipes.
func (t *UpstreamTrial) Current() []string { return t.fields }

// Run runs the trial and tells each request and step as it comes.
func (t *UpstreamTrial) Run(ctx context.Context, admin, current secret.Value, tell func(TrialStep)) error {
	config := t.config
	config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{admin}, nil }
	return recipe.Try(ctx, config, current, tell)
}
