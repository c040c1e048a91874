// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/duration"
	"custody.dev/custody/internal/plaintext"
)

// Signals are the names a reload may send.
func Signals() []string { return []string{"HUP", "USR1", "USR2"} }

// LoadHost reads the host's own configuration. Relative paths are made absolute against the file's folder, and defaults
// are applied. The host is to be used only when there is no fault. The error is for a file that cannot be read. A host
// file may be a symbolic link: it is the machine's own.
func LoadHost(file string) (v1alpha1.Host, []Fault, error) {
	host := v1alpha1.Host{}
	faults, err := loadOwn(file, v1alpha1.KindHost, func(r *reader, d *document, file string) {
		host = *d.value.(*v1alpha1.Host)
		resolve(&host.Spec, filepath.Dir(file))
		hostDefaults(&host.Spec)
		(&hostChecker{r, d, file}).run(host.Spec)
	})
	return host, faults, err
}

// loadOwn reads a file with the one document that a machine has of a kind, and has check look at it; file is then absolute. Nothing is
// checked where there is not exactly one.
func loadOwn(file, kind string, check func(r *reader, d *document, file string)) ([]Fault, error) {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("finding the configuration: %w", err)
	}
	data, err := readLimited(os.DirFS(filepath.Dir(absolute)), filepath.Base(absolute))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", unquoted(err))
	}
	r := newReader(nil)
	r.own = kind
	r.read(file, data)
	switch {
	case len(r.documents) == 1:
		check(r, r.documents[0], absolute)
	case len(r.documents) > 1:
		r.fault(r.documents[1], "host-single", nil, "there is another "+kind+" at "+r.documents[0].position(), "")
	case len(r.faults.list) == 0:
		r.file("host-single", file, "there is no "+kind+" document", "")
	}
	return r.faults.sorted(), nil
}

// unquoted is err without the path, which callers name themselves.
func unquoted(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// resolve makes every path absolute, against dir. Commands are left as they are: theirs must be absolute as written.
func resolve(spec *v1alpha1.HostSpec, dir string) {
	against := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(dir, p)
	}
	spec.Estate, spec.State = against(spec.Estate), against(spec.State)
	spec.BootstrapIdentity = against(spec.BootstrapIdentity)
	spec.Unseal.KeyFile, spec.Unseal.Identity = against(spec.Unseal.KeyFile), against(spec.Unseal.Identity)
	for name, folder := range spec.Folders {
		spec.Folders[name] = against(folder)
	}
	for name, reload := range spec.Reloads {
		reload.PIDFile = against(reload.PIDFile)
		spec.Reloads[name] = reload
	}
	for i, file := range spec.Checkpoints {
		spec.Checkpoints[i] = against(file)
	}
	spec.Grants = against(spec.Grants)
	if git := spec.Git; git != nil {
		for _, file := range []*string{&git.PasswordFile, &git.CAFile, &git.KeyFile, &git.KnownHosts} {
			*file = against(*file)
		}
		if git.Signers != nil {
			git.Signers.AllowedSigners = against(git.Signers.AllowedSigners)
			for i, file := range git.Signers.OpenPGP {
				git.Signers.OpenPGP[i] = against(file)
			}
		}
		if git.Webhook != nil {
			git.Webhook.SecretFile = against(git.Webhook.SecretFile)
		}
	}
	if spec.Socket != nil {
		spec.Socket.Path = against(spec.Socket.Path)
	}
	if spec.Backup != nil {
		spec.Backup.To = against(spec.Backup.To)
	}
	resolveNotifications(spec.Notifications, against)
	for i := range spec.Webhooks {
		spec.Webhooks[i].SecretFile = against(spec.Webhooks[i].SecretFile)
	}
}

// hostChecker applies the rules for a host.
type hostChecker struct {
	*reader
	d *document
	// file is the absolute path of the configuration itself.
	file string
}

func (c *hostChecker) bad(rule string, t trail, reason string, args ...any) {
	c.fault(c.d, rule, t, fmt.Sprintf(reason, args...), "")
}

func (c *hostChecker) run(spec v1alpha1.HostSpec) {
	for _, n := range []struct{ step, name string }{{"platform", spec.Platform}, {"environment", spec.Environment}} {
		if n.name != "" && !v1alpha1.WellNamed(n.name) {
			c.bad("name-form", at("spec", n.step), "the name %s is not well-formed", plaintext.Show(n.name))
		}
	}
	if c.d.name != "" && !v1alpha1.WellNamed(c.d.name) {
		c.bad("name-form", at("metadata", "name"), "the name %s is not well-formed", plaintext.Show(c.d.name))
	}
	c.folders(spec)
	c.git(spec)
	c.socket(spec)
	c.unseal(spec.Unseal)
	c.listen(spec.Listen)
	c.notifications(spec.Notifications)
	c.backup(spec)
	c.webhooks(spec.Webhooks)
	c.agents(spec)
	c.reloads(spec.Reloads)
	c.commands("checks", spec.Checks)
	c.commands("upstreams", spec.Upstreams)
}

func (c *hostChecker) reloads(reloads map[string]v1alpha1.Reload) {
	for _, name := range slices.Sorted(maps.Keys(reloads)) {
		t := at("spec", "reloads", name)
		c.name(t, name)
		c.reload(t, reloads[name])
	}
}

func (c *hostChecker) commands(step string, commands map[string]v1alpha1.Command) {
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		t := at("spec", step, name)
		c.name(t, name)
		c.command(t, commands[name].Argv)
		c.timeout(t, commands[name].Timeout)
	}
}

func (c *hostChecker) name(t trail, name string) {
	if !v1alpha1.WellNamed(name) {
		c.bad("name-form", t, "the name %s is not well-formed", plaintext.Show(name))
	}
}

// folders keeps what is delivered apart from what Custody itself lives on. Symbolic links are not followed here.
func (c *hostChecker) folders(spec v1alpha1.HostSpec) {
	if spec.State != "" && within(spec.State, spec.Estate) {
		c.bad("host-folders", at("spec", "state"), "the state folder is inside the estate")
	}
	private := []hostPath{
		{"the state folder", spec.State}, {"the estate", spec.Estate}, {"the bootstrap identity", spec.BootstrapIdentity},
		{"the unseal key", spec.Unseal.KeyFile}, {"the unseal identity", spec.Unseal.Identity}, {"the host's configuration", c.file},
		{"the grants file", spec.Grants},
	}
	private = append(private, filesOfNotifications(spec.Notifications)...)
	private = append(private, filesOfWebhooks(spec.Webhooks)...)
	if spec.Grants != "" && within(spec.Grants, spec.Estate) {
		c.bad("host-folders", at("spec", "grants"), "the grants file is inside the estate")
	}
	c.apart(spec.Folders, private)
}

// apart wants each folder apart from what is private.
func (c *hostChecker) apart(folders map[string]string, private []hostPath) {
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		folder, t := folders[name], at("spec", "folders", name)
		c.name(t, name)
		if folder == "" {
			c.bad("host-folders", t, "the folder has no path")
			continue
		}
		for _, p := range private {
			if p.path == "" || !filepath.IsAbs(p.path) {
				continue
			}
			if within(p.path, folder) || within(folder, p.path) {
				c.bad("host-folders", t, "the folder and %s overlap: one is inside the other", p.what)
			}
		}
	}
}

// SocketName is the server's socket in the state folder.
const SocketName = "custody.sock"

// RuleSocket is the rule that speaks of the paths of sockets.
const RuleSocket = "host-socket"

// longestSocket is what fits into the kernel's address of a Unix socket (sun_path), the zero byte at its end left out.
const longestSocket = 107

// socket wants paths at which the server can listen, and a second socket that is for somebody.
func (c *hostChecker) socket(spec v1alpha1.HostSpec) {
	fits := func(t trail, path string) {
		if len(path) > longestSocket {
			c.bad(RuleSocket, t, "the path of the server's socket there has %d bytes, and the kernel takes %d at most", len(path), longestSocket)
		}
	}
	if spec.State != "" {
		fits(at("spec", "state"), filepath.Join(spec.State, SocketName))
	}
	if spec.Socket == nil || spec.Socket.Path == "" {
		return // a missing field, reported as such
	}
	t := at("spec", "socket", "path")
	fits(t, spec.Socket.Path)
	switch {
	case spec.Socket.Readers == "" && spec.Socket.Operators == "":
		c.bad(RuleSocket, at("spec", "socket"), "it names neither readers nor operators, so nobody else could use it")
	case spec.State != "" && within(spec.Socket.Path, spec.State):
		c.bad(RuleSocket, t, "nobody else can enter the state folder")
	case within(spec.Socket.Path, spec.Estate):
		c.bad(RuleSocket, t, "it is inside the estate")
	}
}

// within reports whether path is folder or lies beneath it.
func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return folder != "" && err == nil && filepath.IsLocal(relative)
}

func (c *hostChecker) unseal(spec v1alpha1.Unseal) {
	count := 0
	for _, source := range []string{spec.KeyFile, spec.Identity, spec.Credential} {
		if source != "" {
			count++
		}
	}
	if count != 1 && lookup(c.trees.root(c.d), at("spec", "unseal")) != nil {
		c.bad("host-unseal", at("spec", "unseal"), "%d sources of the key are named", count)
	}
	if spec.Credential != "" && (strings.Contains(spec.Credential, "/") || !filepath.IsLocal(spec.Credential)) {
		c.bad("host-unseal", at("spec", "unseal", "credential"), "the credential is not a plain name")
	}
}

func (c *hostChecker) listen(text string) {
	t := at("spec", "listen")
	host, port, err := net.SplitHostPort(text)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strconv.FormatUint(number, 10) != port {
		c.bad("host-listen", t, "not ADDRESS:PORT")
		return
	}
	if address, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !address.Unmap().IsLoopback()) {
		c.bad("host-listen", t, "the address is not loopback")
	}
}

func (c *hostChecker) reload(t trail, reload v1alpha1.Reload) {
	signal := reload.Signal != "" || reload.PIDFile != "" || reload.Program != ""
	command := len(reload.Argv) > 0
	switch {
	case signal == command:
		c.bad("host-reload", t, "not exactly one of a signal with its pidFile and a command")
		return
	case command:
		c.command(t, reload.Argv)
		c.timeout(t, reload.Timeout)
		return
	case reload.Signal == "" || reload.PIDFile == "":
		c.bad("host-reload", t, "signal and pidFile belong together")
	case reload.Timeout != "":
		c.bad("host-reload", t.to("timeout"), "a signal has no timeout")
	}
	if reload.Program != "" && (!filepath.IsAbs(reload.Program) || filepath.Clean(reload.Program) != reload.Program) {
		c.bad("host-command", t.to("program"), "the program is not an absolute path without dots")
	}
	if reload.Signal != "" && !slices.Contains(Signals(), reload.Signal) {
		c.bad("host-signal", t.to("signal"), "there is no signal %s to send", plaintext.Show(reload.Signal))
	}
}

func (c *hostChecker) command(t trail, argv []string) {
	if len(argv) == 0 {
		return // a missing field, reported as such
	}
	if !filepath.IsAbs(argv[0]) || filepath.Clean(argv[0]) != argv[0] {
		c.bad("host-command", t.to("argv", 0), "the command is not an absolute path without dots")
	}
}

func (c *hostChecker) timeout(t trail, text string) {
	if text == "" {
		return
	}
	if d, err := duration.Parse(text); err != nil || d <= 0 {
		c.bad("duration-form", t.to("timeout"), "the timeout is not a duration above 0s")
	}
}
