// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"custody.dev/custody/internal/authority"
)

func rawHex() string {
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key)
	return hex.EncodeToString(key)
}

func identityFile(t *testing.T) (content string, own *age.X25519Identity) {
	t.Helper()
	own, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return "# made by a test\n" + own.String() + "\n", own
}

func file(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSealersRoundTrip(t *testing.T) {
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := newKeySealer(bytes.Repeat([]byte{7}, KeyBytes), "a key")
	if err != nil {
		t.Fatal(err)
	}
	ofClassic, err := newAgeSealer([]age.Identity{classic}, nil, "an identity")
	if err != nil {
		t.Fatal(err)
	}
	ofHybrid, err := newAgeSealer([]age.Identity{hybrid}, nil, "an identity")
	if err != nil {
		t.Fatal(err)
	}
	plaintext := []byte("a keyset")
	for name, sealer := range map[string]Sealer{"raw": raw, "x25519": ofClassic, "hybrid": ofHybrid} {
		wrapped, err := sealer.Wrap(plaintext)
		if err != nil {
			t.Fatalf("%s: Wrap: %v", name, err)
		}
		if bytes.Contains(wrapped, plaintext) {
			t.Errorf("%s: Wrap left the plaintext", name)
		}
		if got, err := sealer.Unwrap(wrapped); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%s: Unwrap = %q, %v", name, got, err)
		}
		for at := range wrapped {
			changed := bytes.Clone(wrapped)
			changed[at] ^= 1
			if got, err := sealer.Unwrap(changed); err == nil && !bytes.Equal(got, plaintext) {
				t.Errorf("%s: Unwrap of a changed byte %d = %q", name, at, got)
			}
		}
		for _, short := range [][]byte{nil, {1}, wrapped[:len(wrapped)-1]} {
			if _, err := sealer.Unwrap(short); err == nil {
				t.Errorf("%s: Unwrap of %d bytes succeeded", name, len(short))
			}
		}
	}
	if _, err := newKeySealer(make([]byte, 16), "a short key"); err == nil {
		t.Error("a short key was taken")
	}
	if _, err := newAgeSealer(nil, nil, "nothing"); err == nil {
		t.Error("no identity was taken")
	}
}

func TestRootRecovers(t *testing.T) {
	host, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	root, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	config := newConfig(t, t.TempDir())
	if config.Key, err = newAgeSealer([]age.Identity{host}, []age.Recipient{root.Recipient()}, "the host"); err != nil {
		t.Fatal(err)
	}
	if err := Initialise(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, config)
	mustWrite(t, s, "a", 0, text(t, "kept"))
	mustClose(t, s)

	if config.Key, err = newAgeSealer([]age.Identity{root}, nil, "the root"); err != nil {
		t.Fatal(err)
	}
	got, err := mustOpen(t, config).Read(t.Context(), "a")
	if err != nil || !got.Value.Equal(text(t, "kept")) {
		t.Errorf("Read with the root: %v", err)
	}
}

func TestLoadSealer(t *testing.T) {
	raw := rawHex()
	identity, _ := identityFile(t)
	root, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	for name, content := range map[string]string{"raw": raw + "\n", "age": identity, "bad": "neither " + raw} {
		if err := os.WriteFile(filepath.Join(credentials, name), []byte(content), 0o440); err != nil {
			t.Fatal(err)
		}
	}
	getenv := func(name string) string { return map[string]string{"CREDENTIALS_DIRECTORY": credentials}[name] }
	none := func(string) string { return "" }
	toRoot := []age.Recipient{root.Recipient()}
	for _, test := range []struct {
		name   string
		source Source
		want   string // part of the error; "" for none
	}{
		{"key file", Source{KeyFile: file(t, raw+"\n", 0o600)}, ""},
		{"upper case", Source{KeyFile: file(t, strings.ToUpper(raw), 0o400)}, ""},
		{"identity file", Source{IdentityFile: file(t, identity, 0o600), Recipients: toRoot}, ""},
		{"raw credential", Source{Credential: "raw", Getenv: getenv}, ""},
		{"age credential", Source{Credential: "age", Getenv: getenv, Recipients: toRoot}, ""},
		{"nothing", Source{}, "exactly one"},
		{"two", Source{KeyFile: "a", Credential: "b"}, "exactly one"},
		{"open to the group", Source{KeyFile: file(t, raw, 0o640)}, "mode 0640"},
		{"open to others", Source{IdentityFile: file(t, identity, 0o604)}, "mode 0604"},
		{"absent", Source{KeyFile: filepath.Join(credentials, "absent")}, "no such file"},
		{"a folder", Source{KeyFile: credentials}, "regular"},
		{"short key", Source{KeyFile: file(t, raw[:62], 0o600)}, "64 hexadecimal"},
		{"long key", Source{KeyFile: file(t, raw+"00", 0o600)}, "64 hexadecimal"},
		{"not hexadecimal", Source{KeyFile: file(t, "z"+raw[1:], 0o600)}, "64 hexadecimal"},
		{"identity as key", Source{KeyFile: file(t, identity, 0o600)}, "64 hexadecimal"},
		{"key as identity", Source{IdentityFile: file(t, raw, 0o600)}, "not an age identity"},
		{"raw key, the root left out", Source{KeyFile: file(t, raw, 0o600), Recipients: toRoot}, ""},
		{"credential of neither form", Source{Credential: "bad", Getenv: getenv}, "64 hexadecimal"},
		{"no credentials", Source{Credential: "raw", Getenv: none}, "$CREDENTIALS_DIRECTORY"},
		{"no environment", Source{Credential: "raw"}, "$CREDENTIALS_DIRECTORY"},
		{"credential elsewhere", Source{Credential: "../raw", Getenv: getenv}, "plain name"},
		{"too large", Source{KeyFile: file(t, strings.Repeat(raw, 2000), 0o600)}, "too large"},
	} {
		sealer, err := LoadSealer(test.source)
		if test.want != "" {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error = %v, want it to say %q", test.name, err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), raw[1:40]) || strings.Contains(err.Error(), "AGE-SECRET-KEY-1")) {
				t.Errorf("%s: the error quotes the key", test.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		config := newConfig(t, t.TempDir())
		config.Key = sealer
		if err := Initialise(t.Context(), config); err != nil {
			t.Errorf("%s: Initialise: %v", test.name, err)
			continue
		}
		mustOpen(t, config)
	}
}

func TestWrongKeySaysWhatWasTried(t *testing.T) {
	config := initialised(t)
	name := file(t, rawHex(), 0o600)
	identity, _ := identityFile(t)
	ageName := file(t, identity, 0o600)
	for want, source := range map[string]Source{
		"key file " + name:         {KeyFile: name},
		"identity file " + ageName: {IdentityFile: ageName},
	} {
		sealer, err := LoadSealer(source)
		if err != nil {
			t.Fatal(err)
		}
		config.Key = sealer
		_, err = Open(t.Context(), config)
		wantErr(t, err, authority.ErrSealed, want)
	}
}
