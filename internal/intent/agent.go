// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"net"
	"path/filepath"
	"strconv"

	"custody.dev/custody/api/v1alpha1"
)

const (
	// RuleMachineAgents is the rule that a consumer on another machine needs a host that takes agents.
	RuleMachineAgents = "machine-agents"
	ruleAgentAddress  = "agent-address"
)

// LoadAgent reads the configuration of a machine's agent, as LoadHost reads that of the host.
func LoadAgent(file string) (v1alpha1.Agent, []Fault, error) {
	agent := v1alpha1.Agent{}
	faults, err := loadOwn(file, v1alpha1.KindAgent, func(r *reader, d *document, file string) {
		agent = *d.value.(*v1alpha1.Agent)
		spec := &agent.Spec
		paths := v1alpha1.HostSpec{State: spec.State, Folders: spec.Folders, Reloads: spec.Reloads}
		resolve(&paths, filepath.Dir(file))
		spec.State = paths.State
		(&hostChecker{r, d, file}).agent(*spec)
	})
	return agent, faults, err
}

// ofMachine reports whether documents of a kind are a machine's own, and no part of an estate.
func ofMachine(kind string) bool { return kind == v1alpha1.KindHost || kind == v1alpha1.KindAgent }

// agent applies the rules for the agent of a machine.
func (c *hostChecker) agent(spec v1alpha1.AgentSpec) {
	if c.d.name != "" && !v1alpha1.WellNamed(c.d.name) {
		c.bad("name-form", at("metadata", "name"), "the name of the document is the name of the machine, and it is not well-formed")
	}
	if spec.Server != "" && !address(spec.Server) {
		c.bad(ruleAgentAddress, at("spec", "server"), "not HOST:PORT")
	}
	c.apart(spec.Folders, []hostPath{{"the state folder", spec.State}, {"the agent's configuration", c.file}})
	c.reloads(spec.Reloads)
	c.commands("checks", spec.Checks)
}

// agents wants an address at which agents can reach the server.
func (c *hostChecker) agents(spec v1alpha1.HostSpec) {
	if a := spec.Agents; a != nil && a.Listen != "" && !address(a.Listen) {
		c.bad(ruleAgentAddress, at("spec", "agents", "listen"), "not ADDRESS:PORT")
	}
}

// address reports whether text is a host and a port.
func address(text string) bool {
	host, port, err := net.SplitHostPort(text)
	number, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != "" && strconv.FormatUint(number, 10) == port
}
