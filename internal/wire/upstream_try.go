// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/upstream/generated"
	"custody.dev/custody/internal/upstream/http"
	"custody.dev/custody/internal/wire/kinds"

	"go.yaml.in/yaml/v3"
)

// typeHTTP is the one type that can be tried.
const typeHTTP = "http"

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
	var account http.AccountSpec
	if managed.Spec.Rotation != nil {
		account = v1alpha1.Of[http.AccountSpec](managed.Spec.Rotation.Account, typeHTTP)
		if ref := managed.Spec.Rotation.UpstreamRef; ref != server.Metadata.Name {
			return nil, fmt.Errorf("reading the file: the ManagedSecret %q is of the upstream %q, and the Upstream is %q", managed.Metadata.Name, ref, server.Metadata.Name)
		}
	}
	config, err := http.Configured(v1alpha1.Of[http.ServerSpec](server.Spec.Server, typeHTTP), account)
	if err != nil {
		return nil, err
	}
	config.Clock, config.Random = Now, Random()
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
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return server, managed, errors.New("reading the file: it is not YAML documents")
		}
		var head struct{ Kind string }
		if err := document.Decode(&head); err != nil {
			return server, managed, errors.New("reading the file: it is not YAML documents")
		}
		switch head.Kind {
		case v1alpha1.KindUpstream:
			err = strictly(&document, &server)
			upstreams = append(upstreams, strconv.Quote(server.Metadata.Name))
		case v1alpha1.KindManagedSecret:
			var one v1alpha1.ManagedSecret
			err = strictly(&document, &one)
			secrets = append(secrets, one)
		case "":
			if n := document.Content[0]; n.ShortTag() == "!!null" || len(n.Content) == 0 {
				continue
			}
			fallthrough
		default:
			err = fmt.Errorf("reading the file: its document %d is of a kind that is not taken here; %s", number, wanted)
		}
		if err != nil {
			return server, managed, err
		}
	}
	// The admin's own is passed over, unless it is an account here too.
	secrets = slices.DeleteFunc(secrets, func(m v1alpha1.ManagedSecret) bool {
		return m.Metadata.Name == server.Spec.AdminRef && (m.Spec.Rotation == nil || m.Spec.Rotation.Account[typeHTTP] == nil)
	})
	switch {
	case len(upstreams) > 1:
		err = fmt.Errorf("reading the file: it has the Upstreams %s; %s", strings.Join(upstreams, " and "), wanted)
	case server.Spec.Server[typeHTTP] == nil:
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

// strictly decodes a document, whose fields may be left out.
func strictly(document *yaml.Node, into any) error {
	if !intent.Decode(kinds.Upstreams(), document, into) {
		return errors.New("reading the file: a document has fields of another name or type; custody lint says which")
	}
	return nil
}

// Admin lists the fields of the admin credential with what they mean; none when the recipe needs no admin.
func (t *UpstreamTrial) Admin() map[string]string { return t.admin }

// Current lists the fields of the current value that the trial needs; none for most recipes.
func (t *UpstreamTrial) Current() []string { return t.fields }

// TrialPatience is what suits most upstreams; see Run.
const TrialPatience = http.Patience

// Run runs the trial and tells each request and step as it comes. Once the settle time is over, it goes on asking for patience.
func (t *UpstreamTrial) Run(ctx context.Context, admin, current secret.Value, patience time.Duration, tell func(TrialStep)) error {
	config := t.config
	config.Admin = func(context.Context) ([]secret.Value, error) { return []secret.Value{admin}, nil }
	return http.Try(ctx, config, current, patience, tell)
}
