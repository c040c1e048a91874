// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/upstream/aws"
	"custody.dev/custody/internal/upstream/exec"
	"custody.dev/custody/internal/upstream/github"
	"custody.dev/custody/internal/upstream/postgres"
	"custody.dev/custody/internal/wire/kinds"
)

// consumers are an estate of one secret with these consumers.
func withConsumers(specs ...v1alpha1.FileConsumer) *intent.Estate {
	declared := &intent.Secret{Name: "token", Path: "app/token", Source: intent.Source{File: "token.yaml", Line: 3}}
	declared.Spec.Origin.Generated = &v1alpha1.GenerateRule{Type: "token"}
	for _, spec := range specs {
		declared.Consumers = append(declared.Consumers, intent.Consumer{ConsumerSpec: v1alpha1.ConsumerSpec{Name: "app", File: &spec}})
	}
	return &intent.Estate{Secrets: map[string]*intent.Secret{"token": declared}}
}

// Whatever an adapter refuses is said of the estate, with its place, also where no rule of lint knows it.
func TestCheckEstateSaysWhatNoHostCouldServe(t *testing.T) {
	right := v1alpha1.FileConsumer{Folder: "app", Path: "app.env", Format: "env"}
	if faults := CheckEstate(withConsumers(right)); len(faults) > 0 {
		t.Errorf("got %v of what can be served", faults)
	}
	for says, change := range map[string]func(*v1alpha1.FileConsumer){
		"mode":               func(c *v1alpha1.FileConsumer) { c.Mode = "0755" },
		`"PATH"`:             func(c *v1alpha1.FileConsumer) { c.Keys = map[string]string{"value": "PATH"} },
		"keeps for itself":   func(c *v1alpha1.FileConsumer) { c.Path = ".x.custody" },
		"unknown format":     func(c *v1alpha1.FileConsumer) { c.Format = "toml" },
		"must match":         func(c *v1alpha1.FileConsumer) { c.Format, c.VersionKey = "json", "a b" },
		"leaves its folder":  func(c *v1alpha1.FileConsumer) { c.Path = "../x" },
		"format \"raw\" has": func(c *v1alpha1.FileConsumer) { c.Format, c.VersionKey = "raw", "VERSION" },
	} {
		wrong := right
		change(&wrong)
		faults := CheckEstate(withConsumers(right, wrong))
		if len(faults) != 1 || !strings.Contains(faults[0].String(), "token.yaml:3:1: ManagedSecret/token: consumer app cannot be made") ||
			!strings.Contains(faults[0].Reason, says) || faults[0].Fix == "" || faults[0].Rule != intent.RuleUnservable {
			t.Errorf("got %v, want one fault that says %q", faults, says)
		}
	}
}

// A consumer that this machine cannot serve left no estate in force after a restart. It proves nothing, and is served once
// the machine can.
func TestWhatThisMachineGetsWrongHoldsOneConsumer(t *testing.T) {
	folder := t.TempDir()
	p := &parts{host: v1alpha1.HostSpec{
		Folders: map[string]string{"app": folder}, Checks: map[string]v1alpha1.Command{"app": {Argv: []string{filepath.Join(folder, "check")}}},
	}}
	if err := os.WriteFile(filepath.Join(folder, "check"), []byte("#!/bin/sh\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "check"), 0o777); err != nil {
		t.Fatal(err)
	}
	estate := withConsumers(
		v1alpha1.FileConsumer{Folder: "app", Path: "a.env", Format: "env"},
		v1alpha1.FileConsumer{Folder: "app", Path: "b.env", Format: "env", Group: "no-such-group"},
		v1alpha1.FileConsumer{Folder: "app", Path: "c.env", Format: "env", Check: "app"},
		v1alpha1.FileConsumer{Folder: "gone", Path: "d.env", Format: "env"},
	)
	for i, name := range []string{"a", "b", "c", "d"} {
		estate.Secrets["token"].Consumers[i].Name = name
	}
	estate.Held = map[string]map[string]string{"token": {"d": "the host has no folder gone"}}
	bound, err := p.consumers(estate, estate.Secrets["token"], wanting{})
	if err != nil || len(bound) != 4 {
		t.Fatalf("%d consumers, %v", len(bound), err)
	}
	v := authority.Versioned{Path: "app/token", ID: authority.VersionID{Incarnation: "one", Run: "run", Number: 1}, Value: password(t, "made up")}
	for i, says := range []string{"", "no-such-group", "can be changed by", "the host has no folder gone"} {
		err := bound[i].Deliver(t.Context(), v)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("delivering to %s: got %v, want %q", bound[i].Name(), err, says)
		}
		proof, err := bound[i].Prove(t.Context(), v)
		if err != nil || (proof.Level >= materialize.Delivered) != (says == "") || !strings.Contains(proof.Missing, says) {
			t.Errorf("%s proves %+v, %v", bound[i].Name(), proof, err)
		}
	}
	if err := os.Chmod(filepath.Join(folder, "check"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := bound[2].Deliver(t.Context(), v); err != nil {
		t.Errorf("once the program is safe: %v", err)
	}
}

// Documents that name one server had 8 calls each: a server that hung took as many times 8 as there were documents.
func TestUpstreamsAtOneServerAreOneGroup(t *testing.T) {
	at := func(name, host string, port int) v1alpha1.Upstream {
		return v1alpha1.Upstream{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: name}}, Spec: v1alpha1.UpstreamSpec{
			Server: v1alpha1.Parameters{"postgres": &postgres.ServerSpec{Host: host, Port: port, TLS: "verify-full"}},
		}}
	}
	without := at("without-tls", "db.example.org", 5432)
	without.Spec.Server["postgres"].(*postgres.ServerSpec).TLS = "disable"
	replicas := at("replicas", "db.example.org", 5432)
	replicas.Spec.Server["postgres"].(*postgres.ServerSpec).AlsoAt = []postgres.EndpointSpec{{Host: "a.example.org", Port: 5432}}
	program := func(name string) v1alpha1.Upstream {
		return v1alpha1.Upstream{Header: v1alpha1.Header{Metadata: v1alpha1.Metadata{Name: name}}, Spec: v1alpha1.UpstreamSpec{
			Server: v1alpha1.Parameters{"exec": &exec.ServerSpec{Program: "one", Parameters: map[string]string{"at": "x"}}},
		}}
	}
	for want, servers := range map[string][]v1alpha1.Upstream{
		"server db.example.org:5432": {at("a", "db.example.org", 5432), at("b", "DB.example.org.", 5432), without, replicas},
		"server db.example.org:5433": {at("c", "db.example.org", 5433)},
		"server [2001:db8::1]:5432":  {at("d", "2001:db8::1", 5432), at("e", "2001:DB8:0:0::1", 5432)},
		"server 192.0.2.1:5432":      {at("f", "192.0.2.1", 5432), at("g", "::ffff:192.0.2.1", 5432)},
		"server /run/postgresql/.s.PGSQL.5432": {
			at("h", "/run/postgresql", 5432), at("i", "/run//postgresql/", 5432),
		},
		"server git.example.org:443": {
			{Spec: v1alpha1.UpstreamSpec{Server: v1alpha1.Parameters{"github": &github.ServerSpec{APIURL: "https://git.example.org/api/v3"}}}},
			{Spec: v1alpha1.UpstreamSpec{Server: v1alpha1.Parameters{"github": &github.ServerSpec{APIURL: "https://GIT.example.org:443"}}}},
		},
		"server IAM of AWS account 123456789012, partition aws": {
			{Spec: v1alpha1.UpstreamSpec{Server: v1alpha1.Parameters{"aws": &aws.ServerSpec{AccountID: "123456789012", Partition: "aws", Region: "eu-west-1"}}}},
		},
		"upstream one": {program("one")},
		"upstream two": {program("two")},
	} {
		for _, server := range servers {
			if got := serverGroup(&intent.Estate{Types: kinds.Upstreams()}, server); got != want {
				t.Errorf("%s is in group %q, want %q", server.Metadata.Name, got, want)
			}
		}
	}
}
