// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"custody.dev/custody/api/v1alpha1"
	"custody.dev/custody/internal/agent"
	"custody.dev/custody/internal/agent/hub"
	"custody.dev/custody/internal/agent/identity"
	"custody.dev/custody/internal/agent/link"
	"custody.dev/custody/internal/authority"
	"custody.dev/custody/internal/materialize"
	"custody.dev/custody/internal/materialize/file"
	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
	"custody.dev/custody/internal/server"
)

// agents are those of other machines.
type agents struct {
	parts *parts
	hub   *hub.Hub
	book  *identity.Book
	began time.Time
}

var _ platform.Fleet = (*agents)(nil)

// openAgents is nil where the host file says nowhere they connect, or there is no authority yet that knows them.
func (p *parts) openAgents() *agents {
	if p.host.Agents == nil || p.store == (uninitialised{}) {
		return nil
	}
	a := &agents{parts: p, began: Now()}
	a.hub = hub.New(Now, a.arrived)
	a.book = &identity.Book{Records: p.values, Now: Now, Random: Random(), Recorded: func(ctx context.Context, c identity.Change, do func() error) error {
		return p.platform.RecordAgent(ctx, c.Step, c.Machine, c.By, c.Reason, c.Detail, do)
	}}
	return a
}

// fleet is a as the platform's port: nil where there is none.
func (a *agents) fleet() platform.Fleet {
	if a == nil {
		return nil
	}
	return a
}

// arrived has the secrets looked at that have a consumer on a machine whose agent connected.
func (a *agents) arrived(machine string) {
	estate := a.parts.platform.Estate()
	if estate == nil {
		return
	}
	for _, declared := range estate.Secrets {
		for _, consumer := range declared.Consumers {
			if consumer.Machine == machine {
				a.parts.platform.Orchestrator.Wake(declared.Path)
				break
			}
		}
	}
	a.parts.platform.Nudge()
}

// consumer is one on another machine.
func (a *agents) consumer(spec v1alpha1.ConsumerSpec) (materialize.Consumer, error) {
	if a == nil {
		return nil, &server.Problem{
			Class: server.Refused, Text: fmt.Sprintf("consumer %s is on machine %s, and the host file does not say where agents connect", spec.Name, spec.Machine),
			Hint: "add to spec of the host file: agents: {listen: \"0.0.0.0:8471\"}, and start the server again",
		}
	}
	config, err := fileConfig(spec)
	if err != nil {
		return nil, err
	}
	config.Folder = "/" // the agent's is not known here, and nothing is written
	form, err := file.New(config)
	if err != nil {
		return nil, err
	}
	return a.hub.Consumer(spec, heldConsumer{spec: spec}.Highest(), form.Fits), nil
}

// Invite implements platform.Fleet.
func (a *agents) Invite(ctx context.Context, by, machine, why string, lasts time.Duration) (server.Invitation, error) {
	token, until, err := a.book.Invite(ctx, by, machine, why, lasts)
	return server.Invitation{Machine: machine, Token: token, Until: until, Listen: a.parts.host.Agents.Listen}, err
}

// List implements platform.Fleet.
func (a *agents) List(ctx context.Context) ([]server.Agent, error) {
	known, err := a.book.List(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]server.Agent, 0, len(known))
	for _, m := range known {
		session, left := a.hub.At(m.Name)
		one := server.Agent{Machine: m.Name, Enrolled: m.Enrolled, Revoked: m.Revoked, State: server.AgentAway, Since: left}
		if m.Token != "" && m.UsedBy == "" && Now().Before(m.Until) {
			one.Invited = m.Until
		}
		switch {
		case session != nil:
			one.State, one.Since, one.Version, one.Skew = server.AgentConnected, session.Since, session.Version, session.Skew
		case !m.Revoked.IsZero():
			one.State = server.AgentRevoked
		case m.Key == "":
			one.State = server.AgentInvited
		}
		list = append(list, one)
	}
	return list, nil
}

// Revoke implements platform.Fleet.
func (a *agents) Revoke(ctx context.Context, by, machine, why string) (bool, error) {
	had, err := a.book.Revoke(ctx, by, machine, why)
	if session, _ := a.hub.At(machine); session != nil && err == nil {
		session.End()
	}
	return had, err
}

// Away implements platform.Fleet.
func (a *agents) Away(machine string) time.Time {
	session, left := a.hub.At(machine)
	if session != nil {
		return time.Time{}
	}
	if left.IsZero() {
		return a.began
	}
	return left
}

// listen begins to serve agents. A nil a serves none.
func (a *agents) listen(ctx context.Context) (*http.Server, net.Listener, error) {
	if a == nil {
		return nil, nil, nil
	}
	config, err := a.book.ServerTLS(ctx)
	if err != nil {
		return nil, nil, err
	}
	config.NextProtos = []string{"h2"}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.parts.host.Agents.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listening for agents: %w", err)
	}
	serving := (&link.Server{Hub: a.hub, Book: a.book, Log: a.parts.log}).HTTP()
	serving.RegisterOnShutdown(a.hub.Close)
	return serving, tls.NewListener(listener, config), nil
}

// onMachine tells a file on another machine from one on this: it is named MACHINE:FILE, and files here are absolute.
func onMachine(name string) (machine, at string, is bool) {
	machine, at, is = strings.Cut(name, ":")
	return machine, at, is && agent.CheckName(machine) == nil
}

// leftovers are the files that agents have which no consumer of the estate is for, by name (MACHINE:FILE). keep are those that one is
// for, by machine. Where an agent is away, nobody is told: that it is away is a finding of its own.
func (a *agents) leftovers(ctx context.Context, keep map[string][]string) (map[string]agent.Left, []string) {
	found, unseen := map[string]agent.Left{}, []string(nil)
	if a == nil {
		return found, nil
	}
	for _, machine := range a.hub.Connected() {
		answer, err := a.ask(ctx, machine, agent.Order{Verb: agent.Leftovers, Keep: keep[machine]})
		if err == nil && answer.Error != "" {
			err = errors.New(answer.Error)
		}
		if away, is := errors.AsType[*hub.AwayError](err); is && away != nil {
			continue
		}
		if err != nil {
			unseen = append(unseen, fmt.Sprintf("machine %s: whether files are left there that no consumer is for cannot be seen: %s", machine, err))
			continue
		}
		for _, left := range answer.Left {
			found[machine+":"+left.File] = left
		}
	}
	return found, unseen
}

// ask is a bounded question about what is left on a machine.
func (a *agents) ask(ctx context.Context, machine string, order agent.Order) (agent.Answer, error) {
	return outward.Do(ctx, a.parts.calls, outward.Call{Part: "what is left on machine " + machine, Limit: leftoverLimit}, func(ctx context.Context) (agent.Answer, error) {
		return a.hub.Ask(ctx, machine, order)
	})
}

// clear removes a file that is left on a machine, if it is what was delivered.
func (a *agents) clear(ctx context.Context, machine, at string, v authority.Versioned) error {
	if a == nil {
		return errors.New("this platform has no agents")
	}
	answer, err := a.ask(ctx, machine, agent.Order{Verb: agent.Clear, File: at, Version: v})
	return cmp.Or(err, said(answer.Error))
}

func said(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
