// SPDX-License-Identifier: Apache-2.0

package discover_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
	"custody.dev/custody/internal/discover/discovertest"
	"custody.dev/custody/internal/discover/report"
)

// then is when the platform of the tests is read.
var then = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func scan(t testing.TB, folder string) *discover.Answer {
	t.Helper()
	a, err := discover.Scan(t.Context(), discover.Config{Folder: folder, Key: []byte(strings.Repeat("k", 32)), Now: then, Limits: discover.Usual})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func named(t testing.TB, a *discover.Answer, role clue.Role, file, name string) discover.Secret {
	t.Helper()
	for _, s := range a.Secrets {
		for _, p := range slices.Concat(s.Holders, s.Origins, s.Consumers) {
			if p.Role == role && p.File == file && p.Name == name {
				return s
			}
		}
	}
	t.Fatalf("no secret %s %s in %s", role, name, file)
	return discover.Secret{}
}

// The platform is made and read once for all that is asked of it.
func TestPlatform(t *testing.T) {
	p := discovertest.Make(t, "testdata/platform", then)
	before := listing(t, p.Folder)
	a := scan(t, p.Folder)
	if diff := cmp.Diff(before, listing(t, p.Folder)); diff != "" {
		t.Errorf("the scan changed files (-before +after):\n%s", diff)
	}
	t.Run("against truth", func(t *testing.T) { againstTruth(t, a) })
	t.Run("no values", func(t *testing.T) { noValues(t, p, a) })
	t.Run("steps of scripts", func(t *testing.T) { scriptSteps(t, a) })
	t.Run("guesses say why", func(t *testing.T) { guesses(t, a) })
}

// What is found on the platform is measured against the table that was written by hand before the readers were.
func againstTruth(t *testing.T, a *discover.Answer) {
	data, err := os.ReadFile("testdata/platform/truth.txt")
	if err != nil {
		t.Fatal(err)
	}
	truth, err := discover.ParseTruth(data)
	if err != nil {
		t.Fatal(err)
	}
	const least = 0.95
	for _, s := range a.Compare(truth) {
		t.Logf("%-18s right %3d wrong %2d missed %2d  precision %.3f recall %.3f", s.Source, s.Right, len(s.Wrong), len(s.Missed), s.Precision(), s.Recall())
		if s.Precision() < least || s.Recall() < least {
			t.Errorf("%s: precision %.3f, recall %.3f, want %.2f\nwrong: %s\nmissed: %s", s.Source, s.Precision(), s.Recall(), least,
				strings.Join(s.Wrong, "\n       "), strings.Join(s.Missed, "\n        "))
		}
	}
}

// The second platform measures the readers on what they were not written for. What is asked of them is that they do not become
// worse than they were when they first met it.
func TestSecondPlatform(t *testing.T) {
	p := discovertest.Make(t, "testdata/second", then)
	data, err := os.ReadFile("testdata/second/truth.txt")
	if err != nil {
		t.Fatal(err)
	}
	truth, err := discover.ParseTruth(data)
	if err != nil {
		t.Fatal(err)
	}
	a := scan(t, p.Folder)
	// Without CODEOWNERS, whoever changed the file last is named.
	if s := named(t, a, clue.Holds, "app/.env.local", "DB_PASS"); s.Owner.Name != "Cleo <cleo@example.org>" || !strings.Contains(s.Owner.Why, "last changed app/.env.local") {
		t.Errorf("owner %+v", s.Owner)
	}
	const precision, recall = 0.93, 0.77
	for _, s := range a.Compare(truth) {
		t.Logf("%-18s right %3d wrong %2d missed %2d  precision %.3f recall %.3f", s.Source, s.Right, len(s.Wrong), len(s.Missed), s.Precision(), s.Recall())
		if s.Source == "all" {
			t.Logf("wrong: %s", strings.Join(s.Wrong, "\n       "))
			t.Logf("missed: %s", strings.Join(s.Missed, "\n        "))
			if s.Precision() < precision || s.Recall() < recall {
				t.Errorf("precision %.3f, recall %.3f, want %.2f and %.2f", s.Precision(), s.Recall(), precision, recall)
			}
		}
	}
}

// No value is in any answer, in any form in which it might be written.
func noValues(t *testing.T, p *discovertest.Platform, a *discover.Answer) {
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(a); err != nil {
		t.Fatal(err)
	}
	if err := report.SARIF(&out, a, "test"); err != nil {
		t.Fatal(err)
	}
	if err := report.HTML(&out, a); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if len(p.Values) < 60 {
		t.Fatalf("only %d values were made", len(p.Values))
	}
	for name, value := range p.Values {
		for _, form := range discovertest.Forms(value) {
			if strings.Contains(text, form) {
				t.Errorf("the value %s is in an answer", name)
				break
			}
		}
	}
}

// What people write where a name belongs may be a value: it is withheld, whoever wrote it where.
func TestValuesInPlaceOfNames(t *testing.T) {
	folder := t.TempDir()
	token := "ghp" + "_" + strings.Repeat("a1B2c3D4e5F6g7H8i9", 2)
	hook := strings.Repeat("Zx9", 8)
	for name, text := range map[string]string{
		"a.sh":             "#!/bin/sh\nTOKEN=$(openssl rand -hex 32)\ncurl -X POST -d \"$TOKEN\" https://hooks.example.org/services/T0/" + hook + "\ngh secret set " + token + " --body \"$TOKEN\"\n",
		"compose.yaml":     "services:\n  app:\n    environment: [\"" + token + "\"]\n    secrets: [" + token + "]\n",
		"Jenkinsfile":      "credentials('" + token + "')\n",
		".env":             token + "=" + token + "\nPASSWORD_" + token + "=" + token + "\n",
		"k8s/secret.yaml":  "apiVersion: v1\nkind: Secret\nmetadata: {name: " + strings.ToLower(token) + "}\nstringData: {" + token + ": " + token + "}\n",
		"infra/a.service":  "[Service]\nLoadCredential=" + token + ":/etc/" + token + "\n",
		".drone.yml":       "kind: secret\nname: " + token + "\n",
		"values-prod.yaml": token + ": {password: " + token + "}\n",
	} {
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := scan(t, folder)
	out, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Secrets) < 4 {
		t.Errorf("only %d secrets were found", len(a.Secrets))
	}
	for _, value := range []string{token, hook} {
		if strings.Contains(string(out), value) {
			t.Errorf("a value is in the answer:\n%s", out)
		}
	}
}

// Files that are made to exhaust the stack of a parser are passed over, and the others are read.
func TestFilesThatNest(t *testing.T) {
	folder := t.TempDir()
	const much = 1 << 20
	files := map[string]string{
		"last.env": "DB_PASSWORD=correct-horse-battery\n",
		"a.tf":     "x = " + strings.Repeat("(", much), "b.tf": "x = " + strings.Repeat("!", much), "c.tf": "x = " + strings.Repeat("[", much),
		"a.sh": strings.Repeat("$(", much), "b.sh": strings.Repeat("if ", much), "c.sh": strings.Repeat("{ ", much), "d.sh": strings.Repeat("! ", much),
		"a.yaml": "apiVersion: v1\nkind: " + strings.Repeat("[", much), "values.yaml": strings.Repeat("{a: ", much), "a.tfstate": strings.Repeat("[", much),
		".gitlab-ci.yml": "job: {script: '" + strings.Repeat("(", much) + "'}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a := scan(t, folder); len(a.Secrets) != 1 || a.Counts.Files != len(files) {
		t.Errorf("%d secrets in %d files, want 1 in %d", len(a.Secrets), a.Counts.Files, len(files))
	}
}

// listing are the files of a folder, those of Git among them, with what tells that one was changed.
func listing(t testing.TB, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			files[path] = info.Mode().String() + " " + info.ModTime().String()
		}
		return err
	})
	if err != nil || len(files) < 80 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	return files
}

// The steps by which a script makes a secret are told in their order, with where the value goes.
func scriptSteps(t *testing.T, a *discover.Answer) {
	for _, test := range []struct {
		file, name string
		want       []clue.Step
	}{
		{"scripts/setup-billing.sh", "DB_PW", []clue.Step{
			{Line: 5, Does: "makes", With: "openssl rand"},
			{Line: 7, Does: "puts", With: "psql", To: "password of role billing"},
			{Line: 8, Does: "puts", With: "kubectl create secret generic", To: "Kubernetes Secret billing-app, key db-password"},
			{Line: 11, Does: "puts", With: "kubeseal", To: "k8s/billing/app-sealed.yaml"},
			{Line: 12, Does: "puts", With: "vault kv put", To: "kv/billing/app#db_password"},
		}},
		{"scripts/rotate-ci.sh", "made", []clue.Step{
			{Line: 4, Does: "makes", With: "aws iam create-access-key"},
			{Line: 7, Does: "puts", With: "gh secret set", To: "secret AWS_ACCESS_KEY_ID of GitHub"},
			{Line: 8, Does: "puts", With: "gh secret set", To: "secret AWS_SECRET_ACCESS_KEY of GitHub"},
			{Line: 9, Does: "puts", With: "sops --set", To: "infra/sops/platform.yaml"},
		}},
		{"scripts/grafana-token.sh", "TOKEN", []clue.Step{
			{Line: 3, Does: "makes", With: "curl POST https://grafana.example.org/api/serviceaccounts/2/tokens"},
			{Line: 5, Does: "puts", With: "curl PUT", To: "https://dashboard.example.org/api/v1/variables/GRAFANA_TOKEN"},
		}},
	} {
		s := named(t, a, clue.Makes, test.file, test.name)
		at := slices.IndexFunc(s.Origins, func(p discover.Place) bool { return p.Name == test.name })
		if diff := cmp.Diff(test.want, s.Origins[at].Steps); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.file, test.name, diff)
		}
	}
}

// The way of a secret, its owner, its end and its risks are guessed, each with the reason.
func guesses(t *testing.T, a *discover.Answer) {
	rules := func(s discover.Secret) (ids []string) {
		for _, r := range s.Risks {
			ids = append(ids, r.Rule)
		}
		return ids
	}
	shop := named(t, a, clue.Holds, "services/shop/.env", "DATABASE_URL")
	if shop.Kind != "database password" || shop.Owner.Name != "shop" || !strings.Contains(shop.Owner.Why, "label") || shop.Risk != discover.High {
		t.Errorf("the database of the shop: kind %q, owner %+v, risk %s", shop.Kind, shop.Owner, shop.Risk)
	}
	for _, want := range []string{"in-git", "in-history", "several-places"} {
		if !slices.Contains(rules(shop), want) {
			t.Errorf("the database of the shop lacks the risk %s: %v", want, rules(shop))
		}
	}
	partner := named(t, a, clue.Holds, "services/billing/.env.production", "PARTNER_TOKEN")
	if partner.Expires == nil || !partner.Expires.Expired || partner.Expires.By != "token" || !slices.Contains(rules(partner), "expired") {
		t.Errorf("the token of the partner: %+v, %v", partner.Expires, rules(partner))
	}
	if want := "@harbour/billing alice@example.org"; partner.Owner.Name != want || !strings.Contains(partner.Owner.Why, "CODEOWNERS:3") {
		t.Errorf("the token of the partner: owner %+v, want %s", partner.Owner, want)
	}
	tls := named(t, a, clue.Holds, "k8s/shop/secret.yaml", "shop-tls/tls.key")
	if tls.Expires == nil || !tls.Expires.Expired || tls.Expires.By != "certificate" || tls.Kind != "TLS key" {
		t.Errorf("the TLS key: %s, %+v", tls.Kind, tls.Expires)
	}
	if npm := named(t, a, clue.Uses, ".github/workflows/deploy.yml", "NPM_TOKEN"); !slices.Contains(rules(npm), "settings-only") {
		t.Errorf("what only the CI has: %v", rules(npm))
	}
	if sealed := named(t, a, clue.Sealed, "k8s/billing/sealed.yaml", "billing-db/password"); sealed.Risk != discover.Low || sealed.Owner.Name != "billing" {
		t.Errorf("a sealed secret: risk %s, owner %+v", sealed.Risk, sealed.Owner)
	}
	old := named(t, a, clue.Holds, "k8s/old/secret.yaml", "search/token")
	if old.Holders[0].Commit == "" || !slices.Equal(rules(old), []string{"in-history", "unused"}) {
		t.Errorf("what is in the history alone: %+v, %v", old.Holders[0], rules(old))
	}
}

// Digests of two scans do not tell whether a value is the same: their keys differ.
func TestDigestsDifferByScan(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, ".env"), []byte("SESSION_SECRET=correct-horse-battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest := func(key string) string {
		a, err := discover.Scan(t.Context(), discover.Config{Folder: folder, Key: []byte(strings.Repeat(key, 32)), Now: then, Limits: discover.Usual})
		if err != nil {
			t.Fatal(err)
		}
		return named(t, a, clue.Holds, ".env", "SESSION_SECRET").Digests[0]
	}
	if one, other := digest("a"), digest("b"); one == other || one != digest("a") {
		t.Errorf("digests %s and %s", one, other)
	}
}
