// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"custody.dev/custody/internal/wire/kinds"
)

// exampleEstate is what the pages take for granted.
const exampleEstate = `apiVersion: custody.dev/v1alpha1
kind: Platform
metadata: {name: shop}
spec:
  environments: [production]
  rootRecipients: [{{ROOT}}]
  authority: {type: embedded}
---
apiVersion: custody.dev/v1alpha1
kind: RotationPolicy
metadata: {name: monthly}
spec: {rotationType: time, ttl: 30d}
`

// exampleSeed is what custody seal makes of a bootstrap secret.
const exampleSeed = `apiVersion: custody.dev/v1alpha1
data:
  binding:
    path: '{{ENC:str}}'
    platform: '{{ENC:str}}'
    secret: '{{ENC:str}}'
  values:
    accessKeyId: '{{ENC:str}}'
    password: '{{ENC:str}}'
    secretAccessKey: '{{ENC:str}}'
    username: '{{ENC:str}}'
kind: BootstrapSecret
metadata:
  name: %[1]s
spec:
  seeds: %[1]s
sops:
  age:
    - recipient: {{ROOT}}
      enc: sealed
  encrypted_regex: ^data$
  lastmodified: "2026-01-01T00:00:00Z"
  mac: '{{ENC:str}}'
  mac_only_encrypted: true
  version: 3.13.3
`

var (
	yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	seededBy  = regexp.MustCompile(`secretRef: ([a-z0-9-]+)`)
)

// lintedElsewhere are types whose pages show more than an estate: see TestPagesLint and TestHTTPExamplesLint.
var lintedElsewhere = []string{"oidc", "github", "aws", "exec", "http"}

// Documents on the pages of upstreams are ones that a reader can take as they are. Blocks that do not begin a document
// show the part of one; they are left out.
func TestExamplesOfUpstreamPages(t *testing.T) {
	for _, of := range kinds.Upstreams() {
		kind := of.Name()
		if slices.Contains(lintedElsewhere, kind) {
			continue
		}
		page, err := os.ReadFile(filepath.Join("..", "upstream", kind, "page.md"))
		if err != nil {
			t.Fatal(err)
		}
		whole, own := 0, false
		for i, block := range yamlBlock.FindAllStringSubmatch(string(page), -1) {
			if !strings.HasPrefix(block[1], "apiVersion:") {
				continue
			}
			whole++
			t.Run(fmt.Sprintf("%s/%d", kind, i), func(t *testing.T) {
				s := newStage(t)
				estate := fstest.MapFS{"estate.yaml": {Data: []byte(s.fill(exampleEstate + "---\n" + block[1]))}}
				for _, seed := range seededBy.FindAllStringSubmatch(block[1], -1) {
					estate[seed[1]+".yaml"] = &fstest.MapFile{Data: []byte(s.fill(fmt.Sprintf(exampleSeed, seed[1])))}
				}
				loaded, faults, err := loadFS(estate, Options{Environment: "production"})
				if err != nil {
					t.Fatal(err)
				}
				if loaded != nil {
					for _, shown := range loaded.Upstreams {
						own = own || shown.Spec.Server.Type() == kind
					}
				}
				for _, f := range faults {
					t.Errorf("%s: %s: %s [%s]", f.Position(), f.Subject, f.Reason, f.Rule)
				}
			})
		}
		if whole == 0 || !own {
			t.Errorf("the page of %s shows %d documents, one of that type: %v", kind, whole, own)
		}
	}
}
