// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"net/url"
	"strings"
)

// settingsOf says where a source keeps values that nobody can read back.
func settingsOf(source string) string {
	return map[string]string{
		"github": "the settings of GitHub Actions", "gitlab": "the settings of GitLab CI", "jenkins": "the credentials of Jenkins", "circleci": "the settings of CircleCI",
		"drone": "the settings of Drone", "azure": "the variables of Azure Pipelines", "kubernetes": "the cluster", "helm": "the cluster", "external-secrets": "another secrets store",
		"vault-operator": "Vault", "sealed-secrets": "a SealedSecret", "sops": "a file that SOPS encrypted", "ansible": "a file of Ansible Vault, or a variable that is not in this folder",
		"terraform": "a variable that is not in this folder", "compose": "the environment, or the engine", "systemd": "the machine", "script": "the environment of a script", "dotenv": "the environment",
	}[source]
}

// pageOf is the page on which a source shows what it keeps, as far as its address follows from where the repository is; else "".
func pageOf(source, remote string) string {
	at, err := url.Parse(remote)
	if err != nil || at.Host == "" {
		return ""
	}
	host, path := at.Host, strings.Trim(at.Path, "/")
	switch source {
	case "github":
		if host == "github.com" || !strings.Contains(host, "gitlab") {
			return "https://" + host + "/" + path + "/settings/secrets/actions"
		}
	case "gitlab":
		if host != "github.com" {
			return "https://" + host + "/" + path + "/-/settings/ci_cd"
		}
	case "circleci":
		if host == "github.com" {
			return "https://app.circleci.com/settings/project/github/" + path + "/environment-variables"
		}
	case "azure":
		if host == "dev.azure.com" {
			return "https://" + host + "/" + strings.Split(path, "/_git/")[0] + "/_library"
		}
	}
	return ""
}
