// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/thorough"
	"custody.dev/custody/internal/wire/kinds"
)

// allocated is how many bytes do takes from the heap in all, freed or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// filled are files of a size each, whose text repeats unit.
func filled(files, size int, unit string) fstest.MapFS {
	made := fstest.MapFS{}
	for i := range files {
		made[fmt.Sprintf("f%03d.yaml", i)] = &fstest.MapFile{Data: []byte(strings.Repeat(unit, size/len(unit)))}
	}
	return made
}

// An estate of 9.6 MiB took 547 MB. Beyond its bounds nothing more is read, however small the parts are that it is made of. The
// bounds are a tenth of the usual ones.
func TestEstateBeyondItsBoundsIsRefusedBeforeItIsLoaded(t *testing.T) {
	most := bounds{maxEstate / 10, maxValues / 10}
	longList := &fstest.MapFile{Data: []byte("[" + strings.Repeat("1,", maxFile/2-2) + "]")}
	const document = "apiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata:\n  name: one\nspec: {}\n---\n"
	for name, test := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"many bytes":                {filled(40, 900<<10, "# "+strings.Repeat("comment ", 20)+"\n"), fmt.Sprintf("more than %d bytes", most.bytes)},
		"many values in lists":      {filled(40, 900<<10, "---\na: ["+strings.Repeat("1,", 400)+"]\n"), fmt.Sprintf("more than %d keys", most.values)},
		"two documents of one list": {fstest.MapFS{"a.yaml": longList, "b.yaml": longList}, fmt.Sprintf("more than %d keys", most.values)},
		"many documents with fault": {filled(40, 90<<10, document), "the estate has more than 10000 faults"},
		"many of them in one file":  {filled(3, 900<<10, document), "this file has more than 1000 faults"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []Fault
			took := allocated(func() {
				files, err := readFS(test.files, most)
				if err != nil {
					t.Fatal(err)
				}
				estate, faults := files.Load(Options{Types: kinds.Upstreams()})
				if estate != nil {
					t.Error("it is loaded")
				}
				list = faults
			})
			found := ""
			for _, fault := range list {
				if fault.Rule == "estate-too-large" {
					found += fault.Reason + "\n"
				}
			}
			if !strings.Contains(found, test.want) {
				t.Errorf("said %q of %d faults, want %q", found, len(list), test.want)
			}
			t.Logf("%d MB", took>>20)
			if limit := uint64(150 * most.bytes); took > limit && !thorough.Raced {
				t.Errorf("it took %d bytes, want %d at most: 150 times what an estate may have", took, limit)
			}
		})
	}
}

// More faults than are listed, over many files, froze the whole estate: each of those files keeps its documents as they were,
// and all others go on.
func TestFaultsBeyondEveryBoundKeepTheirOwnFilesAlone(t *testing.T) {
	options := Options{Environment: "prod", Types: kinds.Upstreams(), At: time.Unix(1000, 0).UTC()}
	text := goodText(t, newStage(t))
	text["z.yaml"] = secretText("last", "app/last", "") + "---\n" + secretText("beside", "app/beside", "")
	want := []string{"ManagedSecret/beside", "ManagedSecret/last"}
	for i := range maxFaults/maxFileFaults + 2 {
		name := fmt.Sprintf("crowd-%d", i)
		text[name+".yaml"] = secretText(name, "app/"+name, "")
		want = append(want, "ManagedSecret/"+name)
	}
	before := text.files(t)
	for i := range maxFaults/maxFileFaults + 2 {
		var unknown strings.Builder
		for i := range maxFileFaults + 10 {
			fmt.Fprintf(&unknown, "  unknown%d: 1\n", i)
		}
		text[fmt.Sprintf("crowd-%d.yaml", i)] += unknown.String()
	}
	text.replace("z.yaml", "path: app/last", "path: app/last\n  unknown: 1") // beyond the bound of all
	text["fresh.yaml"] = secretText("fresh", "app/fresh", "")
	newest := text.files(t)
	mixture, faults := newest.LoadOver(before, options)
	if mixture == nil {
		t.Fatalf("no mixture, and %d faults", len(faults))
	}
	if mixture.Secrets["fresh"] == nil {
		t.Error("a new document in a file of its own is not in force")
	}
	var got []string
	for _, older := range mixture.Older {
		if older.Subject != "" && older.InForce {
			got = append(got, older.Subject)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in the form before are (-want +got):\n%s", diff)
	}
	if most := maxFaults + len(newest.read); len(faults) > most {
		t.Errorf("%d faults are listed, want %d at most", len(faults), most)
	}
	holds(t, mixture, newest, options)
}

// An estate of 100,000 secrets was refused: 12,000 were within its bounds.
func TestAHundredThousandSecretsAreWithinTheBounds(t *testing.T) {
	const secrets, number = 100_000, 99_999
	text := fmt.Sprintf(boundsSecret+boundsConsumer, number, number, number, number)
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	if size, values := secrets*len(text), secrets*valuesIn(n.Content[0]); size > maxEstate || values > maxValues {
		t.Errorf("%d bytes and %d values, want %d and %d at most", size, values, maxEstate, maxValues)
	}
}

// The nodes of all files were kept until the rules had been applied: 16 KiB for each document, and 165 MB for 10,000.
func TestNoNodesAreKeptOfWhatWasRead(t *testing.T) {
	const secrets = 2000
	made := fstest.MapFS{}
	for i := range secrets {
		made[fmt.Sprintf("s%05d.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, boundsSecret+boundsConsumer, i, i, i, i)}
	}
	files, err := readFS(made, largest())
	if err != nil {
		t.Fatal(err)
	}
	live := func() uint64 {
		var memory runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&memory)
		return memory.HeapAlloc
	}
	before := live()
	r := files.parse(kinds.Upstreams())
	took := live() - before - maxTrees*200 // what trees keeps, however many documents there are
	if each := int(took) / secrets; each > 3<<10 {
		t.Errorf("%d bytes for each of %d documents, want 3 KiB at most", each, secrets)
	}
	if r.trees.nodes > maxTrees || len(r.documents) != secrets {
		t.Errorf("%d nodes of %d documents are kept", r.trees.nodes, len(r.documents))
	}
}

// Where a fault is, only its file knows: each is read again once while the documents in it are judged, not once for each fault.
func TestFaultsReadTheirFilesAgainOnce(t *testing.T) {
	const files, documents = 100, 50
	made := fstest.MapFS{"platform.yaml": {Data: []byte(boundsPlatform)}}
	for i := range files {
		var text strings.Builder
		for j := range documents {
			n := i*documents + j
			fmt.Fprintf(&text, strings.Replace(boundsSecret, "class: runtime", "class: other", 1)+"---\n", n, n, n)
		}
		made[fmt.Sprintf("f%03d.yaml", i)] = &fstest.MapFile{Data: []byte(text.String())}
	}
	read, err := readFS(made, largest())
	if err != nil {
		t.Fatal(err)
	}
	r := read.parse(kinds.Upstreams())
	if _, faults := read.judge(r, Options{Types: kinds.Upstreams()}); len(faults) != files*documents {
		t.Fatalf("%d faults, want %d: %v", len(faults), files*documents, faults[:min(3, len(faults))])
	}
	if r.trees.reread > files || r.trees.reread == 0 {
		t.Errorf("%d files were read again, want %d at most", r.trees.reread, files)
	}
}

// The largest estate that is taken costs a known multiple of its size, and no more for each document than a small one.
func TestLoadingTakesAMultipleOfTheEstate(t *testing.T) {
	estate := func(secrets int) (fstest.MapFS, int) {
		made := fstest.MapFS{"platform.yaml": {Data: []byte(boundsPlatform)}}
		size := len(boundsPlatform)
		for i := range secrets {
			text := fmt.Sprintf(boundsSecret, i, i, i)
			made[fmt.Sprintf("s%05d.yaml", i)] = &fstest.MapFile{Data: []byte(text)}
			size += len(text)
		}
		return made, size
	}
	each := map[int]uint64{}
	for _, secrets := range []int{100, 1000} {
		files, size := estate(secrets)
		took := allocated(func() {
			if _, faults, err := loadFS(files, Options{}); err != nil || len(faults) > 0 {
				t.Fatalf("%v %v", err, faults)
			}
		})
		each[secrets] = took / uint64(size)
		t.Logf("%d secrets, %d bytes: %d bytes for each", secrets, size, each[secrets])
	}
	if each[1000] > 150 && !thorough.Raced || each[1000] > each[100]*3/2 {
		t.Errorf("a byte of an estate takes %v bytes, by how many secrets it has", each)
	}
}

const boundsConsumer = `  consumers:
    - name: service
      file:
        folder: services
        path: service-%d/token
        format: raw
        reload: service
        check: service
`

const boundsPlatform = `apiVersion: custody.dev/v1alpha1
kind: Platform
metadata:
  name: shop
spec:
  environments: [prod]
  rootRecipients:
    - age1jg5fem8teerpgmxf7ynepxd6cj35hrygvv4um6skv6af59pe95qqxdpd5u
  authority:
    type: embedded
`

const boundsSecret = `apiVersion: custody.dev/v1alpha1
kind: ManagedSecret
metadata:
  name: secret-%d
spec:
  purpose: signs sessions of service number %d
  owner:
    team: shop
    contact: shop@example.org
  class: runtime
  path: shop/secret-%d
  origin:
    generated: {type: password, length: 24}
`
