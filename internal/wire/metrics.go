// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"custody.dev/custody/internal/platform"
)

// metrics serves what an alert needs: how many secrets are in which state, when each ends, what wants a person's eye.
func metrics(p *platform.Platform, s *steps) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{p, s})
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

var (
	readyDesc    = prometheus.NewDesc("custody_ready", "1 when the platform is ready.", nil, nil)
	phaseDesc    = prometheus.NewDesc("custody_phase", "The phase the platform is in, 0 to 4.", nil, nil)
	secretsDesc  = prometheus.NewDesc("custody_secrets", "Secrets by state.", []string{"state"}, nil)
	expiryDesc   = prometheus.NewDesc("custody_secret_expiry_timestamp_seconds", "When the secret's lifetime ends.", []string{"secret"}, nil)
	rotatedDesc  = prometheus.NewDesc("custody_secret_rotated_timestamp_seconds", "When the version of record was made.", []string{"secret"}, nil)
	findingsDesc = prometheus.NewDesc("custody_findings", "Findings that want a person's eye.", nil, nil)
	stepsDesc    = prometheus.NewDesc("custody_run_steps_total", "Steps of runs begun by this process.", []string{"step"}, nil)
)

type collector struct {
	platform *platform.Platform
	steps    *steps
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{readyDesc, phaseDesc, secretsDesc, expiryDesc, rotatedDesc, findingsDesc, stepsDesc} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector. A platform that cannot be asked shows as not ready.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for step, count := range c.steps.snapshot() {
		metrics <- prometheus.MustNewConstMetric(stepsDesc, prometheus.CounterValue, float64(count), string(step))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	status, err := c.platform.Status(ctx)
	if err != nil || c.platform.Ready(ctx) != "" {
		gauge(readyDesc, 0)
		return
	}
	gauge(readyDesc, 1)
	gauge(phaseDesc, float64(status.Standing.Phase))
	gauge(findingsDesc, float64(len(status.Findings)))
	states := map[string]int{}
	for _, row := range status.Secrets {
		states[row.State]++
		if !row.Expires.IsZero() {
			gauge(expiryDesc, float64(row.Expires.Unix()), row.Secret)
		}
		if !row.Rotated.IsZero() {
			gauge(rotatedDesc, float64(row.Rotated.Unix()), row.Secret)
		}
	}
	for state, count := range states {
		gauge(secretsDesc, float64(count), state)
	}
}
