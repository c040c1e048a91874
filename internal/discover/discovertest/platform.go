// SPDX-License-Identifier: Apache-2.0

// Package discovertest makes a believable platform with its secrets in all the places that custody discover reads, for tests.
// The tree of internal/discover/testdata/platform has names where values go; values are made here, anew for each test, so that
// nothing in Custody's own repository looks like a secret. No program of Custody uses this package.
package discovertest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	crand "crypto/rand"

	"custody.dev/custody/internal/lazyregexp"
	"custody.dev/custody/internal/thorough"
)

// Platform is one that was made.
type Platform struct {
	Folder string
	// Values are those that were written, by name. Those of test keys and of what is public are among them.
	Values map[string]string

	random *rand.Rand
	now    time.Time
	t      testing.TB
}

var placeholder = lazyregexp.New(`%%([a-z0-9]+):([a-z0-9:-]+)%%`)

// Make copies the tree at from into a new folder with values, as a Git repository whose history has more.
func Make(t testing.TB, from string, now time.Time) *Platform {
	t.Helper()
	p := &Platform{Folder: filepath.Join(t.TempDir(), "harbour"), Values: map[string]string{}, random: thorough.Random(t, "discover"), now: now, t: t}
	if err := os.MkdirAll(p.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p.git("init", "--quiet", "--initial-branch", "main")
	for i, layer := range []struct{ folder, author string }{{"history/1", "Ada"}, {"history/2", "Ben"}, {"tree", "Cleo"}} {
		if _, err := os.Stat(filepath.Join(from, layer.folder)); err != nil {
			continue // not every platform has a history
		}
		p.clear()
		p.copy(filepath.Join(from, layer.folder))
		p.git("add", "--all", "--force")
		date := now.Add(time.Duration(i-3) * 24 * time.Hour).Format(time.RFC3339)
		p.git("-c", "user.name="+layer.author, "-c", "user.email="+strings.ToLower(layer.author)+"@example.org", "commit", "--quiet", "--message", layer.folder, "--date", date)
	}
	return p
}

func (p *Platform) git(args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "git", args...)
	cmd.Dir = p.Folder
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// clear removes all files but those of Git.
func (p *Platform) clear() {
	p.t.Helper()
	entries, err := os.ReadDir(p.Folder)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != ".git" {
			if err := os.RemoveAll(filepath.Join(p.Folder, entry.Name())); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

func (p *Platform) copy(from string) {
	p.t.Helper()
	count := 0
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(p.Folder, relative)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		count++
		return os.WriteFile(to, p.Fill(data), 0o600)
	})
	if err != nil || count == 0 {
		p.t.Fatalf("copying %s: %d files: %v", from, count, err)
	}
}

// Fill puts values where their names are. Lines of a value that has several are indented as the first one is.
func (p *Platform) Fill(data []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.SplitAfterSeq(data, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " "))]
		text := string(line)
		for _, match := range placeholder.FindAllStringSubmatch(text, -1) {
			value := strings.ReplaceAll(p.value(match[1], match[2]), "\n", "\n"+string(indent))
			text = strings.Replace(text, match[0], value, 1)
		}
		b.WriteString(text)
	}
	return b.Bytes()
}

// value is the one of that kind and name, made when it is first asked for. A kind of b64 is the base64 of the value named.
func (p *Platform) value(kind, name string) string {
	if kind == "b64" {
		kind, name, _ := strings.Cut(name, ":")
		return base64.StdEncoding.EncodeToString([]byte(p.value(kind, name)))
	}
	full := kind + ":" + name
	if p.Values[full] == "" {
		p.Values[full] = p.make(kind, name)
	}
	return p.Values[full]
}

const (
	lower = "abcdefghijklmnopqrstuvwxyz"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digit = "0123456789"
)

func (p *Platform) text(alphabet string, n int) string {
	made := make([]byte, n)
	for i := range made {
		made[i] = alphabet[p.random.IntN(len(alphabet))]
	}
	return string(made)
}

func (p *Platform) make(kind, name string) string {
	all := lower + upper + digit
	switch kind {
	case "random":
		return p.text(all, 32)
	case "word": // as people choose them
		words := []string{"Sommer", "winter", "harbour", "Lantern", "copper", "meadow", "Falcon", "orchard"}
		return words[p.random.IntN(len(words))] + "-" + words[p.random.IntN(len(words))] + strconv.Itoa(10+p.random.IntN(89))
	case "hex":
		return p.text("0123456789abcdef", 64)
	case "hex32":
		return p.text("0123456789abcdef", 32)
	case "stripe":
		return "sk_" + "live_" + p.text(all, 24)
	case "ghp":
		return "ghp" + "_" + p.text(all, 36)
	case "slack":
		return "https://hooks.slack.com/" + "services/T" + p.text(upper+digit, 8) + "/B" + p.text(upper+digit, 10) + "/" + p.text(all, 24)
	case "sendgrid":
		return "SG" + "." + p.text(all, 22) + "." + p.text(all, 43)
	case "google":
		return "AI" + "za" + p.text(all, 35)
	case "aws":
		return "AK" + "IA" + p.text(upper+"234567", 16)
	case "awssecret":
		return p.text(all, 40)
	case "jwt":
		_, days, _ := strings.Cut(name, ":")
		end := p.now.Add(p.days(days)).Unix()
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":"billing","exp":%d}`, end)) + "." + p.text(all, 43)
	case "key":
		key := p.key()
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			p.t.Fatal(err)
		}
		return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: der})))
	case "cert":
		_, days, _ := strings.Cut(name, ":")
		key := p.key()
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example.org"}, NotBefore: p.now.Add(-400 * 24 * time.Hour), NotAfter: p.now.Add(p.days(days))}
		der, err := x509.CreateCertificate(crand.Reader, c, c, &key.PublicKey, key)
		if err != nil {
			p.t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	case "dockerconfig":
		password := p.text(all, 32)
		p.Values["random:"+name] = password
		data, err := json.Marshal(map[string]any{"auths": map[string]any{"ghcr.io": map[string]string{"username": "harbour", "password": password}}})
		if err != nil {
			p.t.Fatal(err)
		}
		return string(data)
	}
	p.t.Fatalf("no kind of value is called %s", kind)
	return ""
}

func (p *Platform) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

func (p *Platform) days(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil {
		p.t.Fatalf("%q is no number of days", text)
	}
	return time.Duration(n) * 24 * time.Hour
}

// Forms are those in which a value might be written: as it is, in hexadecimal, in base64 at each place where it can begin.
func Forms(value string) []string {
	forms := []string{value, hex.EncodeToString([]byte(value))}
	for shift := range 3 {
		whole := base64.StdEncoding.EncodeToString(append(make([]byte, shift), value...))
		if len(whole) > 12 {
			forms = append(forms, whole[4:len(whole)-4])
		}
	}
	if line, _, several := strings.Cut(value, "\n"); several {
		rest := value[len(line)+1:]
		if second, _, _ := strings.Cut(rest, "\n"); len(second) > 20 {
			forms = append(forms, second)
		}
	}
	return forms
}
