// SPDX-License-Identifier: Apache-2.0

package realparts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"custody.dev/custody/internal/secret"
)

const rabbitRoot = "custody_test_root"

// ErrNoRabbitMQ: no RabbitMQ broker is installed here.
var ErrNoRabbitMQ = errors.New("no rabbitmq-server found in /usr/lib/rabbitmq, or no epmd: install the package rabbitmq-server")

// RabbitMQOptions of a throw-away broker. The zero value has the management interface and its own users.
type RabbitMQOptions struct {
	// Settings for rabbitmq.conf, by name.
	Settings map[string]string
	// Plugins beside the management interface.
	Plugins []string
	// Bin is the vendor's program rabbitmq-server, not a distribution's wrapper around it. Default: the one that
	// Debian installs.
	Bin string
}

// RabbitMQServer is a throw-away broker of one node on loopback, with its own Erlang port mapper, cookie and folders. Its
// methods are not for concurrent use.
type RabbitMQServer struct {
	Host string
	// Port and TLSPort take AMQP, ManagementPort and ManagementTLSPort HTTP.
	Port, TLSPort, ManagementPort, ManagementTLSPort int
	// CA is the certificate of the authority that signed the broker's, as PEM.
	CA string
	// Root is an administrator: fields username and password.
	Root secret.Value

	dir, bin, mapper     string
	mapperPort, distPort int
	options              RabbitMQOptions
	mapping, running     *foreground
}

// RabbitMQ starts a broker that ends with the test; it takes some seconds. Without RabbitMQ installed, the test fails.
func RabbitMQ(t testing.TB, options RabbitMQOptions) *RabbitMQServer {
	t.Helper()
	server, err := StartRabbitMQ(t.Context(), shortDir(t, "custody-mq-"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil { // there is nothing to keep, and stopping takes seconds
			t.Errorf("stopping rabbitmq: %v", err)
		}
	})
	return server
}

// StartRabbitMQ makes a broker in dir, which must be empty, and starts it. The caller stops it; should the calling
// process die first, broker and port mapper die with it.
func StartRabbitMQ(ctx context.Context, dir string, options RabbitMQOptions) (*RabbitMQServer, error) {
	s := &RabbitMQServer{Host: loopback, dir: dir, options: options}
	var err error
	if s.bin, err = findRabbitMQ(options.Bin); err != nil {
		return nil, err
	}
	if s.mapper, err = exec.LookPath("epmd"); err != nil {
		return nil, ErrNoRabbitMQ
	}
	password, err := randomText()
	if err != nil {
		return nil, err
	}
	if s.Root, err = secret.Text(map[string]string{"username": rabbitRoot, "password": password}); err != nil {
		return nil, err
	}
	if s.CA, err = issueLoopback(dir); err != nil {
		return nil, err
	}
	for range portAttempts { // another process may take a port between the choice and the start
		for _, port := range []*int{&s.Port, &s.TLSPort, &s.ManagementPort, &s.ManagementTLSPort, &s.mapperPort, &s.distPort} {
			if *port, err = freePort(ctx); err != nil {
				return nil, err
			}
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

// findRabbitMQ returns the vendor's own script. What Debian puts into PATH changes user and folder.
func findRabbitMQ(bin string) (string, error) {
	if bin != "" {
		if executable(bin) {
			return bin, nil
		}
		return "", ErrNoRabbitMQ
	}
	installed, err := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
	if err != nil {
		return "", fmt.Errorf("looking for RabbitMQ: %w", err)
	}
	slices.Sort(installed)
	for _, path := range slices.Backward(installed) {
		if executable(path) {
			return path, nil
		}
	}
	return "", ErrNoRabbitMQ
}

func (s *RabbitMQServer) configure() error {
	at := func(port int) string { return loopback + ":" + strconv.Itoa(port) }
	settings := map[string]string{
		"listeners.tcp.1": at(s.Port), "listeners.ssl.1": at(s.TLSPort),
		"management.tcp.ip": loopback, "management.tcp.port": strconv.Itoa(s.ManagementPort),
		"management.ssl.ip": loopback, "management.ssl.port": strconv.Itoa(s.ManagementTLSPort),
		"ssl_options.verify": "verify_none", "log.console": "true", "log.console.level": "debug", "log.file": "false",
		"default_user": s.Root.ExposeText("username"), "default_pass": s.Root.ExposeText("password"),
		"disk_free_limit.absolute": "1MB", "num_acceptors.tcp": "2", "num_acceptors.ssl": "2",
	}
	for name, file := range map[string]string{"cacertfile": "ca.pem", "certfile": "cert.pem", "keyfile": "key.pem"} {
		settings["ssl_options."+name] = filepath.Join(s.dir, file)
		settings["management.ssl."+name] = filepath.Join(s.dir, file)
	}
	maps.Copy(settings, s.options.Settings)
	text := ""
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		text += name + " = " + settings[name] + "\n"
	}
	plugins := append([]string{"rabbitmq_management"}, s.options.Plugins...)
	for name, content := range map[string]string{"rabbitmq.conf": text, "plugins": "[" + strings.Join(plugins, ",") + "].\n"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// environment leaves out what is set for other brokers, and keeps this one in its folder.
func (s *RabbitMQServer) environment() []string {
	kept := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "RABBITMQ_") || strings.HasPrefix(entry, "ERL_") || strings.HasPrefix(entry, "HOME=") || strings.HasPrefix(entry, "NOTIFY_SOCKET=")
	})
	in := func(name string) string { return filepath.Join(s.dir, name) }
	for name, value := range map[string]string{
		"HOME":                  s.dir, // the cookie
		"RUNNING_UNDER_SYSTEMD": "1",   // the script becomes the broker instead of watching over it
		"ERL_EPMD_PORT":         strconv.Itoa(s.mapperPort), "ERL_EPMD_ADDRESS": loopback,
		"RABBITMQ_NODENAME": "custody@localhost", "RABBITMQ_DIST_PORT": strconv.Itoa(s.distPort),
		"RABBITMQ_CONF_ENV_FILE": os.DevNull, "RABBITMQ_CONFIG_FILE": in("rabbitmq"), "RABBITMQ_ENABLED_PLUGINS_FILE": in("plugins"),
		"RABBITMQ_MNESIA_BASE": in("db"), "RABBITMQ_LOG_BASE": in("logs"), "RABBITMQ_GENERATED_CONFIG_DIR": in("generated"),
		"RABBITMQ_PID_FILE": in("pid"), "RABBITMQ_LOGS": "-", "RABBITMQ_FEATURE_FLAGS_FILE": in("flags"),
		// Two threads that run Erlang, which do not spin when they have nothing to do: the tests' own processes need the rest
		// of the machine, and starting costs a third less.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +A 8 +sbwt none +sbwtdcpu none +sbwtdio none",
	} {
		kept = append(kept, name+"="+value)
	}
	return kept
}

// Start starts a stopped broker on the same ports and data, and returns when its management interface answers.
func (s *RabbitMQServer) Start(ctx context.Context) error {
	if s.running.alive() {
		return nil
	}
	// With a port mapper there already, the broker starts none, which would outlive it.
	mapper := exec.Command(s.mapper, "-port", strconv.Itoa(s.mapperPort), "-address", loopback)
	mapper.Dir, mapper.Env = s.dir, s.environment()
	var err error
	if s.mapping, err = startForeground(mapper, filepath.Join(s.dir, "epmd.log"), syscall.SIGKILL); err != nil {
		return err
	}
	names := func(ctx context.Context) error {
		probe := exec.CommandContext(ctx, s.mapper, "-port", strconv.Itoa(s.mapperPort), "-names")
		probe.Env = s.environment()
		return probe.Run()
	}
	if err := s.mapping.await(ctx, func() string { return readLog(filepath.Join(s.dir, "epmd.log")) }, names); err != nil {
		return errors.Join(err, s.Stop())
	}
	broker := exec.Command(s.bin)
	broker.Dir, broker.Env = s.dir, s.environment()
	if s.running, err = startForeground(broker, s.logFile(), syscall.SIGKILL); err != nil {
		return errors.Join(err, s.Stop())
	}
	err = s.running.await(ctx, s.Log, func(ctx context.Context) error {
		status, err := s.ready(ctx)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("management answers %d", status)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

// ready asks whether every listener is up.
func (s *RabbitMQServer) ready(ctx context.Context) (int, error) {
	for _, port := range []int{s.Port, s.TLSPort} {
		url := fmt.Sprintf("http://%s:%d/api/health/checks/port-listener/%d", s.Host, s.ManagementPort, port)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		request.SetBasicAuth(s.Root.ExposeText("username"), s.Root.ExposeText("password"))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, fmt.Errorf("asking rabbitmq: %w", err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.StatusCode, nil
		}
	}
	return http.StatusOK, nil
}

// Kill ends the broker as a crash does. Its helpers end by themselves when it is gone.
func (s *RabbitMQServer) Kill() error {
	return errors.Join(s.running.end(syscall.SIGKILL), s.mapping.end(syscall.SIGKILL))
}

// Stop ends broker and port mapper, and returns when they are gone. Stopping a stopped broker does nothing.
func (s *RabbitMQServer) Stop() error {
	return errors.Join(s.running.end(syscall.SIGTERM), s.mapping.end(syscall.SIGTERM))
}

func (s *RabbitMQServer) logFile() string { return filepath.Join(s.dir, "log") }

// Log returns what the broker has logged in its life.
func (s *RabbitMQServer) Log() string { return readLog(s.logFile()) }
