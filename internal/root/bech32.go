// SPDX-License-Identifier: Apache-2.0

package root

import "strings"

// Bech32 (BIP 173) is how age writes keys. age keeps its own coder internal; this one writes and reads the 32 bytes of
// a private key, so that randomness can be handed in and shares stay short enough to be typed. What it writes is parsed
// by age before it is used, and what it reads age has parsed before.

const (
	bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	keyPrefix      = "AGE-SECRET-KEY-"
	keyBytes       = 32
	checksumLength = 6
)

// writeKey gives the text of a private key.
func writeKey(scalar []byte) string {
	prefix := strings.ToLower(keyPrefix)
	groups := regroup(scalar, 8, 5)
	sum := bech32Sum(prefix, append(append([]byte{}, groups...), make([]byte, checksumLength)...)) ^ 1
	for i := range checksumLength {
		groups = append(groups, byte(sum>>(5*(checksumLength-1-i)))&31)
	}
	var text strings.Builder
	text.WriteString(prefix + "1")
	for _, group := range groups {
		text.WriteByte(bech32Alphabet[group])
	}
	return strings.ToUpper(text.String())
}

// readKey gives the 32 bytes of a private key that age has accepted; nil when it is of another kind.
func readKey(text string) []byte {
	body, found := strings.CutPrefix(text, keyPrefix+"1")
	if !found || len(body) <= checksumLength {
		return nil
	}
	groups := make([]byte, 0, len(body))
	for _, c := range strings.ToLower(body[:len(body)-checksumLength]) {
		at := strings.IndexRune(bech32Alphabet, c)
		if at < 0 {
			return nil
		}
		groups = append(groups, byte(at))
	}
	scalar := regroup(groups, 5, 8)
	if len(scalar) < keyBytes {
		return nil
	}
	return scalar[:keyBytes]
}

// regroup repacks groups of from bits into groups of to bits, high bits first, filling the last one with zeros.
func regroup(in []byte, from, to uint) []byte {
	var (
		out   []byte
		store uint32
		bits  uint
	)
	for _, group := range in {
		store = store<<from | uint32(group)
		for bits += from; bits >= to; bits -= to {
			out = append(out, byte(store>>(bits-to))&(1<<to-1))
		}
		store &= 1<<bits - 1
	}
	if bits > 0 {
		out = append(out, byte(store<<(to-bits))&(1<<to-1))
	}
	return out
}

// bech32Sum is the BCH remainder over the expanded prefix and the groups.
func bech32Sum(prefix string, groups []byte) uint32 {
	sum := uint32(1)
	step := func(group byte) {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(group)
		for i, term := range [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= term
			}
		}
	}
	for i := range len(prefix) {
		step(prefix[i] >> 5)
	}
	step(0)
	for i := range len(prefix) {
		step(prefix[i] & 31)
	}
	for _, group := range groups {
		step(group)
	}
	return sum
}
