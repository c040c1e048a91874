// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/wire/kinds"
)

// elsewhere are types of upstream that have no real server here, and where they are run instead.
var elsewhere = map[string]string{
	"aws":    "a server built from the published description, in the adapter's own tests",
	"github": "a server built from the published description, in the adapter's own tests",
}

// TestEveryTypeIsRun: a type of upstream without a package of kinds is run by nobody.
func TestEveryTypeIsRun(t *testing.T) {
	for _, of := range kinds.Upstreams() {
		name := of.Name()
		_, err := os.Stat(filepath.Join(sourceTree(t), "internal", "upstream", name, name+"test", "kind_test.go"))
		if _, excused := elsewhere[name]; (err == nil) == excused {
			t.Errorf("type %s: it has a package of kinds: %v, and is run elsewhere: %v; want one of the two", name, err == nil, excused)
		}
	}
}

// TestNothingOfTestsIsInTheBinary: depguard sees what one package imports; this sees what all of them do.
func TestNothingOfTestsIsInTheBinary(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "custody.dev/custody/cmd/custody")
	listed, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(listed))
	if len(packages) < 100 {
		t.Errorf("only %d packages are listed", len(packages))
	}
	for _, path := range packages {
		own, ours := strings.CutPrefix(path, "custody.dev/custody/internal/")
		if ours && (own == "acceptance" || own == "thorough" || strings.HasPrefix(own, "realparts") || strings.HasSuffix(own, "test")) {
			t.Errorf("%s is in the binary", path)
		}
	}
}
