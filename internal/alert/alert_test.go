// SPDX-License-Identifier: Apache-2.0

package alert_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"custody.dev/custody/internal/alert"
	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/reason"
)

// Prometheus itself takes the rules, and fires the alerts that the metrics call for, and no others: testdata/rules.test.yaml.
func TestPrometheusTakesTheRules(t *testing.T) {
	promtool, dir := realparts.Promtool(t), t.TempDir()
	cases, err := os.ReadFile("testdata/rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"custody.rules.yaml": alert.Rules(), "rules.test.yaml": cases} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "rules", "--lint-fatal", "custody.rules.yaml"}, {"test", "rules", "rules.test.yaml"}} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// A reason that is added has its alert; one that ends by itself has none.
func TestEachReasonThatNeedsSomebodyHasAnAlert(t *testing.T) {
	rules := string(alert.Rules())
	for _, row := range reason.Catalogue() {
		want := row.Class != reason.Normal
		if got := strings.Contains(rules, `custody_reasons{code="`+string(row.Code)+`"} > 0`); got != want {
			t.Errorf("%s (%s): an alert %t, want %t", row.Code, row.Class, got, want)
		}
	}
	if strings.ContainsAny(rules, "`") || strings.Contains(rules, "](") {
		t.Error("there is Markdown in the rules")
	}
}
