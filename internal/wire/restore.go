// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/audit"
	"custody.dev/custody/internal/authority/embedded"
	"custody.dev/custody/internal/backup"
	"custody.dev/custody/internal/durable"
	"custody.dev/custody/internal/next"
	"custody.dev/custody/internal/recovery"
	"custody.dev/custody/internal/root"
	"custody.dev/custody/internal/secret"
	"custody.dev/custody/internal/server"
)

// restoring is in a state folder from before a backup is put back there until all of it is there. Nothing opens such a folder, so
// whatever it holds came from a backup, and putting one back begins anew there.
const restoring = "restoring"

// unfinished refuses a state folder in which a restore was begun and did not end.
func (p *parts) unfinished() error {
	if p.state == nil {
		return nil
	}
	switch _, err := p.state.Stat(restoring); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return &server.Problem{
		Class: server.Refused, Text: "a restore into the state folder " + p.host.State + " was begun and did not end",
		Hint: "run it again, it starts from the beginning: custody restore FILE --identity FILE",
	}
}

// RestoreOptions say what is put back.
type RestoreOptions struct {
	// File is the backup, and Identities are those that open it.
	File       string
	Identities []root.Identity
	// RecordKey is the public key of the record, "" where it is not known: a backup whose record another key signed is refused.
	RecordKey string
}

// RestoreFrom puts a backup back into the state folder of this host, which must be empty. The folder is then the platform's, and the
// platform is recovering. It is whole or refused by everything: after an error or a crash, the next call begins anew. It takes the root,
// the host file and the unseal key, which may be another than the one before.
func RestoreFrom(ctx context.Context, o Options, r RestoreOptions) (backup.Manifest, error) {
	host, err := LoadHost(o.HostFile)
	if err != nil {
		return backup.Manifest{}, err
	}
	if err := trustState(host.State); err != nil {
		return backup.Manifest{}, err
	}
	in, err := os.Open(r.File)
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer func() { _ = in.Close() }()
	p := &parts{host: host, hostFile: o.HostFile}
	if err := p.runBy(os.Geteuid(), ownerOf); err != nil {
		return backup.Manifest{}, err
	}
	key, err := sealerOf(host, r.Identities)
	if err != nil {
		return backup.Manifest{}, p.noKey(err)
	}
	state, err := durable.Make(host.State)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer func() { _ = state.Close() }()
	t := &target{state: state, host: host, key: key, recordKey: r.RecordKey, name: filepath.Base(r.File)}
	return t.restore(ctx, in, r.Identities)
}

// sealerOf is the host's unseal key, beside which these identities open the authority too where it is one of age.
func sealerOf(host v1alpha1.HostSpec, identities []root.Identity) (embedded.Sealer, error) {
	source := sourceOf(host.Unseal)
	var public []string
	for _, identity := range identities {
		public = append(public, identity.Public())
	}
	var err error
	if source.Recipients, err = root.Recipients(public); err != nil {
		return nil, err
	}
	return embedded.LoadSealer(source)
}

// target puts a backup into a state folder.
type target struct {
	state     *durable.Folder
	host      v1alpha1.HostSpec
	key       embedded.Sealer
	recordKey string
	name      string

	manifest          backup.Manifest
	keys              secret.Value
	authority, record *durable.Folder
	// stage, when set, is told which step begins; its error ends the restore as a crash would. For tests.
	stage func(step string) error
}

func (t *target) restore(ctx context.Context, in io.Reader, identities []root.Identity) (m backup.Manifest, err error) {
	if err := t.empty(); err != nil {
		return m, err
	}
	lock, err := t.state.Lock(restoring) // it makes the file
	if errors.Is(err, durable.ErrLocked) {
		return m, &server.Problem{Class: server.Unavailable, Text: "another restore into " + t.state.Dir() + " is under way", Hint: "wait for it to end"}
	}
	if err != nil {
		return m, err
	}
	defer func() { _ = lock.Close() }()
	crashed := false
	step := func(name string) error {
		if t.stage == nil {
			return nil
		}
		err := t.stage(name)
		crashed = err != nil
		return err
	}
	defer func() {
		t.close()
		if err != nil && !crashed {
			err = errors.Join(err, t.clear(), t.state.Remove(restoring))
		}
	}()
	if err := errors.Join(t.clear(), t.state.Overwrite(restoring, []byte(t.name+"\n"), durable.Private)); err != nil {
		return m, err
	}
	if err := step("reading"); err != nil {
		return m, err
	}
	if err := t.open(); err != nil {
		return m, err
	}
	if m, err = backup.Read(ctx, in, identities, t); err != nil {
		return m, unsound(fmt.Errorf("restoring %s: %w", t.name, err))
	}
	if err := step("putting the record back"); err != nil {
		return m, err
	}
	if err := t.record.Create(audit.CheckpointFile, []byte(m.Checkpoint)); err != nil {
		return m, err
	}
	if err := step("putting the authority back"); err != nil {
		return m, err
	}
	if err := t.putBack(ctx); err != nil {
		return m, err
	}
	if err := step("ending"); err != nil {
		return m, err
	}
	for name, text := range map[string]string{filepath.Base(AuditKeyPath(t.host.State)): m.RecordKey + "\n", initialised: Now().UTC().Format(time.RFC3339) + "\n"} {
		if err := t.state.Create(name, []byte(text)); err != nil {
			return m, err
		}
	}
	if err := step("ended"); err != nil {
		return m, err
	}
	return m, t.state.Remove(restoring)
}

// empty refuses a folder that holds anything but what a restore left that did not end.
func (t *target) empty() error {
	names, err := t.state.Names()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	if _, err := t.state.Stat(restoring); err == nil {
		return nil
	}
	state := t.state.Dir()
	return &server.Problem{
		Class: server.Refused, Text: fmt.Sprintf("nothing was restored: the state folder %s holds %s", state, few(names)),
		Hint: fmt.Sprintf("stop the server. If nothing there is newer than the backup: mv %s %s, then run it again. Delete nothing", next.Word(state), next.Word(state+".before")),
	}
}

// few are the first of many names.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// clear removes what a restore puts there.
func (t *target) clear() error {
	state := t.state.Dir()
	return errors.Join(
		os.RemoveAll(authorityFolder(state)), os.RemoveAll(AuditFolder(state)),
		t.state.Remove(filepath.Base(AuditKeyPath(state))), t.state.Remove(initialised),
	)
}

func (t *target) open() (err error) {
	if t.authority, err = durable.Make(authorityFolder(t.state.Dir())); err != nil {
		return err
	}
	t.record, err = durable.Make(AuditFolder(t.state.Dir()))
	return err
}

func (t *target) close() {
	for _, folder := range []*durable.Folder{t.authority, t.record} {
		if folder != nil {
			_ = folder.Close()
		}
	}
}

var _ backup.Taker = (*target)(nil)

// Begin implements backup.Taker.
func (t *target) Begin(m backup.Manifest, keys secret.Value) error {
	if m.Platform != t.host.Platform || m.Environment != t.host.Environment {
		return &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("nothing was restored: the backup is that of platform %s, environment %s, and this host runs %s, %s", m.Platform, m.Environment, t.host.Platform, t.host.Environment),
			Hint: "name another backup, or the host file of that platform: --host FILE",
		}
	}
	t.manifest, t.keys = m, keys
	return SignedBy(m, t.recordKey)
}

// Authority implements backup.Taker.
func (t *target) Authority(from io.Reader) error {
	_, err := t.authority.Stream(embedded.CopyName, from)
	return err
}

// Record implements backup.Taker.
func (t *target) Record(name string, from io.Reader) error {
	_, err := t.record.Stream(name, from)
	return err
}

// putBack makes the copy the authority, which notes that it was restored.
func (t *target) putBack(ctx context.Context) error {
	note, err := recovery.Restored{Backup: t.name, Made: t.manifest.Made, Events: t.manifest.Events, At: Now().UTC()}.Document()
	if err != nil {
		return err
	}
	return embedded.PutBack(ctx, embedded.Config{
		Folder: authorityFolder(t.host.State), Key: t.key, Clock: Now, Random: Random(), Platform: t.host.Platform, Environment: t.host.Environment,
	}, t.keys, note)
}

// SignedBy refuses a backup whose record is not signed by a key, in the form of audit.pub; "" takes any. age does not tell who encrypted:
// whoever knows the public keys of the root can make a file that opens.
func SignedBy(m backup.Manifest, key string) error {
	if key = strings.TrimSpace(key); key == "" || subtle.ConstantTimeCompare([]byte(key), []byte(m.RecordKey)) == 1 {
		return nil
	}
	return &server.Problem{
		Class: server.Refused, Text: "the record in the backup is signed by another key (" + m.RecordKey + ") than the one that was given",
		Hint: "find out where the file comes from: it is from another platform, from one that was made again under this name, or somebody forged it",
	}
}

// unsound gives what says that a backup is damaged the class of what was found wrong.
func unsound(err error) error {
	for _, class := range []error{root.ErrMalformed, backup.ErrDamaged, embedded.ErrCorrupt, audit.ErrTampered} {
		if errors.Is(err, class) {
			return &server.Problem{Class: server.Found, Text: err.Error(), Hint: "fetch it again from where it was stored; else use another one: custody backup list --from DIR"}
		}
	}
	return err
}

// Verified is what a backup was found to hold.
type Verified struct {
	backup.Manifest
	Contents embedded.Contents `json:"contents"`
}

// VerifyBackup reads a whole backup, checks everything that it holds, and decrypts every value and document of the authority in it. It
// writes a copy of the authority, which is encrypted, to a folder that it makes beneath scratch and removes.
func VerifyBackup(ctx context.Context, r RestoreOptions, scratch string) (found Verified, err error) {
	in, err := os.Open(r.File)
	if err != nil {
		return Verified{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer func() { _ = in.Close() }()
	dir, err := os.MkdirTemp(scratch, "custody-verify-")
	if err != nil {
		return Verified{}, fmt.Errorf("making a folder for the check: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	folder, err := durable.Open(dir)
	if err != nil {
		return Verified{}, err
	}
	defer func() { _ = folder.Close() }()
	v := &verifying{folder: folder, recordKey: r.RecordKey}
	if found.Manifest, err = backup.Read(ctx, in, r.Identities, v); err != nil {
		return Verified{}, unsound(fmt.Errorf("verifying %s: %w", r.File, err))
	}
	if found.Contents, err = embedded.CheckCopy(ctx, dir, v.keys); err != nil {
		return Verified{}, unsound(fmt.Errorf("verifying %s: %w", r.File, err))
	}
	m, c := found.Manifest, found.Contents
	if c.Platform != m.Platform || c.Environment != m.Environment || c.Incarnation != m.Incarnation {
		return Verified{}, unsound(fmt.Errorf("verifying %s: %w: its manifest is of another authority", r.File, backup.ErrDamaged))
	}
	return found, nil
}

// verifying takes a backup in to check it.
type verifying struct {
	backup.Checked
	folder    *durable.Folder
	recordKey string
	keys      secret.Value
}

// Begin implements backup.Taker.
func (v *verifying) Begin(m backup.Manifest, keys secret.Value) error {
	v.keys = keys
	return SignedBy(m, v.recordKey)
}

// Authority implements backup.Taker.
func (v *verifying) Authority(from io.Reader) error {
	_, err := v.folder.Stream(embedded.CopyName, from)
	return err
}
