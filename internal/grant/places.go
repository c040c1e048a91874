// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unique"

	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/intent"
)

// narrow is the widest mode of a file that needs no grant by itself: its owner and its group read it.
const narrow = 0o640

// groupReads is the bit of a mode that lets the file's group read.
const groupReads = 0o040

// Known is which places may know the values of secrets, as their histories say, by the secrets' paths: no entry where the
// history has not begun, and nil where it never noted any. See Places.
type Known map[authority.Path][]string

// Used reports whether values of a secret that there are may hold those of an input.
func (k Known) Used(declared, input *intent.Secret) bool {
	places, begun := k[declared.Path]
	return begun && (places == nil || slices.Contains(places, inputPlace(input)))
}

// Places is what a secret's history is to note before its values are first given to anybody: the places where consumers may
// read them, its own and those of what is computed from it, and what it is computed from. What waits for a grant is left
// out. A place is a folder of the host or one beneath it, with who may read there: the owner of its files or, by its group,
// those whom the folder is set up for.
func Places(estate *intent.Estate, declared *intent.Secret, missing []Need) []string {
	waits := func(of string, consumer string, reader *intent.Secret) bool {
		return slices.ContainsFunc(missing, func(n Need) bool {
			return n.Kind == Reader && n.Of == of && (consumer != "" && n.Consumer == consumer || reader != nil && n.To == toSecret(reader))
		})
	}
	found := []string{}
	for _, consumer := range declared.Consumers {
		if consumer.File != nil && (!asItself(consumer) || !waits(declared.Name, consumer.Name, nil)) {
			found = append(found, placesOf(consumer)...)
		}
	}
	for _, dependent := range estate.Dependents(declared) {
		if !waits(declared.Name, "", dependent.Secret) {
			found = append(found, slices.DeleteFunc(Places(estate, dependent.Secret, missing), isInput)...)
		}
	}
	for _, input := range inputsOf(estate, declared) {
		found = append(found, inputPlace(input))
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// files adds files that somebody else may read than the folder that they lie in says, and all files on other machines.
func (c collected) files(declared *intent.Secret) {
	for _, consumer := range declared.Consumers {
		if consumer.File != nil && !asItself(consumer) {
			c.add(toFile(declared, consumer), declared.Name).Consumer = consumer.Name
		}
	}
}

// Widened is what an estate asks for besides Needed, because a value that there is already would be read by more than its
// history names: at another place, or through another secret.
func Widened(estate *intent.Estate, granted Set, known Known) []Need {
	needs := collected{}
	for _, name := range estate.SecretNames() {
		declared := estate.Secrets[name]
		for _, input := range inputsOf(estate, declared) {
			if places, begun := known[declared.Path]; begun && places != nil && !slices.Contains(places, inputPlace(input)) && !crosses(input, declared) {
				needs.add(Grant{Reader, input.Name, toSecret(declared)}, declared.Name)
			}
		}
		for _, consumer := range declared.Consumers {
			if consumer.File == nil || !asItself(consumer) {
				continue
			}
			for _, place := range placesOf(consumer) {
				if !mayKnow(estate, granted, known, declared, place) {
					needs.add(toFile(declared, consumer), declared.Name).Consumer = consumer.Name
				}
			}
		}
	}
	return needs.list()
}

// mayKnow reports whether nobody is given anything new when the secret's values are read at a place. Those of a secret
// that is new are: whatever it is computed from may be known there.
func mayKnow(estate *intent.Estate, granted Set, known Known, declared *intent.Secret, place string) bool {
	if places, begun := known[declared.Path]; begun {
		return places == nil || slices.Contains(places, place)
	}
	return !slices.ContainsFunc(inputsOf(estate, declared), func(input *intent.Secret) bool {
		return !granted[Grant{Reader, input.Name, toSecret(declared)}] && !mayKnow(estate, granted, known, input, place)
	})
}

// Missing is what an estate asks for and is not granted, in order.
func Missing(estate *intent.Estate, granted Set, known Known) []Need {
	missing := granted.Missing(append(Needed(estate), Widened(estate, granted, known)...))
	slices.SortStableFunc(missing, func(a, b Need) int { return Compare(a.Grant, b.Grant) })
	return missing
}

// asItself reports whether a file is on the server's machine and names neither a user, nor a group, nor a mode that lets others read.
func asItself(consumer intent.Consumer) bool {
	return consumer.Machine == "" && consumer.File.User == "" && consumer.File.Group == "" && modeOf(consumer)&^narrow == 0
}

// placesOf are the places at which a file may be read by the folder's own; none where it belongs to somebody else, or is on another
// machine: that needs a grant of its own.
func placesOf(consumer intent.Consumer) []string {
	if consumer.Machine != "" || consumer.File.User != "" || consumer.File.Group != "" {
		return nil
	}
	places := []string{unique.Make("owner " + folderOf(consumer)).Value()} // it is the same for very many
	if modeOf(consumer)&groupReads != 0 {
		places = append(places, unique.Make("group "+folderOf(consumer)).Value())
	}
	return places
}

func inputPlace(input *intent.Secret) string { return "input " + string(input.Path) }

func isInput(place string) bool { return strings.HasPrefix(place, "input ") }

// toFile names everything that decides who reads a consumer's file, so that a change of any of it is another grant.
func toFile(declared *intent.Secret, consumer intent.Consumer) Grant {
	to := "consumer/" + plain(consumer.Name)
	if consumer.Machine != "" {
		to += " on machine " + plain(consumer.Machine)
	}
	to += " in folder " + plain(folderOf(consumer))
	if name := consumer.File.User; name != "" {
		to += ", user " + plain(name)
	}
	if name := consumer.File.Group; name != "" {
		to += ", group " + plain(name)
	}
	return Grant{Reader, declared.Name, fmt.Sprintf("%s, mode %04o", to, modeOf(consumer))}
}

func toSecret(declared *intent.Secret) string { return "secret/" + declared.Name }

// folderOf is the folder of a file, beneath the one that the host names.
func folderOf(consumer intent.Consumer) string {
	return path.Join(consumer.File.Folder, path.Dir(consumer.File.Path))
}

// modeOf is a file's mode; one that cannot be read is reported by its rule.
func modeOf(consumer intent.Consumer) uint64 {
	mode, _ := strconv.ParseUint(cmp.Or(consumer.File.Mode, "0600"), 8, 32)
	return mode
}

// plain quotes what could be taken for another part of a grant.
func plain(text string) string {
	usual := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/@", r)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !usual(r) }) {
		return strconv.Quote(text)
	}
	return text
}

func inputsOf(estate *intent.Estate, declared *intent.Secret) []*intent.Secret {
	if declared.Spec.Origin.Derived == nil {
		return nil
	}
	var inputs []*intent.Secret
	for _, name := range declared.Spec.Origin.Derived.Inputs {
		if input, ok := estate.Secrets[name]; ok {
			inputs = append(inputs, input)
		}
	}
	return inputs
}
