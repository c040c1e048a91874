// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// ErrNoDovecot and ErrNoPostfix: that server is not installed here.
var (
	ErrNoDovecot = errors.New("no dovecot with its submission service found in PATH or /usr/sbin: install the packages dovecot-core and dovecot-submissiond")
	ErrNoPostfix = errors.New("no postfix found in PATH or /usr/sbin: install the package postfix")
)

// MailOptions of a throw-away mail server.
type MailOptions struct {
	// Passdbs holds Dovecot's passdb blocks; DIR in it stands for the server's own folder.
	Passdbs string
	// Settings holds more lines of Dovecot's configuration. Without any, wrong sign-ins are answered at once.
	Settings string
	// Postfix puts Postfix before Dovecot, which then only checks passwords. It needs root.
	Postfix bool
	// Takes: Postfix takes mail from those who sign in, and keeps it in its queue; see Queued. Without it, it refuses all.
	Takes bool
	// Bin is the dovecot to run. Default: the one installed.
	Bin string
}

// Mail is a throw-away mail server on loopback, of which only submission is of use: it relays nothing.
// Its methods are not for concurrent use.
type Mail struct {
	Host string
	// Port takes plain connections and wants STARTTLS, TLSPort TLS from the first byte.
	Port, TLSPort int
	// CA is the certificate of the authority that vouches for the server, in PEM.
	CA string
	// Dir is the server's folder.
	Dir string

	options         MailOptions
	bin             string
	dovecot, master *foreground
}

// MailServer starts a mail server that ends with the test. Without Dovecot installed, the test fails.
func MailServer(t testing.TB, options MailOptions) *Mail {
	t.Helper()
	server, err := StartMail(t.Context(), shortDir(t, "custody-mail-"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stopping the mail server: %v", err)
		}
	})
	return server
}

// StartMail makes a mail server in dir, which must be empty, and starts it. The caller stops it; should the calling
// process die first, the server ends.
func StartMail(ctx context.Context, dir string, options MailOptions) (*Mail, error) {
	bin, err := findProgram(options.Bin, "dovecot", ErrNoDovecot, "/usr/sbin/dovecot")
	if err != nil {
		return nil, err
	}
	s := &Mail{Host: loopback, Dir: dir, options: options, bin: bin}
	if s.CA, err = issueLoopback(dir); err != nil {
		return nil, err
	}
	for range portAttempts { // another process may take a port between the choice and the start
		if s.Port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if s.TLSPort, err = freePort(ctx); err != nil {
			return nil, err
		}
		if err = s.configure(); err != nil {
			return nil, err
		}
		if err = s.Start(ctx); err == nil || !errors.Is(err, errExited) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// File is the path of a file in the server's folder.
func (s *Mail) File(name string) string { return filepath.Join(s.Dir, name) }

func (s *Mail) configure() error {
	// Dovecot's and Postfix's own accounts pass through the folder; what is in it has modes of its own.
	if err := os.Chmod(s.Dir, 0o711); err != nil { //nolint:gosec // see above
		return fmt.Errorf("opening the folder to the servers' accounts: %w", err)
	}
	settings := s.options.Settings
	if settings == "" {
		settings = "auth_failure_delay = 0\nservice anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n"
	}
	// Processes are kept for the next who signs in: starting two for each is most of what a sign-in costs otherwise.
	protocols, listeners := "submission", `service submission-login {
  service_count = 0
  inet_listener submission {
    port = PLAIN
  }
  inet_listener submissions {
    port = TLS
    ssl = yes
  }
}
service submission {
  service_count = 100
}
`
	if s.options.Postfix {
		protocols, listeners = "", ""
	}
	as, err := s.accounts()
	if err != nil {
		return err
	}
	replacer := strings.NewReplacer("DIR", s.Dir, "PLAIN", strconv.Itoa(s.Port), "TLS", strconv.Itoa(s.TLSPort))
	config := replacer.Replace(`base_dir = DIR/run
state_dir = DIR/state
log_path = /dev/stderr
auth_verbose = yes
protocols = `+protocols+`
listen = 127.0.0.1
ssl = required
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
auth_mechanisms = plain login
disable_plaintext_auth = yes
submission_relay_host = 127.0.0.1
submission_relay_port = 9
mail_location = maildir:DIR/mail
`) + as + replacer.Replace(`service auth {
  unix_listener DIR/auth {
    mode = 0666
  }
}
`+listeners+s.options.Passdbs) + settings
	if err := os.WriteFile(s.File("dovecot.conf"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing dovecot.conf: %w", err)
	}
	if s.options.Postfix {
		return s.configurePostfix(replacer)
	}
	return nil
}

// accounts are those that Dovecot's processes run as: its own, or the caller's where that is not root.
func (s *Mail) accounts() (string, error) {
	userdb := "userdb {\n  driver = static\n  args = uid=%s gid=%s home=" + s.File("mail") + "\n}\n"
	if os.Geteuid() == 0 {
		// Signing in ends in a process of the user's own; password files stay readable by root alone.
		return fmt.Sprintf(userdb, "nobody", "nogroup") + "service auth {\n  user = root\n}\n", nil
	}
	me, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("finding this account: %w", err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return "", fmt.Errorf("finding this account's group: %w", err)
	}
	lines := fmt.Sprintf("default_internal_user = %s\ndefault_internal_group = %s\ndefault_login_user = %s\n", me.Username, group.Name, me.Username)
	for _, service := range []string{"anvil", "submission-login"} {
		lines += "service " + service + " {\n  chroot =\n}\n"
	}
	return lines + fmt.Sprintf(userdb, me.Username, group.Name), nil
}

func (s *Mail) configurePostfix(replacer *strings.Replacer) error {
	postfix, err := user.Lookup("postfix")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPostfix, err)
	}
	uid, err := strconv.Atoi(postfix.Uid)
	if err != nil {
		return fmt.Errorf("reading postfix's number: %w", err)
	}
	for _, name := range []string{"postfix", "postfix/conf", "postfix/queue", "postfix/data"} {
		if err := os.MkdirAll(s.File(name), 0o755); err != nil { //nolint:gosec // postfix refuses less
			return fmt.Errorf("making postfix's folders: %w", err)
		}
	}
	if err := os.Chown(s.File("postfix/data"), uid, -1); err != nil {
		return fmt.Errorf("giving postfix its folder: %w", err)
	}
	who, queues := "reject", ""
	if s.options.Takes { // nothing takes it out of the queue again
		who, queues = "permit_sasl_authenticated, reject", "cleanup   unix  n       -       n       -       0       cleanup\n"
	}
	for name, text := range map[string]string{
		"postfix/conf/main.cf": `compatibility_level = 3.6
queue_directory = DIR/postfix/queue
data_directory = DIR/postfix/data
maillog_file = DIR/postfix/log
maillog_file_prefixes = DIR
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = localhost
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_tls_cert_file = DIR/cert.pem
smtpd_tls_key_file = DIR/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = DIR/auth
smtpd_relay_restrictions = ` + who + "\n",
		"postfix/conf/master.cf": `postlog   unix-dgram n  -       n       -       1       postlogd
PLAIN     inet  n       -       n       -       -       smtpd
TLS       inet  n       -       n       -       -       smtpd
  -o smtpd_tls_wrappermode=yes
anvil     unix  -       -       n       -       1       anvil
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
proxymap  unix  -       -       n       -       -       proxymap
` + queues,
	} {
		if err := os.WriteFile(s.File(name), []byte(replacer.Replace(text)), 0o644); err != nil { //nolint:gosec // read by postfix's account
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// Start starts a stopped server on the same ports, and returns when it greets.
func (s *Mail) Start(ctx context.Context) error {
	var err error
	if !s.dovecot.alive() {
		cmd := exec.Command(s.bin, "-F", "-c", s.File("dovecot.conf"))
		if s.dovecot, err = startForeground(cmd, s.File("dovecot.log"), syscall.SIGTERM); err != nil {
			return err
		}
		if err := s.dovecot.await(ctx, s.Log, func(context.Context) error { return reachable(ctx, "unix", s.File("auth")) }); err != nil {
			return err
		}
	}
	waiting := s.dovecot
	if s.options.Postfix {
		if err := s.startPostfix(ctx); err != nil {
			return errors.Join(err, s.Stop())
		}
		waiting = s.master
	}
	return waiting.await(ctx, s.Log, func(ctx context.Context) error {
		return reachable(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.TLSPort)))
	})
}

func (s *Mail) startPostfix(ctx context.Context) error {
	if s.master.alive() {
		return nil
	}
	postfix, err := findProgram("", "postfix", ErrNoPostfix, "/usr/sbin/postfix")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, postfix, "-c", s.File("postfix/conf"), "check").CombinedOutput(); err != nil {
		return fmt.Errorf("checking postfix's configuration: %w: %s", err, out)
	}
	// Postfix's master changes its account for a moment, and the kernel forgets the death signal then: a shell keeps it.
	const keep = `"$@" & master=$!; trap 'kill -TERM $master' TERM; wait $master; wait $master`
	cmd := exec.Command("/bin/sh", "-c", keep, "postfix", "/usr/lib/postfix/sbin/master", "-c", s.File("postfix/conf"), "-d")
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+s.File("postfix/conf"))
	s.master, err = startForeground(cmd, s.File("postfix.log"), syscall.SIGTERM)
	return err
}

func reachable(ctx context.Context, network, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	return conn.Close()
}

// Stop ends the server and returns when it is gone. Stopping a stopped server does nothing.
func (s *Mail) Stop() error {
	return errors.Join(s.master.end(syscall.SIGTERM), s.dovecot.end(syscall.SIGTERM))
}

// StopDovecot ends what checks passwords, and leaves Postfix before it.
func (s *Mail) StopDovecot() error { return s.dovecot.end(syscall.SIGTERM) }

// Log returns what the servers have logged in their lives.
func (s *Mail) Log() string {
	log := readLog(s.File("dovecot.log"))
	if s.options.Postfix {
		log += readLog(s.File("postfix.log")) + readLog(s.File("postfix/log"))
	}
	return log
}

// Queued are the messages that Postfix took, with their headers, as it would pass them on.
func (s *Mail) Queued(ctx context.Context) (messages []string, err error) {
	postcat, err := findProgram("", "postcat", ErrNoPostfix, "/usr/sbin/postcat")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(s.File("postfix/queue/incoming/*"))
	if err != nil {
		return nil, fmt.Errorf("listing the queue: %w", err)
	}
	for _, file := range files {
		out, err := exec.CommandContext(ctx, postcat, "-c", s.File("postfix/conf"), "-e", "-h", "-b", file).Output()
		if err != nil {
			return nil, fmt.Errorf("reading a message of the queue: %w", err)
		}
		messages = append(messages, string(out))
	}
	return messages, nil
}
