// SPDX-License-Identifier: Apache-2.0

package generated

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"custody.dev/custody/api/v1alpha1"
)

// maxDraws bounds rejection. The least likely rule (four characters of four classes) succeeds once in 15 draws.
const maxDraws = 10_000

var errStuck = errors.New("generating password: the source of randomness repeats itself")

// alphabet returns the characters of a class. Symbols leave out quotes, backslash, dollar, ampersand, semicolon, pipe,
// angle brackets, slash and space, which shells, connection strings and templates most often mishandle.
func alphabet(class string) string {
	switch class {
	case "lower":
		return "abcdefghijklmnopqrstuvwxyz"
	case "upper":
		return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	case "digit":
		return "0123456789"
	case "symbol":
		return "!#%*+,-.:=?@^_~"
	}
	return ""
}

func alphabets(rule v1alpha1.GenerateRule) ([]string, error) {
	classes := rule.Classes
	if len(classes) == 0 {
		classes = []string{"lower", "upper", "digit"}
	}
	var sets []string
	seen := map[string]bool{}
	for _, class := range classes {
		set := alphabet(class)
		if set == "" {
			return nil, fmt.Errorf("checking generate rule: class %q: want lower, upper, digit or symbol", class)
		}
		if !seen[class] {
			seen[class] = true
			sets = append(sets, set)
		}
	}
	if lengthOf(rule) < len(sets) {
		return nil, fmt.Errorf("checking generate rule: length %d cannot hold %d classes", lengthOf(rule), len(sets))
	}
	return sets, nil
}

// Password draws a password by the rule's length and classes; the rule's type is not looked at. Every class is present.
// Each password that satisfies the rule is equally likely: whole draws are rejected rather than repaired.
func Password(random io.Reader, rule v1alpha1.GenerateRule) (string, error) {
	sets, err := alphabets(rule)
	if err != nil {
		return "", err
	}
	if rule.Length < 0 || rule.Length > maxLength {
		return "", fmt.Errorf("generating password: length %d is not between 1 and %d", rule.Length, maxLength)
	}
	all := strings.Join(sets, "")
	for range maxDraws {
		password, err := draw(random, all, lengthOf(rule))
		if err != nil {
			return "", err
		}
		if hasEach(password, sets) {
			return password, nil
		}
	}
	return "", errStuck
}

// draw rejects bytes above the largest multiple of the alphabet's size, so that no character is likelier than another.
func draw(random io.Reader, all string, length int) (string, error) {
	limit := 256 - 256%len(all)
	out := make([]byte, 0, length)
	buffer := make([]byte, length)
	for range maxDraws {
		if len(out) == length {
			return string(out), nil
		}
		if _, err := io.ReadFull(random, buffer[:length-len(out)]); err != nil {
			return "", fmt.Errorf("reading randomness: %w", err)
		}
		for _, b := range buffer[:length-len(out)] {
			if int(b) < limit {
				out = append(out, all[int(b)%len(all)])
			}
		}
	}
	return "", errStuck
}

func hasEach(password string, sets []string) bool {
	for _, set := range sets {
		if !strings.ContainsAny(password, set) {
			return false
		}
	}
	return true
}
