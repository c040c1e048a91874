// SPDX-License-Identifier: Apache-2.0

package envfiles

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// passwords are some that break what is quoted wrongly.
var passwords = []string{"plain", `a:b"c\d`, "it's $HOME `x` #1", "ünïcode €", " two  spaces ", "%41&=?/+", "{{ .x }}", "\ttab"}

// asks runs a program on what a function wrote, and returns what it printed. An error says how to install the part.
func asks(t *testing.T, part, input string, argv ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatalf("%v\nhint: as root: tools/install-parts %s", err, part)
	}
	command := exec.CommandContext(t.Context(), path, argv[1:]...)
	command.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	return string(output), err
}

// written writes what a template makes of a password to a file.
func written(t *testing.T, password, template string) string {
	t.Helper()
	text, ok := apply(t, password, template)
	if !ok {
		t.Fatalf("%s refuses %q", template, password)
	}
	file := filepath.Join(t.TempDir(), "made")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Apache's own checker takes the password, and no other.
func TestHtpasswdTakesWhatTheFunctionWrites(t *testing.T) {
	for _, password := range passwords {
		file := written(t, password, "{{ htpasswd \"app\" .db.password }}\n")
		if said, err := asks(t, "htpasswd", password+"\n", "htpasswd", "-v", "-i", file, "app"); err != nil {
			t.Errorf("%q: %v\n%s", password, err, said)
		}
		if password == passwords[0] {
			if said, err := asks(t, "htpasswd", password+"x\n", "htpasswd", "-v", "-i", file, "app"); err == nil {
				t.Errorf("another password is taken\n%s", said)
			}
		}
	}
}

// A client of registries signs in to the registry that the file names with the password, and to no other.
func TestSkopeoSignsInWithTheDockerConfig(t *testing.T) {
	var mu sync.Mutex
	var given string
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, signed := r.BasicAuth()
		if !signed {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		given = user + ":" + password
		mu.Unlock()
		w.WriteHeader(http.StatusNotFound)
	}))
	defer registry.Close()
	host := strings.TrimPrefix(registry.URL, "http://")
	for _, password := range passwords {
		for name, want := range map[string]string{host: "app:" + password, "elsewhere.example.org": ":"} { // as nobody
			file := written(t, password, fmt.Sprintf(`{{ dockerConfig %q "app" .db.password }}`, name))
			mu.Lock()
			given = ""
			mu.Unlock()
			said, err := asks(t, "skopeo", "", "skopeo", "inspect", "--tls-verify=false", "--authfile", file, "docker://"+host+"/app:1")
			if err == nil {
				t.Fatal("a registry without images has one")
			}
			mu.Lock()
			if given != want {
				t.Errorf("a file for %s: it signed in as %q, want %q\n%s", name, given, want, said)
			}
			mu.Unlock()
		}
	}
	file := written(t, "plain", `{{ dockerConfig "docker.io" "app" .db.password }}`)
	if said, err := asks(t, "skopeo", "", "skopeo", "login", "--get-login", "--authfile", file, "docker.io"); err != nil || strings.TrimSpace(said) != "app" {
		t.Errorf("docker.io is not looked up: %v\n%s", err, said)
	}
}

// kubectl reads the token and the server of a kubeconfig that is written as the example is.
func TestKubectlReadsTheKubeconfig(t *testing.T) {
	const template = `apiVersion: v1
kind: Config
current-context: deploy
contexts: [{name: deploy, context: {cluster: main, user: deploy, namespace: shop}}]
clusters: [{name: main, cluster: {server: "https://kubernetes.example.org:6443"}}]
users: [{name: deploy, user: {token: {{ json .db.password }}}}]
`
	for _, password := range passwords {
		file := written(t, password, template)
		got, err := asks(t, "kubectl", "", "kubectl", "--kubeconfig", file, "config", "view", "--raw", "--minify", "-o",
			"jsonpath={.clusters[0].cluster.server} {.contexts[0].context.namespace} {.users[0].user.token}")
		if want := "https://kubernetes.example.org:6443 shop " + password; err != nil || got != want {
			t.Errorf("it reads %q, want %q: %v", got, want, err)
		}
	}
}
