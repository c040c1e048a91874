// SPDX-License-Identifier: Apache-2.0

// Package alert writes alerting rules for Prometheus, from the catalogue of reasons. The metrics that they read are those of
// internal/wire.
package alert

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"custody.dev/custody/internal/reason"
)

// rule is one alert. Its fields are those of Prometheus.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

type group struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

// Severities: what cannot wait, what somebody should look at today, and what may wait for a week.
const (
	critical = "critical"
	warning  = "warning"
	info     = "info"
)

const header = `# Alerting rules for Custody, printed by: custody metrics rules
# One rule for each reason for which a person is needed or a part does not work. Print them again after an update.
`

// Rules are all rules, as a file of Prometheus.
func Rules() []byte {
	groups := []group{{"custody", platform()}, {"custody-person", of(reason.Person, "15m", warning)}, {"custody-fault", of(reason.Fault, "1h", info)}}
	data, err := yaml.Marshal(map[string][]group{"groups": groups})
	if err != nil {
		panic(err) // strings and maps of them
	}
	return append([]byte(header), data...)
}

// urgent are the reasons that cannot wait: a consumer is refused, or will be before anybody reads a warning.
var urgent = []reason.Code{reason.ValueRefused, reason.LifetimeEnded, reason.AdminRefused, reason.ValueGone, reason.RecordDoubtful}

// of are the rules of all reasons of a class.
func of(class reason.Class, lasts, severity string) (rules []rule) {
	for _, row := range reason.Catalogue() {
		if row.Class != class {
			continue
		}
		how := severity
		for _, code := range urgent {
			if row.Code == code {
				how = critical
			}
		}
		rules = append(rules, rule{
			Alert: name(row.Code), Expr: fmt.Sprintf("custody_reasons{code=%q} > 0", string(row.Code)), For: lasts,
			Labels: map[string]string{"severity": how},
			Annotations: map[string]string{
				"summary":     fmt.Sprintf("Custody: {{ $value }} with %s", row.Code),
				"description": sentence(row.Means) + " " + sentence("What to do: "+row.Move) + " See: custody status.",
			},
		})
	}
	return rules
}

// platform are the rules about the server itself, and about lifetimes.
func platform() []rule {
	one := func(alert, expr, lasts, severity, summary, description string) rule {
		return rule{alert, expr, lasts, map[string]string{"severity": severity}, map[string]string{"summary": summary, "description": description}}
	}
	return []rule{
		one("CustodyAbsent", "absent(custody_ready)", "10m", critical, "Custody serves no metrics",
			"Nothing is rotated while no server runs. Values that were delivered stay valid until they expire. Look at its log, and start it."),
		one("CustodyNotReady", "custody_ready == 0", "10m", critical, "Custody is not ready",
			"/readyz of its loopback address says why."),
		one("CustodySummaryOld", "time() - custody_summary_timestamp_seconds > 900", "5m", warning, "Custody's metrics are old",
			"What the metrics say of secrets has not been put together for 15 minutes: the authority or its disk may not answer. Look at the log."),
		one("CustodySecretExpired", "custody_secret_expiry_timestamp_seconds - time() <= 0", "5m", critical, "Secret {{ $labels.secret }} has expired",
			"Its lifetime ended and nothing replaced it. See: custody explain {{ $labels.secret }}."),
		one("CustodySecretExpiresToday", "custody_secret_expiry_timestamp_seconds - time() < 86400 and custody_secret_expiry_timestamp_seconds - time() > 0 and on(secret) custody_secret_ending == 1", "1h", warning,
			"Secret {{ $labels.secret }} expires within a day", "No rotation comes before. See: custody explain {{ $labels.secret }}."),
	}
}

// name is a code as the name of an alert.
func name(code reason.Code) string {
	var b strings.Builder
	b.WriteString("Custody")
	for word := range strings.SplitSeq(string(code), "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// sentence is Markdown as plain text that ends with a full stop. Templates of Prometheus see no braces in it.
func sentence(markdown string) string {
	text := strings.NewReplacer("`", "", "{{", "{", "}}", "}").Replace(markdown)
	for {
		before, rest, linked := strings.Cut(text, "[")
		words, rest, closed := strings.Cut(rest, "](")
		_, after, ended := strings.Cut(rest, ")")
		if !linked || !closed || !ended {
			break
		}
		text = before + words + after
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
