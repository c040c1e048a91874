// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/api/v1alpha1"
)

const execEstate = `apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: home}
spec:
  environments: [prod]
  rootRecipients: [RECIPIENT]
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: Upstream
metadata: {name: keys}
spec:
  exec: EXEC
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: first}
spec:
  purpose: Lets the app sign in.
  owner: {team: apps, contact: apps@example.org}
  class: runtime
  path: app/first
  origin: {generated: {type: password}}
  rotation: {policyRef: monthly, upstreamRef: keys, FIRST}
  consumers:
    - name: app
      file: {folder: app, path: first.env, format: env}
---
apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata: {name: second}
spec:
  purpose: Lets the app sign in.
  owner: {team: apps, contact: apps@example.org}
  class: runtime
  path: app/second
  origin: {generated: {type: password}}
  rotation: {policyRef: monthly, upstreamRef: keys, SECOND}
  consumers:
    - name: app
      file: {folder: app, path: second.env, format: env}
`

func TestExecKind(t *testing.T) {
	recipient := newStage(t).words["ROOT"]
	host := &v1alpha1.HostSpec{
		Platform: "home", Environment: "prod",
		Folders: map[string]string{"app": "out"}, Upstreams: map[string]v1alpha1.Command{"keyfile": {Argv: []string{"/opt/keyfile"}}},
	}
	const good = "{program: keyfile, parameters: {folder: keys}}"
	const one, two = "exec: {parameters: {name: one}}", "exec: {parameters: {name: two}}"
	for _, test := range []struct {
		name                string
		exec, first, second string
		host                *v1alpha1.HostSpec
		want                []string
	}{
		{"good", good, one, two, host, nil},
		{"good without a host", "{program: elsewhere}", one, two, nil, nil},
		{"the host does not name it", "{program: elsewhere}", one, two, host, []string{"host-name"}},
		{"the host names none", good, one, two, &v1alpha1.HostSpec{Platform: "home", Environment: "prod", Folders: host.Folders}, []string{"host-name"}},
		{"a path instead of a name", "{program: /bin/sh}", one, two, nil, []string{"upstream-form"}},
		{"parameter of the upstream", "{program: keyfile, parameters: {'a b': x}}", one, two, host, []string{"upstream-form"}},
		{"parameter of the account", good, "exec: {parameters: {'a=b': x}}", two, host, []string{"account-form"}},
		{"one account twice", good, one, one, host, []string{"account-shared"}},
		{"no parameters twice", good, "allowInterruption: false", "exec: {}", host, []string{"account-shared"}},
		{"no such mode", good, "exec: {mode: triple}", two, host, []string{"account-mode"}},
		{"overwrite interrupts", good, "exec: {mode: overwrite}", two, host, []string{"account-interrupts"}},
		{"overwrite that may", good, "allowInterruption: true, exec: {mode: overwrite}", two, host, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.NewReplacer("EXEC", test.exec, "FIRST", test.first, "SECOND", test.second, "RECIPIENT", recipient).Replace(execEstate)
			_, faults, err := loadFS(fstest.MapFS{"a.yaml": {Data: []byte(text)}}, Options{Environment: "prod", Host: test.host})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Rule)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, faults)
			}
		})
	}
}
