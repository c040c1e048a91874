// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/upstream"
	"custody.dev/custody/internal/wire/kinds"
)

// edited is an estate in memory that a test edits.
type edited map[string]string

func goodText(t testing.TB, s *stage) edited {
	t.Helper()
	e, fsys := edited{}, os.DirFS(s.set(t, "testdata/good/estate"))
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		e[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e edited) files(t testing.TB) *Files {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range e {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	files, err := readFS(fsys, largest())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// replace changes the text of one file, which must have it.
func (e edited) replace(name, from, to string) {
	if !strings.Contains(e[name], from) {
		panic(name + " has no " + from)
	}
	e[name] = strings.Replace(e[name], from, to, 1)
}

func secretText(name, path, more string) string {
	return fmt.Sprintf("apiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {name: %s}\nspec:\n  purpose: Signs.\n"+
		"  owner: {team: apps, contact: apps@example.org}\n  class: runtime\n  path: %s\n  origin: {generated: {type: password}}\n%s", name, path, more)
}

func policyText(name, ttl string) string {
	return fmt.Sprintf("apiVersion: custody.dev/v1alpha1\nkind: RotationPolicy\nmetadata: {name: %s}\nspec: {rotationType: time, ttl: %s, rotateBefore: 1d}\n", name, ttl)
}

// said is what is told of documents of which the newest form is not in force.
func said(e *Estate) []string {
	var out []string
	for _, older := range e.Older {
		text := older.Subject + ":"
		if older.InForce {
			text += " older"
		}
		if older.Removed {
			text += " removed"
		}
		out = append(out, text+" "+older.Fault.Rule)
	}
	return out
}

// holds checks what is promised of every mixture: it is an estate that lints by itself, looking again changes nothing, and what
// is kept of it is the same.
func holds(t testing.TB, mixture *Estate, newest *Files, options Options) {
	t.Helper()
	alone, faults := mixture.Files.Load(options)
	if alone == nil {
		t.Fatalf("the mixture does not lint: %v", faults)
	}
	if alone.Digest != mixture.Digest {
		t.Errorf("the files of the mixture are another estate")
	}
	kept := fstest.MapFS{}
	for name, data := range mixture.Files.All() {
		kept[name] = &fstest.MapFile{Data: data}
	}
	back, err := readCopy(kept, largest())
	if err != nil {
		t.Fatal(err)
	}
	if back.Sum() != mixture.Files.Sum() {
		t.Errorf("the copy has another sum:\n%v", slices.Sorted(maps.Keys(kept)))
	}
	options.At = options.At.Add(time.Hour)
	again, faults := newest.LoadOver(back, options)
	if again == nil {
		t.Fatalf("a second look finds no mixture: %v", faults)
	}
	if again.Digest != mixture.Digest {
		t.Errorf("a second look has another estate in force: %v, before %v", said(again), said(mixture))
	}
	for i, older := range again.Older {
		if i < len(mixture.Older) && older.key() == mixture.Older[i].key() && !older.Since.Equal(mixture.Older[i].Since) {
			t.Errorf("%s is said to be older since %v, before since %v", older.key(), older.Since, mixture.Older[i].Since)
		}
	}
}

func TestMixture(t *testing.T) {
	const monthly, never = "policies.yml", "policies.yml"
	tests := map[string]struct {
		environment string
		edit        func(edited)
		said        []string
		secrets     string
		whole       bool
	}{
		"fits":            {edit: func(e edited) { e.replace(monthly, "ttl: 30d", "ttl: 20d") }},
		"has a fault":     {edit: func(e edited) { e.replace(monthly, "ttl: 30d", "ttl: 1d") }, said: []string{"RotationPolicy/monthly: older policy-arithmetic"}},
		"cannot be read":  {edit: func(e edited) { e.replace(monthly, "ttl: 30d", "tttl: 30d") }, said: []string{"RotationPolicy/monthly: older field-unknown"}},
		"new, with fault": {edit: func(e edited) { e["new.yaml"] = secretText("new", "No/Where", "") }, said: []string{"ManagedSecret/new: path-form"}},
		"new, and fits":   {edit: func(e edited) { e["new.yaml"] = secretText("new", "apps/new", "") }, secrets: "app-db app-signing db-admin new"},
		"is gone":         {edit: func(e edited) { delete(e, "apps/signing.yaml") }, secrets: "app-db db-admin"},
		"is gone, needed": {edit: func(e edited) { delete(e, "database/admin-seed.yaml") }, said: []string{"BootstrapSecret/admin-seed: older removed origin-bootstrap"}},
		"emptied":         {edit: func(e edited) { e["database/admin-seed.yaml"] = "" }, said: []string{"BootstrapSecret/admin-seed: older removed origin-bootstrap"}},
		"another does not fit": {
			edit: func(e edited) {
				e.replace("database/db.yaml", "  postgres:\n    host: /run/postgresql\n    tls: disable", "  rabbitmq:\n    host: queue.example.org")
			},
			said: []string{"Upstream/db: older account-kind"},
		},
		"a file cannot be read": {
			edit: func(e edited) { e["apps/signing.yaml"] += "\t- x: [\n"; e.replace(monthly, "ttl: 30d", "ttl: 20d") },
			said: []string{"ManagedSecret/app-signing: older yaml-syntax"},
		},
		"a file cannot be read, another is gone": {
			edit: func(e edited) { e["apps/other.yaml"] = "a: [\n"; delete(e, "apps/signing.yaml") },
			said: []string{"ManagedSecret/app-signing: older yaml-syntax"},
		},
		"a new file cannot be read": {edit: func(e edited) { e["apps/other.yaml"] = "a: [\n" }, said: []string{": yaml-syntax"}},
		"its name is lost":          {edit: func(e edited) { e.replace("apps/signing.yaml", "name: app-signing", "name: App Signing") }, said: []string{"ManagedSecret/app-signing: older name-form"}},
		"path is taken":             {edit: func(e edited) { e["a.yaml"] = secretText("aaa", "app/signing", "") }, said: []string{"ManagedSecret/aaa: path-duplicate"}},
		"path is taken by one before": {
			edit: func(e edited) {
				e.replace("apps/app.yaml", "path: platform-data/db/app", "path: app/signing")
				e.replace("apps/signing.yaml", "suspend: true", "suspend: false")
			},
			said: []string{"ManagedSecret/app-db: older path-duplicate"},
		},
		"account is taken": {
			edit: func(e edited) {
				e["a.yaml"] = secretText("aaa", "app/aaa", "  rotation: {policyRef: monthly, upstreamRef: db, postgres: {mode: alternate, owner: app}}\n")
			},
			said: []string{"ManagedSecret/aaa: account-shared"},
		},
		"former name is taken": {edit: func(e edited) { e["a.yaml"] = secretText("application-db", "app/aaa", "") }, said: []string{"ManagedSecret/application-db: former-name"}},
		"two of one name": {
			edit: func(e edited) { e["b.yaml"] = policyText("monthly", "20d") },
			said: []string{"RotationPolicy/monthly: older name-duplicate"},
		},
		"with what it needs": {
			edit: func(e edited) {
				e["b.yaml"] = policyText("weekly", "7d")
				e.replace("apps/app.yaml", "policyRef: monthly", "policyRef: weekly")
			},
		},
		"with what it lacks": {
			edit: func(e edited) {
				e["b.yaml"] = policyText("weekly", "1d")
				e.replace("apps/app.yaml", "policyRef: monthly", "policyRef: weekly")
			},
			said: []string{"ManagedSecret/app-db: older policy-dangling", "RotationPolicy/weekly: policy-arithmetic"},
		},
		"what looks like a credential": {
			edit: func(e edited) {
				e["apps/signing.yaml"] = "# AKIA" + strings.Repeat("7EXAMPLE", 2) + "\n" + e["apps/signing.yaml"]
			},
			said: []string{"ManagedSecret/app-signing: older plaintext"},
		},
		"valid elsewhere": {
			environment: "dev", edit: func(e edited) { e.replace("apps/app.yaml", "policyRef: never", "policyRef: nowhere") },
			said: []string{"ManagedSecret/app-db: older policy-dangling"},
		},
		"not valid elsewhere": {edit: func(e edited) { e.replace("apps/app.yaml", "policyRef: never", "policyRef: nowhere") }},
		"another platform":    {edit: func(e edited) { e.replace("platform.yaml", "type: embedded", "type: elsewhere") }, whole: true},
		"no platform":         {edit: func(e edited) { delete(e, "platform.yaml") }, whole: true},
		"platform that does not fit": {
			edit: func(e edited) { e.replace("platform.yaml", "[dev, prod]", "[dev, prod, signing]") },
			said: []string{"Platform/home: older path-environment"},
		},
		"nothing": {edit: func(e edited) { clear(e) }, whole: true},
		"cycle": {
			edit: func(e edited) {
				for _, pair := range [][2]string{{"x", "y"}, {"y", "x"}} {
					e[pair[0]+".yaml"] = strings.Replace(strings.Replace(secretText(pair[0], "app/"+pair[0], ""), "class: runtime", "class: derived", 1),
						"{generated: {type: password}}", "{derived: {inputs: {in: "+pair[1]+"}, fields: {value: \"{{ .in.value }}\"}}}", 1)
				}
			},
			whole: true,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			options := Options{Environment: "prod", Types: kinds.Upstreams(), At: time.Unix(1000, 0).UTC()}
			if test.environment != "" {
				options.Environment = test.environment
			}
			text := goodText(t, newStage(t))
			before := text.files(t)
			test.edit(text)
			newest := text.files(t)
			mixture, faults := newest.LoadOver(before, options)
			if test.whole {
				if mixture != nil || len(faults) == 0 {
					t.Errorf("want the estate before to stay whole, not %v (%v)", said(mixture), faults)
				}
				return
			}
			if mixture == nil {
				t.Fatalf("no mixture: %v", faults)
			}
			if diff := cmp.Diff(test.said, said(mixture)); diff != "" {
				t.Errorf("said (-want +got):\n%s\nfaults: %v", diff, faults)
			}
			if want := test.secrets; want != "" && strings.Join(mixture.SecretNames(), " ") != want {
				t.Errorf("in force are %v, want %s", mixture.SecretNames(), want)
			}
			holds(t, mixture, newest, options)
		})
	}
}

// A half-sealed value was handed over while the document that needs the other half had a fault, and so was not in force.
func TestMixtureDemandsWhatDocumentsOutOfForceNeed(t *testing.T) {
	options := Options{Environment: "prod", Types: kinds.Upstreams(), At: time.Unix(1000, 0).UTC()}
	seed := func(e edited, name, field string) {
		text := strings.ReplaceAll(e["database/admin-seed.yaml"], "admin-seed", name)
		text = strings.ReplaceAll(text, "db-admin", name)
		text = regexp.MustCompile(`(?s)(\n  values:\n).*?(\nkind:)`).ReplaceAllString(text, "${1}    "+field+": ENC[AES256_GCM,data:c2VhbGVk,iv:aXY=,tag:dGFn,type:str]${2}")
		e[name+"-seed.yaml"] = text
	}
	sealed := func(e edited, name, more string) {
		e[name+".yaml"] = strings.Replace(secretText(name, "app/"+name, more), "{generated: {type: password}}", "{bootstrap: {secretRef: "+name+"}}", 1)
		seed(e, name, "accessKeyId")
	}
	upstreamOf := func(more string) string {
		return "apiVersion: custody.dev/v1alpha1\nkind: Upstream\nmetadata: {name: objects}\nspec:\n  adminRef: keys\n  minio: {endpoint: \"https://objects.example.org\"" + more + "}\n"
	}
	tests := map[string]struct {
		edit func(edited)
		want []upstream.Demand
	}{
		"admin": {
			func(e edited) { sealed(e, "keys", ""); e["up.yaml"] = upstreamOf("") },
			[]upstream.Demand{{Field: upstream.OneOf{"accessKeyId"}, By: "upstream objects"}, {Field: upstream.OneOf{"secretAccessKey"}, By: "upstream objects"}},
		},
		"admin, of an upstream with another fault": {
			func(e edited) {
				sealed(e, "keys", "")
				e["up.yaml"] = strings.Replace(upstreamOf(""), "https:", "ftp:", 1)
			},
			[]upstream.Demand{{Field: upstream.OneOf{"accessKeyId"}, By: "upstream objects"}, {Field: upstream.OneOf{"secretAccessKey"}, By: "upstream objects"}},
		},
		"admin, of an upstream that cannot be decoded": {
			func(e edited) { sealed(e, "keys", ""); e["up.yaml"] = upstreamOf(", url: none") },
			[]upstream.Demand{{Field: upstream.OneOf{"accessKeyId"}, By: "upstream objects"}, {Field: upstream.OneOf{"secretAccessKey"}, By: "upstream objects"}},
		},
		"consumer": {
			func(e edited) {
				sealed(e, "keys", "  consumers: [{name: web, file: {folder: app, path: keys.env, format: env, keys: {secretAccessKey: SECRET}}}]\n")
			},
			[]upstream.Demand{{Field: upstream.OneOf{"secretAccessKey"}, By: "consumer web"}},
		},
		"raw consumer": {
			func(e edited) {
				sealed(e, "keys", "  consumers: [{name: web, file: {folder: app, path: key, format: raw}}]\n")
			},
			[]upstream.Demand{{Field: upstream.OneOf{"value"}, By: "consumer web"}},
		},
		"formula": {
			func(e edited) {
				sealed(e, "keys", "")
				e["made.yaml"] = strings.Replace(strings.Replace(secretText("made", "app/made", ""), "class: runtime", "class: derived", 1),
					"{generated: {type: password}}", "{derived: {inputs: {in: keys}, fields: {value: \"{{ .in.secretAccessKey }}\"}}}", 1)
			},
			[]upstream.Demand{{Field: upstream.OneOf{"secretAccessKey"}, By: "secret made, which is computed from it"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := goodText(t, newStage(t))
			before := text.files(t)
			test.edit(text)
			estate, faults := text.files(t).LoadOver(before, options)
			if estate == nil || estate.Secrets["keys"] == nil {
				t.Fatalf("the secret is not in force: %v", faults)
			}
			told := slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.Fix, "`custody seal keys --field ") })
			if !told {
				t.Errorf("no fault names the command that seals what is missing: %v", faults)
			}
			demands := func(what string, e *Estate) {
				t.Helper()
				if diff := cmp.Diff(test.want, e.Demands["keys"]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			demands("demanded", estate)
			kept := fstest.MapFS{}
			for name, data := range estate.Files.All() {
				kept[name] = &fstest.MapFile{Data: data}
			}
			back, err := readCopy(kept, largest())
			if err != nil {
				t.Fatal(err)
			}
			alone, _ := back.Load(options)
			demands("demanded after a restart that cannot read the newest", alone)
			for name, data := range text {
				if strings.HasSuffix(name, "up.yaml") {
					text[name] = data + "\t- x: [\n"
				}
			}
			torn, _ := text.files(t).LoadOver(back, options)
			demands("demanded while a file cannot be read", torn)
		})
	}
}

// The first estate has no form before: it is in force as a whole, or not at all.
func TestFirstEstateIsWholeOrNone(t *testing.T) {
	text := goodText(t, newStage(t))
	text.replace("policies.yml", "ttl: 30d", "ttl: 1d")
	if estate, faults := text.files(t).LoadOver(nil, Options{Environment: "prod", Types: kinds.Upstreams()}); estate != nil || len(faults) == 0 {
		t.Errorf("in force is %v, with %v", estate, faults)
	}
}

// What cannot be made of an estate in which no rule is broken gives way as what breaks one.
func TestMixtureOfWhatCannotBeMade(t *testing.T) {
	text := goodText(t, newStage(t))
	before := text.files(t)
	text.replace("apps/signing.yaml", "suspend: true", "suspend: false")
	text.replace("policies.yml", "ttl: 30d", "ttl: 20d")
	estate, _ := text.files(t).LoadOver(before, Options{Environment: "prod", Types: kinds.Upstreams(), Check: func(e *Estate) []Fault {
		if e.Secrets["app-signing"].Spec.Suspend {
			return nil
		}
		return []Fault{{Rule: RuleUnservable, Subject: "ManagedSecret/app-signing"}}
	}})
	if estate == nil || !slices.Equal(said(estate), []string{"ManagedSecret/app-signing: older " + RuleUnservable}) {
		t.Fatalf("got %+v", estate)
	}
	if estate.Policies["monthly"].TTL != 20*24*time.Hour {
		t.Error("the policy, with which nothing is wrong, is not in force")
	}
}

// A document that is in force though another one of its file is not has the lines that it had.
func TestMixtureKeepsPlaces(t *testing.T) {
	text := goodText(t, newStage(t))
	before := text.files(t)
	text["apps/signing.yaml"] = secretText("one", "app/one", "") + "---\n" + text["apps/signing.yaml"]
	text.replace("apps/signing.yaml", "path: app/one", "path: App/One")
	options := Options{Environment: "prod", Types: kinds.Upstreams()}
	estate, faults := text.files(t).LoadOver(before, options)
	if estate == nil {
		t.Fatal(faults)
	}
	alone, _ := estate.Files.Load(options)
	if got := alone.Secrets["app-signing"].Source; got.File != "apps/signing.yaml" || got.Line != 11 {
		t.Errorf("it is said to stand at %+v", got)
	}
}

// What is kept of a document whose file has another that gave way said something else: the encoder folds otherwise than it unfolds.
func TestDocumentAloneSaysWhatItSaid(t *testing.T) {
	for name, text := range map[string]string{
		"folded, a line further in":     "a: >\n  x\n   y\n\n  z\n",
		"folded, stripped":              "a: >-\n  x\n\n    y\n\n  z\n",
		"folded, all breaks kept":       "a: >+\n  x\n\n",
		"folded, begins further in":     "a: >2\n    x\n  y\n",
		"folded in a list":              "a:\n  - >-\n    x\n\n      y\n",
		"absent in braces":              "a: {b, c: }\n",
		"absent":                        "a:\nb: ~\nc: null\nd: ''\n",
		"literal":                       "a: |2\n    x\n  y\n",
		"literal, all breaks kept":      "a: |+\n  x\n\n\n",
		"quoted over lines":             "a: \"x\n  y\\\n  z\"\nb: 'x\n\n  y'\n",
		"comments where they can stand": "a: {b: [c # d\n , e], # f\n  g: h} # i\nj:\n# k\n- l # m\n# n\n",
		"what looks like another type":  "a: '1'\nb: \"yes\"\nc: 2026-01-01\nd: \"2026-01-01\"\ne: 0x10\n",
	} {
		t.Run(name, func(t *testing.T) {
			read := func(text []byte) (n yaml.Node, said any) {
				if err := yaml.Unmarshal(text, &n); err != nil {
					t.Fatalf("%v in %q", err, text)
				}
				if err := n.Decode(&said); err != nil {
					t.Fatal(err)
				}
				return n, said
			}
			n, want := read([]byte(text))
			next := *n.Content[0]
			next.Line += 20
			nodes := []*yaml.Node{n.Content[0], &next}
			parts := together([]*document{{line: nodes[0].Line, siblings: 3}, {line: next.Line, number: 1, siblings: 3}},
				func(d *document) *yaml.Node { return nodes[d.number] })
			if len(parts) != 1 {
				t.Fatalf("%d parts", len(parts))
			}
			decoder := yaml.NewDecoder(bytes.NewReader(parts[0]))
			for range 2 {
				var got any
				if err := decoder.Decode(&got); err != nil || !cmp.Equal(got, want) {
					t.Errorf("got %q, %v, want %q, in %q", got, err, want, parts[0])
				}
			}
		})
	}
}

// One document of a long file that does not lint: each other one was kept in a file of its own, with as many lines before it as
// the file has. A file of 1500 took ten seconds at each look.
func TestFaultInALongFileKeepsItInAFewParts(t *testing.T) {
	const documents = 300
	text := goodText(t, newStage(t))
	for i := range documents {
		text["apps/many.yaml"] += secretText(fmt.Sprintf("many-%d", i), fmt.Sprintf("app/many-%d", i), "---\n")
	}
	before := text.files(t)
	text.replace("apps/many.yaml", "path: app/many-7\n", "path: App/Many\n")
	newest, options := text.files(t), Options{Environment: "prod", Types: kinds.Upstreams()}
	estate, faults := newest.LoadOver(before, options)
	if estate == nil {
		t.Fatal(faults)
	}
	holds(t, estate, newest, options)
	parts, size := 0, 0
	for _, one := range estate.Files.read {
		if one.part > 0 {
			parts, size = parts+1, size+len(one.data)
		}
	}
	if most := 2 * len(text["apps/many.yaml"]); parts > 2 || size > most {
		t.Errorf("%d parts of %d bytes, want 2 of %d bytes at most", parts, size, most)
	}
	alone, _ := estate.Files.Load(options)
	if got, want := alone.Secrets["many-299"].Source.Line, 1+10*(documents-1)+0; got != want {
		t.Errorf("the last is said to stand on line %d, want %d", got, want)
	}
}

// A file with more faults than are listed kept every document as it was, and nothing that was changed elsewhere came into force.
func TestFileFullOfFaultsFreezesNoOther(t *testing.T) {
	text := goodText(t, newStage(t))
	text["apps/more.yaml"] = secretText("kept", "app/kept", "")
	before := text.files(t)
	text["apps/more.yaml"] += strings.Repeat("---\napiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata: {name: one}\nspec: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1}\n", 1200)
	text["apps/new.yaml"] = secretText("new", "app/new", "")
	newest, options := text.files(t), Options{Environment: "prod", Types: kinds.Upstreams()}
	estate, said := newest.LoadOver(before, options)
	if estate == nil {
		t.Fatalf("nothing came into force of an estate with %d faults", len(said))
	}
	holds(t, estate, newest, options)
	for _, name := range []string{"kept", "new"} {
		if _, in := estate.ByName(name); !in {
			t.Errorf("%s is not in force", name)
		}
	}
}

// drawn is an estate of documents that are drawn at random: most refer to others that may not be there.
func drawn(random *rand.Rand, was edited) edited {
	e := maps.Clone(was)
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 1 + random.IntN(4) {
		name := pick("a", "b", "c", "d", "e")
		file := pick("one", "two", "three", name) + ".yaml"
		var text string
		switch random.IntN(12) {
		case 0:
			delete(e, file)
			continue
		case 1:
			text = "a: [\n"
		case 2, 3, 4:
			text = policyText(name, pick("30d", "20d", "20d", "1d"))
		case 5:
			text = strings.Replace(strings.Replace(secretText(name, "app/"+name, ""), "class: runtime", "class: derived", 1),
				"{generated: {type: password}}", "{derived: {inputs: {in: "+pick("a", "b", "c")+"}, fields: {value: \"{{ .in.value }}\"}}}", 1)
		default:
			more := "  rotation: {policyRef: " + pick("a", "b", "c")
			if random.IntN(3) == 0 {
				more += ", group: " + pick("g", "h")
			}
			more += "}\n"
			if random.IntN(4) == 0 {
				more += "  formerNames: [" + pick("a", "b", "x", "y") + "]\n"
			}
			if random.IntN(8) == 0 {
				more += "  purpos: x\n"
			}
			if random.IntN(4) == 0 {
				more += "  environments: {" + pick("dev", "prod") + ": {rotation: {policyRef: " + pick("a", "d") + "}}}\n"
			}
			text = secretText(name, "app/"+pick(name, name, name, "a", "z"), more)
		}
		if random.IntN(4) == 0 && e[file] != "" {
			text = e[file] + "---\n" + text
		}
		e[file] = text
	}
	return e
}

// play edits an estate at random, and checks what is in force after each edit.
func play(t testing.TB, seed uint64, edits int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // drawn from a seed that is named
	options := Options{Environment: "prod", Types: kinds.Upstreams(), At: time.Unix(1000, 0).UTC()}
	text := edited{"platform.yaml": "apiVersion: custody.dev/v1alpha1\nkind: Platform\nmetadata: {name: home}\nspec:\n  environments: [dev, prod]\n" +
		"  rootRecipients: [age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z]\n  authority: {type: embedded}\n"}
	before := text.files(t)
	for range edits {
		text = drawn(random, text)
		newest := text.files(t)
		mixture, faults := newest.LoadOver(before, options)
		if mixture == nil {
			if !ofNoDocument(faults) {
				t.Fatalf("seed %d: no mixture: %v", seed, faults)
			}
			continue
		}
		if strict, _ := newest.Load(options); (strict != nil) != (len(mixture.Older) == 0) || strict != nil && strict.Digest != mixture.Digest {
			t.Errorf("seed %d: the newest estate lints is %v, and it is said %v", seed, strict != nil, said(mixture))
		}
		holds(t, mixture, newest, options)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		before = mixture.Files
	}
}

func TestMixtureOfRandomEdits(t *testing.T) {
	random := thorough.Random(t, "edits")
	for range thorough.Of(10, 60, 3000) {
		play(t, random.Uint64(), 12)
	}
}

// FuzzMixture holds the loader to what holds says, whatever is edited.
func FuzzMixture(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { play(t, seed, 12) })
}
