// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Agents says where the agents of other machines reach this host's server.
type Agents struct {
	// Address that the server listens on for agents, such as 0.0.0.0:8471. They connect with TLS, and each shows a certificate that the
	// platform issued.
	Listen string `json:"listen"`
}

// Agent is the configuration of the agent of one machine. Like the host file, nobody but root and the user that runs the agent can
// change it: it decides where values may be written, and what is run.
type Agent struct {
	Header `json:",inline"`
	// The settings of the machine.
	Spec AgentSpec `json:"spec"`
}

// AgentSpec are the settings of an agent. Documents of the estate pick folders, reloads and checks by their names.
type AgentSpec struct {
	// Where the server is: HOST:PORT, the address in agents.listen of its host file as it is reached from here.
	Server string `json:"server"`
	// Folder for the agent's certificate and key. Its mode is 0700.
	State string `json:"state"`
	// Folders in which Custody may write files, by name. None may overlap the state folder.
	Folders map[string]string `json:"folders,omitempty"`
	// Ways to make a program read a new version, by name.
	Reloads map[string]Reload `json:"reloads,omitempty"`
	// Commands that check whether a program runs on a version, by name.
	Checks map[string]Command `json:"checks,omitempty"`
}
