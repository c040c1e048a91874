// SPDX-License-Identifier: Apache-2.0

package root_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
)

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newIdentity(t testing.TB) root.Identity {
	t.Helper()
	id, err := root.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// privateKey is the one line of an identity file that must never be seen elsewhere.
func privateKey(t testing.TB, id root.Identity) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(id.ExposeFile(created))), "\n")
	key := lines[len(lines)-1]
	if !strings.HasPrefix(key, "AGE-SECRET-KEY-1") {
		t.Fatalf("the last line of the identity file is no private key")
	}
	return key
}

func hint(err error) string {
	if hinted, ok := errors.AsType[*root.Error](err); ok {
		return hinted.Hint()
	}
	return ""
}

func TestNewIdentityIsNew(t *testing.T) {
	if one, two := newIdentity(t), newIdentity(t); one.Public() == two.Public() {
		t.Error("two identities are the same")
	}
}

func TestIdentityFileIsAgesOwn(t *testing.T) {
	id := newIdentity(t)
	file := id.ExposeFile(created)
	want := "# created: 2026-03-01T12:00:00Z\n# public key: " + id.Public() + "\n" + privateKey(t, id) + "\n"
	if diff := cmp.Diff(want, string(file)); diff != "" {
		t.Error(diff)
	}
	parsed, err := age.ParseIdentities(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	x, ok := parsed[0].(*age.X25519Identity)
	if !ok || len(parsed) != 1 || x.Recipient().String() != id.Public() {
		t.Errorf("age reads %d identities, the first a %T", len(parsed), parsed[0])
	}
	back, err := root.Parse(file)
	if err != nil || len(back) != 1 || back[0].Public() != id.Public() {
		t.Errorf("Parse: %v, %v", back, err)
	}
}

func TestParse(t *testing.T) {
	one, two := newIdentity(t), newIdentity(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	key := privateKey(t, one)
	for name, c := range map[string]struct {
		text string
		want []string
		err  error
	}{
		"bare":             {text: key, want: []string{one.Public()}},
		"crlf and blanks":  {text: "\r\n# c\r\n  " + key + " \r\n\r\n", want: []string{one.Public()}},
		"two":              {text: key + "\n" + privateKey(t, two) + "\n", want: []string{one.Public(), two.Public()}},
		"post-quantum":     {text: hybrid.String(), want: []string{hybrid.Recipient().String()}},
		"empty":            {text: "", err: root.ErrMalformed},
		"comments only":    {text: "# created: x\n", err: root.ErrMalformed},
		"public key":       {text: one.Public(), err: root.ErrMalformed},
		"cut short":        {text: key[:len(key)-1], err: root.ErrMalformed},
		"one letter wrong": {text: key[:20] + swap(key[20]) + key[21:], err: root.ErrMalformed},
		"lower and upper":  {text: key[:30] + strings.ToLower(key[30:]), err: root.ErrMalformed},
		"encrypted":        {text: "age-encryption.org/v1\n-> scrypt x 18\n", err: root.ErrMalformed},
		"plugin":           {text: "AGE-PLUGIN-YUBIKEY-1QQQ", err: root.ErrMalformed},
		"second is wrong":  {text: key + "\n" + key[1:], err: root.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := root.Parse([]byte(c.text))
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil {
				if hint(err) == "" {
					t.Errorf("%v says nothing of what to do", err)
				}
				if strings.Contains(err.Error()+hint(err), key[20:40]) {
					t.Error("the error quotes the key")
				}
			}
			var got []string
			for _, id := range found {
				got = append(got, id.Public())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func swap(c byte) string {
	if c == 'Q' {
		return "P"
	}
	return "Q"
}

func TestIdentityAndShareAreRedacted(t *testing.T) {
	id := newIdentity(t)
	shares, err := root.Split(id, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	key, data := privateKey(t, id), strings.Split(shares[0].Expose(), ".")[5]
	holder := struct {
		Identity root.Identity
		Share    root.Share
		hidden   root.Identity
		part     root.Share
	}{id, shares[0], id, shares[0]}
	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		shown = append(shown, fmt.Sprintf(verb, id), fmt.Sprintf(verb, &id), fmt.Sprintf(verb, shares), fmt.Sprintf(verb, holder))
	}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(map[string]any{"i": id, "s": shares[0]})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "identity", id, "share", shares[0], "holder", holder)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "identity", id, "share", shares[0], "holder", holder)
	shown = append(shown, string(asJSON), string(asYAML), log.String())
	for _, text := range shown {
		if strings.Contains(strings.ToUpper(text), key[20:40]) || strings.Contains(text, data[:20]) {
			t.Errorf("a secret is shown: %.60s…", text)
		}
	}
	if !strings.Contains(shares[1].String(), "share 2 of 3 (any 2)") {
		t.Errorf("a share does not say which it is: %s", shares[1])
	}
}

func TestLoad(t *testing.T) {
	id := newIdentity(t)
	folder := t.TempDir()
	for name, c := range map[string]struct {
		mode fs.FileMode
		text []byte
		err  error
	}{
		"private":    {mode: 0o600, text: id.ExposeFile(created)},
		"read only":  {mode: 0o400, text: id.ExposeFile(created)},
		"group read": {mode: 0o640, text: id.ExposeFile(created), err: root.ErrExposed},
		"world read": {mode: 0o604, text: id.ExposeFile(created), err: root.ErrExposed},
		"writable":   {mode: 0o620, text: id.ExposeFile(created), err: root.ErrExposed},
		"empty":      {mode: 0o600, err: root.ErrMalformed},
		"too long":   {mode: 0o600, text: bytes.Repeat([]byte("# filler\n"), 10_000), err: root.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(path, c.text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			found, err := root.Load(path)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil && (!strings.Contains(err.Error(), path) || hint(err) == "") {
				t.Errorf("%v (hint %q) must name the file and what to do", err, hint(err))
			}
			if errors.Is(c.err, root.ErrExposed) && !strings.Contains(hint(err), "chmod 600 "+path) {
				t.Errorf("hint %q does not say how to close the file", hint(err))
			}
			if err == nil && (len(found) != 1 || found[0].Public() != id.Public()) {
				t.Errorf("got %d identities", len(found))
			}
		})
	}
	if _, err := root.Load(filepath.Join(folder, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	if _, err := root.Load(folder); !errors.Is(err, root.ErrMalformed) {
		t.Errorf("folder: %v", err)
	}
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Load(pipe); !errors.Is(err, root.ErrMalformed) {
		t.Errorf("pipe: %v", err)
	}
}

// From systemd 254 on, a credential of a service with a user of its own is root's, mode 0440, with an access control list.
func TestLoadCredential(t *testing.T) {
	id := newIdentity(t)
	folder := t.TempDir()
	credentials := filepath.Join(folder, "custody.service")
	if err := os.Mkdir(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	for name, c := range map[string]struct {
		path string
		mode fs.FileMode
		err  error
	}{
		"group read":      {path: filepath.Join(credentials, "bootstrap"), mode: 0o440},
		"owner only":      {path: filepath.Join(credentials, "private"), mode: 0o400},
		"group write":     {path: filepath.Join(credentials, "written"), mode: 0o460, err: root.ErrExposed},
		"world read":      {path: filepath.Join(credentials, "open"), mode: 0o444, err: root.ErrExposed},
		"beside it":       {path: filepath.Join(folder, "bootstrap"), mode: 0o440, err: root.ErrExposed},
		"its name longer": {path: credentials + ".d", mode: 0o440, err: root.ErrExposed},
		"and out again":   {path: credentials + "/../outside", mode: 0o440, err: root.ErrExposed},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(c.path, id.ExposeFile(created), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.path, c.mode); err != nil {
				t.Fatal(err)
			}
			if found, err := root.Load(c.path); !errors.Is(err, c.err) || err == nil && found[0].Public() != id.Public() {
				t.Errorf("got %v, want %v", err, c.err)
			}
		})
	}
	for name, folder := range map[string]string{"none": "", "not absolute": "."} {
		t.Setenv("CREDENTIALS_DIRECTORY", folder)
		if _, err := root.Load(filepath.Join(credentials, "bootstrap")); !errors.Is(err, root.ErrExposed) {
			t.Errorf("with a folder of credentials that is %s: %v", name, err)
		}
	}
}

func TestEncryptDecrypt(t *testing.T) {
	rootKey, host, stranger := newIdentity(t), newIdentity(t), newIdentity(t)
	to := []string{rootKey.Public(), host.Public()}
	value, err := secret.New(map[string][]byte{"username": []byte("app"), "password": {0xff, 0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := root.EncryptValue(to, value)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []root.Identity{rootKey, host} {
		plain, err := root.Decrypt([]root.Identity{stranger, id}, sealed)
		if got, decoding := secret.Decode(plain); err != nil || decoding != nil || !got.Equal(value) {
			t.Errorf("the value does not come back: %v, %v", err, decoding)
		}
	}
	plain := bytes.Repeat([]byte("canary-7f3a "), 10_000)
	binary, err := root.Encrypt(to, plain)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(binary); at += 4096 {
		if _, err := root.Decrypt([]root.Identity{host}, binary[:at]); err == nil {
			t.Fatalf("cut at %d: decrypted", at)
		}
	}
	for name, c := range map[string]struct {
		with   []root.Identity
		sealed []byte
		err    error
	}{
		"fits":          {[]root.Identity{host}, binary, nil},
		"stranger":      {[]root.Identity{stranger}, binary, root.ErrWrongKey},
		"zero identity": {[]root.Identity{{}}, binary, root.ErrWrongKey},
		"none":          {nil, binary, root.ErrWrongKey},
		"not age":       {[]root.Identity{host}, []byte("hello"), root.ErrMalformed},
		"last byte":     {[]root.Identity{host}, append(bytes.Clone(binary[:len(binary)-1]), binary[len(binary)-1]^1), root.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := root.Decrypt(c.with, c.sealed)
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil && hint(err) == "" {
				t.Error("no hint")
			}
			if (err == nil) != bytes.Equal(got, plain) {
				t.Error("wrong plaintext")
			}
		})
	}
	for name, wrong := range map[string][]string{
		"none": nil, "ssh": {"ssh-ed25519 AAAA"}, "plugin": {"age1yubikey1qqqq"}, "private": {privateKey(t, host)},
	} {
		if _, err := root.Encrypt(wrong, plain); !errors.Is(err, root.ErrMalformed) || strings.Contains(err.Error()+hint(err), privateKey(t, host)) {
			t.Errorf("recipients %s: %v", name, err)
		}
	}
}

func TestStockAgeReadsAndIsRead(t *testing.T) {
	if testing.Short() {
		return // stock age takes a minute to build
	}
	program := realparts.Age(t)
	id, folder := newIdentity(t), t.TempDir()
	keyFile, sealedFile := filepath.Join(folder, "key.txt"), filepath.Join(folder, "sealed.age")
	if err := os.WriteFile(keyFile, id.ExposeFile(created), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, encrypt := range map[string]func([]string, []byte) ([]byte, error){"binary": root.Encrypt, "armored": root.EncryptArmored} {
		sealed, err := encrypt([]string{id.Public()}, []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(sealedFile, sealed, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := exec.CommandContext(t.Context(), program, "--decrypt", "--identity", keyFile, sealedFile).Output()
		if err != nil || string(got) != "hello" {
			t.Errorf("stock age, %s: %q, %v", name, got, err)
		}
	}
	for _, armored := range []string{"--armor", "--output=-"} {
		command := exec.CommandContext(t.Context(), program, "--encrypt", armored, "--recipient", id.Public())
		command.Stdin = strings.NewReader("from age")
		sealed, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := root.Load(keyFile)
		if err != nil {
			t.Fatal(err)
		}
		got, err := root.Decrypt(loaded, sealed)
		if err != nil || string(got) != "from age" {
			t.Errorf("Decrypt of stock age's %s: %q, %v", armored, got, err)
		}
	}
}
