// SPDX-License-Identifier: Apache-2.0

package acceptance

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"custody.dev/custody/internal/server"
)

// cable carries what agents and the server say to each other, until it is cut: then it takes all and gives nothing, as a network does
// that loses every packet.
type cable struct {
	net.Listener
	to func() string

	mu  sync.Mutex
	cut bool
}

func newCable(t *testing.T, to func() string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: listener, to: to}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to())
			if err != nil {
				_ = near.Close()
				continue
			}
			go c.carry(near, far)
			go c.carry(far, near)
		}
	}()
	return c
}

func (c *cable) carry(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		c.mu.Lock()
		cut := c.cut
		c.mu.Unlock()
		if n > 0 && !cut {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

// away is a machine whose agent is a process of its own, behind a cable.
type away struct {
	r       *rig
	machine string
	cable   *cable
	running *exec.Cmd
}

// elsewhere moves the application's two consumers to two machines. Their files are where the clients of the rig look.
func (r *rig) elsewhere() (polling, holding *away) {
	r.t.Helper()
	host := strings.Replace(r.read("custody.yaml"), "app: "+r.dir+"/app", "app: "+r.dir+"/here", 1)
	r.write("custody.yaml", host+"  agents: {listen: 127.0.0.1:0}\n")
	app := strings.Replace(r.read("estate/app.yaml"), "- name: polling\n", "- name: polling\n      machine: web-1\n", 1)
	r.write("estate/app.yaml", strings.Replace(app, "- name: holding\n", "- name: holding\n      machine: web-2\n", 1))
	return &away{r: r, machine: "web-1"}, &away{r: r, machine: "web-2"}
}

// agentsAt is where the server listens for agents, as it logged last.
func (r *rig) agentsAt() string {
	at := ""
	for line := range strings.Lines(r.log()) {
		if strings.Contains(line, `msg="serving agents"`) {
			at = logged(line)["address"]
		}
	}
	return at
}

// enroll gives the machine its configuration and a certificate.
func (m *away) enroll() {
	m.r.t.Helper()
	m.cable = newCable(m.r.t, m.r.agentsAt)
	self, err := os.Executable()
	if err != nil {
		m.r.t.Fatal(err)
	}
	m.r.write(m.machine+"/agent.yaml", fmt.Sprintf(`apiVersion: custody.dev/v1alpha1
kind: Agent
metadata: {name: %s}
spec:
  server: %s
  state: state
  folders: {app: %[3]s/app}
  reloads:
    app: {signal: HUP, pidFile: %[3]s/client/pid}
  checks:
    app: {argv: [%[4]s, play-check, %[3]s/client]}
`, m.machine, m.cable.Addr(), m.r.dir, self))
	var invited server.Invitation
	if err := json.Unmarshal([]byte(m.r.ok("agent", "invite", m.machine, "--reason", "acceptance test", "-o", "json")), &invited); err != nil {
		m.r.t.Fatal(err)
	}
	enroll := exec.Command(custody(m.r.t), "agent", "enroll", "--agent", m.r.file(m.machine+"/agent.yaml"))
	enroll.Stdin = strings.NewReader(invited.Token)
	if out, err := enroll.CombinedOutput(); err != nil {
		m.r.t.Fatalf("enrolling %s: %v\n%s", m.machine, err, out)
	}
}

func (m *away) start() {
	m.r.t.Helper()
	m.running = exec.Command(custody(m.r.t), "agent", "run", "--agent", m.r.file(m.machine+"/agent.yaml"))
	m.running.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	m.running.Stderr = &lockedWriter{m.r}
	if err := m.running.Start(); err != nil {
		m.r.t.Fatal(err)
	}
	m.r.t.Cleanup(m.kill)
}

func (m *away) kill() {
	if m.running != nil {
		_ = m.running.Process.Kill()
		_ = m.running.Wait()
		m.running = nil
	}
}

// holds checks that the run in hand waits for the machine, and that what was in force before it still opens the server.
func (m *away) holds(before credential) {
	m.r.t.Helper()
	eventually(m.r.t, "the run to wait for machine "+m.machine, func() bool {
		row := m.r.row("app-database")
		return row.Live != nil && row.Waiting != nil && strings.Contains(row.Waiting.Said(), "machine "+m.machine)
	})
	if m.r.refused(before) {
		m.r.t.Errorf("the old credential is refused while machine %s is away", m.machine)
	}
}

// TestAgentsThatGoAndCome rotates a credential that two machines read. One agent is killed in the middle of a run, the other is cut off
// from the server: the old credential stays until both have proved the new one, and no sign-in is refused. Then the server is killed.
func TestAgentsThatGoAndCome(t *testing.T) {
	t.Parallel()
	r := newRig(t, "200ms")
	polling, holding := r.elsewhere()
	r.serve()
	polling.enroll()
	holding.enroll()
	polling.start()
	holding.start()
	eventually(t, "the first credential to be delivered", func() bool {
		_, err := os.Stat(filepath.Join(r.dir, "app", "held.json"))
		return err == nil
	})
	clients := r.startClient(false)
	r.settled("app-database", "")
	r.rotate("app-database")

	before, version := r.current(), r.row("app-database").Version
	holding.kill()
	r.request("app-database")
	holding.holds(before)
	if _, shown := r.get("/metrics"); !strings.Contains(shown, `custody_agent_connected{machine="web-2"} 0`) {
		t.Error("the metrics do not say that web-2 is away")
	}
	holding.start()
	r.settled("app-database", version)
	if !r.refused(before) {
		t.Error("the credential of the version before is accepted after the run")
	}

	before, version = r.current(), r.row("app-database").Version
	polling.cable.set(true)
	r.request("app-database")
	polling.holds(before)
	polling.cable.set(false)
	r.settled("app-database", version)

	version = r.row("app-database").Version
	r.request("app-database")
	r.kill()
	r.serve()
	r.settled("app-database", version)

	if _, shown := r.get("/metrics"); !strings.Contains(shown, `custody_agent_connected{machine="web-1"} 1`) {
		t.Error("the metrics do not say that web-1 is connected")
	}
	var all []server.Agent
	if err := json.Unmarshal([]byte(r.ok("agent", "list", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.State != server.AgentConnected || one.Consumers != 1 {
			t.Errorf("got %+v at the end, want it connected", one)
		}
	}
	seen := clients.stop(t)
	if seen.Refused != 0 || seen.SignIns == 0 {
		t.Errorf("%d sign-ins, %d refused: %+v", seen.SignIns, seen.Refused, seen)
	}
	r.sound()
	fmt.Printf("acceptance: two agents, one killed, one cut off, then the server killed: %d sign-ins, %d refused\n", seen.SignIns, seen.Refused)
}
