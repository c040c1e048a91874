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

// An estate of 9.6 MiB took 547 MB. Beyond its bounds nothing more is read, however small the parts are that it is made of.
func TestEstateBeyondItsBoundsIsRefusedBeforeItIsLoaded(t *testing.T) {
	longList := &fstest.MapFile{Data: []byte("[" + strings.Repeat("1,", maxFile/2-2) + "]")}
	const document = "apiVersion: custody.dev/v1alpha1\nkind: ManagedSecret\nmetadata:\n  name: one\nspec: {}\n---\n"
	for name, test := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"many bytes":                {filled(40, 900<<10, "# "+strings.Repeat("comment ", 20)+"\n"), "more than 6291456 bytes"},
		"many values in lists":      {filled(40, 900<<10, "---\na: ["+strings.Repeat("1,", 400)+"]\n"), "more than 600000 keys"},
		"two documents of one list": {fstest.MapFS{"a.yaml": longList, "b.yaml": longList}, "more than 600000 keys"},
		"many documents with fault": {filled(40, 90<<10, document), "more than 10000 things are wrong"},
		"many of them in one file":  {filled(3, 900<<10, document), "more than 1000 things are wrong in this file"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []Fault
			took := allocated(func() {
				estate, faults, err := loadFS(test.files, Options{})
				if estate != nil || err != nil {
					t.Errorf("it is loaded: %v", err)
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
			if most := uint64(120 * maxEstate); took > most {
				t.Errorf("it took %d bytes, want %d at most: 120 times what an estate may have", took, most)
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
