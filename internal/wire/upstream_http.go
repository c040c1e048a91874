// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/recipe"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/upstream/generated"
	"custody.dev/custody/internal/upstream/http"

	"go.yaml.in/yaml/v3"
)

func httpUpstream(_ *parts, b binding) (upstream.Upstream, error) {
	config, err := httpConfig(*b.server.HTTP, b.account.HTTP)
	if err != nil {
		return nil, err
	}
	config.Admin, config.NewPassword, config.Claim = b.admin, b.password, b.claim
	made, err := http.New(config)
	if err != nil {
		return nil, err
	}
	return made.Powers(), nil
}

// httpConfig is what documents say of an account.
func httpConfig(spec v1alpha1.HTTPUpstream, account *v1alpha1.HTTPAccount) (http.Config, error) {
	compile := func() (*recipe.Compiled, error) { return recipe.Builtin(spec.Recipe) }
	if spec.Define != nil {
		compile = func() (*recipe.Compiled, error) { return recipe.Defined(spec.Define) }
	}
	compiled, err := compile()
	if err != nil {
		return http.Config{}, err
	}
	parameters := map[string]any{}
	maps.Copy(parameters, spec.Parameters)
	if account != nil {
		maps.Copy(parameters, account.Parameters)
	}
	return http.Config{
		Recipe: compiled, URL: spec.URL, Endpoints: spec.Endpoints, CACertificate: spec.CACertificate, Parameters: parameters,
		Clock: Now, Random: Random(),
	}, nil
}

// UpstreamTrial is a recipe to run against the real thing with nothing kept.
type UpstreamTrial struct {
	config http.Config
	admin  map[string]string
	fields []string
}

// TrialStep is one step of a trial, or one request within it.
type TrialStep = http.Trial

// ErrTrial: the recipe does not do on the upstream what it says.
var ErrTrial = http.ErrTrial

// ReadTrial reads a file with an Upstream of type http, and a ManagedSecret with an account of it where the recipe wants
// parameters of the account. The admin's own may stand beside it. Of what the file says, errors quote names alone.
func ReadTrial(text []byte) (*UpstreamTrial, error) {
	server, managed, err := trialDocuments(text)
	if err != nil {
		return nil, err
	}
	var account *v1alpha1.HTTPAccount
	if managed.Spec.Rotation != nil {
		account = managed.Spec.Rotation.HTTP
		if ref := managed.Spec.Rotation.UpstreamRef; ref != server.Metadata.Name {
			return nil, fmt.Errorf("reading the file: the ManagedSecret %q is of the upstream %q, and the Upstream is %q", managed.Metadata.Name, ref, server.Metadata.Name)
		}
	}
	config, err := httpConfig(*server.Spec.HTTP, account)
	if err != nil {
		return nil, err
	}
	rule := managed.Spec.Origin.Generated
	if rule == nil {
		rule = &v1alpha1.GenerateRule{Type: "password"}
	}
	if err := generated.Check(*rule); err != nil {
		return nil, fmt.Errorf("reading the file: origin.generated: %w", err)
	}
	config.Claim = "custody/try/nothing-kept"
	config.NewPassword = func(random io.Reader) (string, error) { return generated.Password(random, *rule) }
	trial := &UpstreamTrial{config: config, admin: map[string]string{}}
	if config.Recipe.Admin != nil {
		trial.admin = config.Recipe.Source.Admin.Fields
	}
	if config.Recipe.Interrupts() {
		for name, field := range config.Recipe.Source.Fields {
			if !field.Optional {
				trial.fields = append(trial.fields, name)
			}
		}
		slices.Sort(trial.fields)
	}
	return trial, nil
}

// trialDocuments are those of a file: one Upstream of type http, and one ManagedSecret or an empty one.
func trialDocuments(text []byte) (server v1alpha1.Upstream, managed v1alpha1.ManagedSecret, err error) {
	const wanted = "want one Upstream of type http, and at most one ManagedSecret beside that of its admin"
	var upstreams []string
	var secrets []v1alpha1.ManagedSecret
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for number := 1; ; number++ {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return server, managed, errors.New("reading the file: it is not YAML documents")
		}
		switch {
		case document["kind"] == v1alpha1.KindUpstream:
			err = strictly(document, &server)
			upstreams = append(upstreams, strconv.Quote(server.Metadata.Name))
		case document["kind"] == v1alpha1.KindManagedSecret:
			var one v1alpha1.ManagedSecret
			err = strictly(document, &one)
			secrets = append(secrets, one)
		case len(document) > 0:
			err = fmt.Errorf("reading the file: its document %d is of a kind that is not taken here; %s", number, wanted)
		}
		if err != nil {
			return server, managed, err
		}
	}
	// The admin's own is passed over, unless it is an account here too.
	secrets = slices.DeleteFunc(secrets, func(m v1alpha1.ManagedSecret) bool {
		return m.Metadata.Name == server.Spec.AdminRef && (m.Spec.Rotation == nil || m.Spec.Rotation.HTTP == nil)
	})
	switch {
	case len(upstreams) > 1:
		err = fmt.Errorf("reading the file: it has the Upstreams %s; %s", strings.Join(upstreams, " and "), wanted)
	case server.Spec.HTTP == nil:
		err = fmt.Errorf("reading the file: it has no Upstream of type http; %s", wanted)
	case len(secrets) > 1:
		var names []string
		for _, one := range secrets {
			names = append(names, strconv.Quote(one.Metadata.Name))
		}
		err = fmt.Errorf("reading the file: it has the ManagedSecrets %s; %s", strings.Join(names, " and "), wanted)
	case len(secrets) == 1:
		managed = secrets[0]
	}
	return server, managed, err
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
	return http.Try(ctx, config, current, tell)
}
