// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"maps"
	"path"
	"slices"
	"strings"

	"custody.dev/custody/internal/discover/clue"
)

// joiner finds which records are about one secret. It is a forest: each record leads to another of its secret, and at last to
// one that stands for all.
type joiner struct {
	records []record
	parent  []int
	// sets are the records that are about every secret of a set.
	sets []int
}

// group is one secret: its records, in order, with those about sets that it is in.
type group struct {
	records []int
	// why says why records were taken for one secret.
	why []string
}

func (j *joiner) find(i int) int {
	for j.parent[i] != i {
		j.parent[i] = j.parent[j.parent[i]]
		i = j.parent[i]
	}
	return i
}

func (j *joiner) union(a, b int) {
	a, b = j.find(a), j.find(b)
	if a > b {
		a, b = b, a
	}
	j.parent[b] = a
}

// join makes groups of records: first by what identifies a secret, then by value, then by the name of a variable where only one
// value has it.
func join(records []record, read func(file string) bool) []group {
	j := &joiner{records: records, parent: make([]int, len(records))}
	for i := range records {
		j.parent[i] = i
		if records[i].Set != "" {
			j.sets = append(j.sets, i)
		}
	}
	j.byKey()
	j.byDigest()
	j.byNamespace()
	j.byVariable()
	return j.groups(read)
}

func (j *joiner) byKey() {
	first := map[string]int{}
	for i, r := range j.records {
		for _, key := range r.Keys {
			if at, known := first[key]; known {
				j.union(at, i)
			} else {
				first[key] = i
			}
		}
	}
}

func (j *joiner) byDigest() {
	first := map[string]int{}
	for i, r := range j.records {
		if r.digest == "" {
			continue
		}
		key := r.digest
		if r.weak {
			key += " " + clue.Alike(path.Base(r.Name)) // two accounts may have one poor password
		}
		if at, known := first[key]; known {
			j.union(at, i)
		} else {
			first[key] = i
		}
	}
}

// byNamespace joins fields of Secrets of which one place does not say the namespace, if only one namespace has such a field.
func (j *joiner) byNamespace() {
	type field struct {
		bare   int
		others map[string]int
	}
	fields := map[string]*field{}
	for i, r := range j.records {
		for _, key := range r.Keys {
			rest, is := strings.CutPrefix(key, "k8s:")
			if !is {
				continue
			}
			namespace, name, _ := strings.Cut(rest, "/")
			f := fields[name]
			if f == nil {
				f = &field{-1, map[string]int{}}
				fields[name] = f
			}
			if namespace == "" {
				f.bare = i
			} else {
				f.others[namespace] = i
			}
		}
	}
	for _, f := range fields {
		if f.bare >= 0 && len(f.others) == 1 {
			for _, other := range f.others {
				j.union(f.bare, other)
			}
		}
	}
}

// byVariable joins those who take a variable with the one who has it. Where several have it with different values, one in the
// same folder is taken; without such a one, nobody can say which is meant.
func (j *joiner) byVariable() {
	named := map[string][]int{}
	for i, r := range j.records {
		if r.Env != "" && !clue.Common(r.Env) {
			named[clue.Alike(r.Env)] = append(named[clue.Alike(r.Env)], i)
		}
	}
	for _, name := range sortedKeys(named) {
		have := map[int]int{} // the secret, and a record that has its value
		for _, i := range named[name] {
			if r := j.records[i]; r.Role != clue.Uses && r.at == nil {
				have[j.find(i)] = i
			}
		}
		first := -1
		for _, i := range named[name] {
			if j.records[i].Role != clue.Uses {
				continue
			}
			switch {
			case len(have) == 1:
				for _, at := range have {
					j.union(at, i)
				}
			case len(have) == 0:
				if first >= 0 {
					j.union(first, i)
				} else {
					first = i
				}
			default:
				for _, at := range have {
					if path.Dir(j.records[at].file) == path.Dir(j.records[i].file) {
						j.union(at, i)
						break
					}
				}
			}
		}
	}
}

// groups are the secrets, in the order in which they were found. Records that count only if another says that there is a
// secret are left out where none does; those about sets are given to each secret of the set.
func (j *joiner) groups(read func(file string) bool) []group {
	members := map[int][]int{}
	for i, r := range j.records {
		if r.Set == "" {
			members[j.find(i)] = append(members[j.find(i)], i)
		}
	}
	maps.DeleteFunc(members, func(_ int, list []int) bool {
		return !slices.ContainsFunc(list, func(i int) bool { return !j.records[i].Maybe })
	})
	of := map[string][]int{} // the secrets of each set
	for _, root := range sortedKeys(members) {
		for _, i := range members[root] {
			for _, key := range j.records[i].Keys {
				for _, set := range setsOf(key) {
					if !slices.Contains(of[set], root) {
						of[set] = append(of[set], root)
					}
				}
			}
		}
	}
	alone := map[string]int{}
	for _, i := range j.sets {
		set := j.records[i].Set
		roots := of[set]
		if bare, is := strings.CutPrefix(set, "k8s:/"); is && len(roots) == 0 {
			roots = of["k8s-any:"+bare]
		} else if is := strings.HasPrefix(set, "k8s:"); is && len(roots) == 0 {
			_, bare, _ := strings.Cut(strings.TrimPrefix(set, "k8s:"), "/")
			roots = of["k8s:/"+bare]
		}
		if file, is := strings.CutPrefix(set, "file:"); is && len(roots) == 0 && read(strings.TrimSuffix(file, "#")) {
			continue // the file is there, and has no secret
		}
		if len(roots) == 0 {
			bare := set
			if rest, is := strings.CutPrefix(set, "k8s:"); is {
				_, bare, _ = strings.Cut(rest, "/")
			}
			if at, known := alone[bare]; known {
				members[at] = append(members[at], i)
			} else {
				alone[bare] = i
				members[i] = []int{i}
			}
			continue
		}
		for _, root := range roots {
			members[root] = append(members[root], i)
		}
	}
	var groups []group
	for _, root := range sortedKeys(members) {
		list := members[root]
		slices.Sort(list)
		groups = append(groups, group{records: list, why: j.why(list)})
	}
	return groups
}

// setsOf are the sets that a key is in.
func setsOf(key string) []string {
	if rest, is := strings.CutPrefix(key, "file:"); is {
		file, _, _ := strings.Cut(rest, "#")
		return []string{"file:" + file + "#"}
	}
	if rest, is := strings.CutPrefix(key, "k8s:"); is {
		parts := strings.SplitN(rest, "/", 3)
		if len(parts) == 3 {
			return []string{"k8s:" + parts[0] + "/" + parts[1] + "/", "k8s-any:" + parts[1] + "/"}
		}
	}
	return nil
}

// why says why the records of a group are one secret.
func (j *joiner) why(list []int) (why []string) {
	digests, keys, envs := map[string]int{}, map[string]int{}, map[string]int{}
	for _, i := range list {
		r := j.records[i]
		if r.digest != "" {
			digests[r.digest]++
		}
		for _, key := range r.Keys {
			keys[key]++
		}
		if r.Env != "" {
			envs[r.Env]++
		}
	}
	for _, n := range digests {
		if n > 1 {
			why = append(why, "the same value in several places")
			break
		}
	}
	for _, key := range sortedKeys(keys) {
		if keys[key] > 1 && !strings.HasPrefix(key, "file:") {
			why = append(why, "several places name "+key)
		}
	}
	for _, env := range sortedKeys(envs) {
		if envs[env] > 1 {
			why = append(why, "several places know it as "+env)
		}
	}
	if len(digests) > 1 {
		why = append(why, "it had other values before, or has others elsewhere")
	}
	return why
}
