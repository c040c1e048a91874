// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"custody.dev/custody/internal/outward"
	"custody.dev/custody/internal/platform"
)

const (
	// summaryEvery is how often what the metrics say is put together when nothing happens, summaryGap the least time between two,
	// which is summaryShare times as long as one took where that is longer.
	summaryEvery = 30 * time.Second
	summaryGap   = 5 * time.Second
	summaryShare = 20
	summaryLimit = time.Minute
)

// watchStatus puts together what the metrics say until stop comes, and ends soon after it: whoever may read the metrics, which
// is everybody on the machine, must not be able to have documents decrypted and the journal read.
func (p *parts) watchStatus(stop context.Context) {
	for stop.Err() == nil {
		began, changes := Now(), p.model.Changes()
		_, err := outward.Do(stop, p.calls, outward.Call{Part: "the summary", Limit: summaryLimit}, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, p.platform.Summarise(ctx)
		})
		if err != nil && stop.Err() == nil {
			p.log.Error("putting the metrics together", "error", err)
		}
		p.tell(stop)
		select {
		case <-stop.Done():
		case <-time.After(max(summaryGap, summaryShare*Now().Sub(began))):
		}
		due := time.After(summaryEvery - summaryGap)
		for again := false; !again; {
			select {
			case <-stop.Done():
				again = true
			case <-p.looked: // with very many secrets there always is one
				again = p.model.Changes() != changes
			case <-due:
				again = true
			}
		}
	}
}

// metrics serves what an alert needs: how many secrets are in which state, when each ends, what wants a person's eye. A scrape
// asks nothing: it shows the newest summary.
func metrics(p *platform.Platform, s *steps, hooks []*eventHook) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{p, s, hooks})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

var (
	readyDesc       = prometheus.NewDesc("custody_ready", "1 when the platform is ready.", nil, nil)
	phaseDesc       = prometheus.NewDesc("custody_phase", "The phase the platform is in, 0 to 4.", nil, nil)
	secretsDesc     = prometheus.NewDesc("custody_secrets", "Secrets by state.", []string{"state"}, nil)
	expiryDesc      = prometheus.NewDesc("custody_secret_expiry_timestamp_seconds", "When the secret's lifetime ends.", []string{"secret"}, nil)
	endingDesc      = prometheus.NewDesc("custody_secret_ending", "1 for a secret whose lifetime ends soon, and that no rotation replaces before.", []string{"secret"}, nil)
	rotatedDesc     = prometheus.NewDesc("custody_secret_rotated_timestamp_seconds", "When the current version was made.", []string{"secret"}, nil)
	findingsDesc    = prometheus.NewDesc("custody_findings", "Findings that want a person's eye.", nil, nil)
	reasonsDesc     = prometheus.NewDesc("custody_reasons", "Waits and findings by the code of their reason; class says who ends one: normal, fault or person.", []string{"code", "class"}, nil)
	summaryDesc     = prometheus.NewDesc("custody_summary_timestamp_seconds", "When the metrics of secrets, findings and the phase were last updated.", nil, nil)
	backupDesc      = prometheus.NewDesc("custody_backup_timestamp_seconds", "When the last good backup in the folder of the host file was begun; left out where none is known.", nil, nil)
	stepsDesc       = prometheus.NewDesc("custody_run_steps_total", "Steps of runs begun by this process.", []string{"step"}, nil)
	revokedDesc     = prometheus.NewDesc("custody_compromise_revocation_seconds", "How long it took from the report of the last compromise until the old credential was refused.", []string{"secret"}, nil)
	hooksDesc       = prometheus.NewDesc("custody_webhook_deliveries_total", "Deliveries to webhooks: accepted, unsigned (or too old), limited, refused, malformed or failed.", []string{"webhook", "result"}, nil)
	fetchedDesc     = prometheus.NewDesc("custody_estate_fetched_timestamp_seconds", "When the branch of the estate was last fetched; left out where the estate is read from a folder, or was not fetched yet.", nil, nil)
	agentDesc       = prometheus.NewDesc("custody_agent_connected", "1 while the agent of a machine that has consumers is connected, else 0.", []string{"machine"}, nil)
	compromisedDesc = prometheus.NewDesc("custody_compromised_timestamp_seconds", "When a compromise was reported whose old credential is not refused yet.", []string{"secret"}, nil)
)

type collector struct {
	platform *platform.Platform
	steps    *steps
	hooks    []*eventHook
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{readyDesc, phaseDesc, secretsDesc, expiryDesc, endingDesc, rotatedDesc, findingsDesc, reasonsDesc, summaryDesc, backupDesc, stepsDesc, revokedDesc, compromisedDesc, hooksDesc, fetchedDesc, agentDesc} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for step, count := range c.steps.snapshot() {
		metrics <- prometheus.MustNewConstMetric(stepsDesc, prometheus.CounterValue, float64(count), string(step))
	}
	for _, hook := range c.hooks {
		for result, count := range hook.counted() {
			metrics <- prometheus.MustNewConstMetric(hooksDesc, prometheus.CounterValue, float64(count), hook.spec.Name, result)
		}
	}
	ready := 0.0
	if c.platform.Ready(context.Background()) == "" {
		ready = 1
	}
	gauge(readyDesc, ready)
	if backups := c.platform.Backups; backups != nil {
		if last := backups.Last(); !last.IsZero() {
			gauge(backupDesc, float64(last.Unix()))
		}
	}
	if source := c.platform.Source; source != nil {
		if fetched := source.Standing().Fetched; !fetched.IsZero() {
			gauge(fetchedDesc, float64(fetched.Unix()))
		}
	}
	for machine, connected := range c.platform.Connected() {
		is := 0.0
		if connected {
			is = 1
		}
		gauge(agentDesc, is, machine)
	}
	summary := c.platform.Summary()
	if summary == nil {
		return
	}
	gauge(summaryDesc, float64(summary.At.Unix()))
	gauge(phaseDesc, float64(summary.Phase))
	gauge(findingsDesc, float64(summary.Findings))
	for _, secret := range summary.Ends {
		if !secret.Expires.IsZero() {
			gauge(expiryDesc, float64(secret.Expires.Unix()), secret.Secret)
		}
		if secret.Ending {
			gauge(endingDesc, 1, secret.Secret)
		}
		if !secret.Rotated.IsZero() {
			gauge(rotatedDesc, float64(secret.Rotated.Unix()), secret.Secret)
		}
	}
	for secret, took := range summary.Revoked {
		gauge(revokedDesc, took.Seconds(), secret)
	}
	for secret, at := range summary.Compromised {
		gauge(compromisedDesc, float64(at.Unix()), secret)
	}
	for code, count := range summary.Reasons {
		gauge(reasonsDesc, float64(count), string(code), string(code.Class()))
	}
	for state, count := range summary.States {
		gauge(secretsDesc, float64(count), state)
	}
}
