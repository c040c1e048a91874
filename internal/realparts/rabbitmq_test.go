// SPDX-License-Identifier: Apache-2.0

package realparts_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"custody.dev/custody/internal/realparts"
	"custody.dev/custody/internal/thorough"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestRabbitMQLivesAndDies starts a broker again and again, each of which takes it 10 s of processor time; the adapter's
// tests start one too.
func TestRabbitMQLivesAndDies(t *testing.T) {
	if !thorough.Long() {
		return
	}
	dir := t.TempDir()
	server, err := realparts.StartRabbitMQ(t.Context(), dir, realparts.RabbitMQOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Kill(); err != nil {
			t.Errorf("killing: %v", err)
		}
	}()
	dial := func(password string) error {
		conn, err := amqp.DialConfig(fmt.Sprintf("amqp://%s:%d/", server.Host, server.Port), amqp.Config{
			SASL: []amqp.Authentication{&amqp.PlainAuth{Username: server.Root.ExposeText("username"), Password: password}},
		})
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := dial(server.Root.ExposeText("password")); err != nil {
		t.Error(err)
	}
	if err := dial("wrong"); err == nil {
		t.Error("a wrong password signs in")
	}
	if len(processesIn(t, dir)) < 2 {
		t.Error("broker and port mapper cannot be seen: the search below proves nothing")
	}
	gone := func() {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for len(processesIn(t, dir)) > 0 {
			<-tick.C
		}
	}
	for range 2 {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	gone()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := dial(server.Root.ExposeText("password")); err != nil {
		t.Errorf("users did not outlive stop and start: %v", err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	gone()
}

func TestRabbitMQNotInstalled(t *testing.T) {
	_, err := realparts.StartRabbitMQ(t.Context(), t.TempDir(), realparts.RabbitMQOptions{Bin: t.TempDir()})
	if !errors.Is(err, realparts.ErrNoRabbitMQ) || !strings.Contains(err.Error(), "install the package rabbitmq-server") {
		t.Errorf("got %v, want what to install", err)
	}
}

// processesIn lists the programs whose home is dir.
func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environment, []byte("HOME="+dir+"\x00")) {
			continue
		}
		if command, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")); err == nil && len(command) > 0 {
			name, _, _ := bytes.Cut(command, []byte{0})
			found = append(found, filepath.Base(filepath.Dir(file))+" "+string(name))
		}
	}
	return found
}
