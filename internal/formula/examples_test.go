// SPDX-License-Identifier: Apache-2.0

package formula_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"

	"custody.dev/custody/internal/formula"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/wire/kinds"
)

const (
	examples = "../../examples/derived"
	// awkward means something else to each format that does not quote it.
	awkward = `'{p@ss: w/o"r\d} #&%?`
)

// What the examples compute is what programs that read such files take it for, whatever stands in the inputs.
func TestExamplesComputeWhatProgramsRead(t *testing.T) {
	host, faults, err := intent.LoadHost(examples + "/host.yaml")
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	estate, faults, err := intent.Load(examples+"/estate", intent.Options{Environment: "prod", Types: kinds.Upstreams(), Host: &host.Spec})
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	text := func(fields map[string]string) secret.Value {
		t.Helper()
		v, err := secret.Text(fields)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	given := map[string]secret.Value{
		"shop-database":     text(map[string]string{"username": "shop_a", "password": awkward}),
		"reports-login":     text(map[string]string{"value": awkward}),
		"ci-packages-token": text(map[string]string{"token": awkward}),
		"deploy-token":      text(map[string]string{"token": awkward}),
		"mailer-key":        text(map[string]string{"accessKeyId": "example-key-id", "secretAccessKey": "example-secret-access-key"}),
	}
	reads := map[string]func(t *testing.T, v secret.Value){
		"shop-database-url": readsConnectionString, "reports-htpasswd": readsHtpasswd, "ci-docker-config": readsDockerConfig,
		"deploy-kubeconfig": readsKubeconfig, "mailer-smtp": readsSMTP,
	}
	var derived []string
	for _, name := range estate.SecretNames() {
		from := estate.Secrets[name].Spec.Origin.Derived
		if from == nil {
			continue
		}
		derived = append(derived, name)
		t.Run(name, func(t *testing.T) {
			f, err := formula.Compile(from.Fields, slices.Collect(maps.Keys(from.Inputs)))
			if err != nil {
				t.Fatal(err)
			}
			inputs := map[string]secret.Value{}
			for input, is := range from.Inputs {
				inputs[input] = given[is]
			}
			v, err := f.Compute(inputs)
			if err != nil {
				t.Fatal(err)
			}
			for _, consumer := range estate.Secrets[name].Consumers { // what it reads is a field
				if field := consumer.File.Field; field != "" && !v.Has(field) {
					t.Errorf("consumer %s reads the field %s, which is not computed", consumer.Name, field)
				}
			}
			reads[name](t, v)
		})
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(reads)), derived); diff != "" {
		t.Errorf("derived secrets of the examples (-want +got):\n%s", diff)
	}
}

func readsConnectionString(t *testing.T, v secret.Value) {
	got, err := url.Parse(v.ExposeText("url"))
	if err != nil {
		t.Fatal("it is no URL")
	}
	password, _ := got.User.Password()
	if got.Host != "db.internal:5432" || got.Path != "/shop" || got.User.Username() != "shop_a" || password != awkward {
		t.Errorf("got host %s, path %s, user %s", got.Host, got.Path, got.User.Username())
	}
}

func readsHtpasswd(t *testing.T, v secret.Value) {
	line := v.ExposeText("line")
	user, hash, _ := strings.Cut(line, ":")
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(awkward)); user != "reports" || err != nil || strings.Contains(line, awkward) {
		t.Errorf("user %q, %v", user, err)
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(awkward+"x")) == nil {
		t.Error("another password is taken")
	}
}

func readsDockerConfig(t *testing.T, v secret.Value) {
	var got struct {
		Auths map[string]struct{ Username, Password, Auth string }
	}
	if err := json.Unmarshal([]byte(v.ExposeText("config")), &got); err != nil {
		t.Fatal("it is no JSON")
	}
	entry := got.Auths["git.example.org"]
	auth, err := base64.StdEncoding.DecodeString(entry.Auth)
	if len(got.Auths) != 1 || entry.Username != "ci" || entry.Password != awkward || string(auth) != "ci:"+awkward || err != nil {
		t.Errorf("got %d registries, user %q, %v", len(got.Auths), entry.Username, err)
	}
}

func readsKubeconfig(t *testing.T, v secret.Value) {
	type named struct {
		Name    string
		Cluster struct {
			Server      string
			Certificate string `yaml:"certificate-authority"`
		}
		User    struct{ Token string }
		Context struct{ Cluster, User, Namespace string }
	}
	var got struct {
		APIVersion, Kind          string
		Clusters, Users, Contexts []named
		Current                   string `yaml:"current-context"`
	}
	if err := yaml.Unmarshal([]byte(v.ExposeText("kubeconfig")), &got); err != nil {
		t.Fatal("it is no YAML")
	}
	if len(got.Clusters) != 1 || len(got.Users) != 1 || len(got.Contexts) != 1 || got.Kind != "Config" {
		t.Fatalf("got %d clusters, %d users, %d contexts of a %s", len(got.Clusters), len(got.Users), len(got.Contexts), got.Kind)
	}
	context := got.Contexts[0]
	if got.Current != context.Name || context.Context.Cluster != got.Clusters[0].Name || context.Context.User != got.Users[0].Name {
		t.Errorf("the current context %s is not of the cluster and the user that are there", got.Current)
	}
	if got.Users[0].User.Token != awkward || got.Clusters[0].Cluster.Server == "" || got.Clusters[0].Cluster.Certificate == "" {
		t.Error("the token, the server or its certificate is another")
	}
}

// The expected password was computed with the script that AWS publishes.
func readsSMTP(t *testing.T, v secret.Value) {
	if user, password := v.ExposeText("username"), v.ExposeText("password"); user != "example-key-id" || password != "BFayCe8H1m51UBd3UQ0/uKPmYIhya70yPuGqwKzutGim" {
		t.Errorf("got the user %s and the password %s", user, password)
	}
}
