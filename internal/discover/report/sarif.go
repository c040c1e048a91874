// SPDX-License-Identifier: Apache-2.0

// Package report writes what custody discover found for other readers: SARIF for code scanning, and a page of HTML. Neither
// has values: what it is given has none.
package report

import (
	"encoding/json"
	"fmt"
	"io"

	"custody.dev/custody/internal/discover"
	"custody.dev/custody/internal/discover/clue"
)

type text struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID    string `json:"id"`
	Short text   `json:"shortDescription"`
	Help  text   `json:"help"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLocation struct {
	Physical struct {
		Artifact struct {
			URI  string `json:"uri"`
			Base string `json:"uriBaseId"`
		} `json:"artifactLocation"`
		Region sarifRegion `json:"region"`
	} `json:"physicalLocation"`
	Message text `json:"message"`
}

type sarifResult struct {
	Rule         string            `json:"ruleId"`
	Level        string            `json:"level"`
	Message      text              `json:"message"`
	Locations    []sarifLocation   `json:"locations"`
	Related      []sarifLocation   `json:"relatedLocations,omitempty"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Properties   map[string]string `json:"properties,omitempty"`
}

var levels = map[discover.Level]string{discover.High: "error", discover.Medium: "warning", discover.Low: "note"}

// SARIF writes a result for each risk of each secret, in SARIF 2.1.0. Fingerprints are made of names and places, so that they
// are the same in the next scan, which digests are not.
func SARIF(w io.Writer, a *discover.Answer, version string) error {
	var rules []sarifRule
	for _, r := range discover.Rules {
		rules = append(rules, sarifRule{r.ID, text{r.Text}, text{r.Fix}})
	}
	results := []sarifResult{}
	for _, secret := range a.Secrets {
		for _, risk := range secret.Risks {
			results = append(results, result(secret, risk))
		}
	}
	driver := map[string]any{"name": "custody discover", "semanticVersion": version, "rules": rules}
	log := map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
		"runs": []any{map[string]any{"tool": map[string]any{"driver": driver}, "results": results, "columnKind": "utf16CodeUnits"}},
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(log); err != nil {
		return fmt.Errorf("writing SARIF: %w", err)
	}
	return nil
}

func result(secret discover.Secret, risk discover.Risk) sarifResult {
	r := sarifResult{Rule: risk.Rule, Level: levels[risk.Level], Message: text{secret.Name + " (" + secret.Kind + "): " + risk.Text}}
	if secret.Owner.Name != "" {
		r.Properties = map[string]string{"owner": secret.Owner.Name}
	}
	for _, places := range [][]discover.Place{secret.Holders, secret.Origins, secret.Consumers} {
		for _, p := range places {
			at := location(p)
			wanted := p.Role == clue.Holds && (risk.Rule != "in-history" || p.Commit != "")
			if len(r.Locations) == 0 && (wanted || len(secret.Holders) == 0) {
				r.Locations = append(r.Locations, at)
			} else {
				r.Related = append(r.Related, at)
			}
		}
	}
	if len(r.Locations) == 0 && len(r.Related) > 0 {
		r.Locations, r.Related = r.Related[:1], r.Related[1:]
	}
	first := ""
	if len(r.Locations) > 0 {
		first = r.Locations[0].Physical.Artifact.URI
	}
	r.Fingerprints = map[string]string{"custody/v1": risk.Rule + ":" + secret.Name + ":" + first}
	return r
}

func location(p discover.Place) sarifLocation {
	var at sarifLocation
	at.Physical.Artifact.URI, at.Physical.Artifact.Base = p.File, "%SRCROOT%"
	at.Physical.Region.StartLine = max(p.Line, 1)
	at.Message.Text = string(p.Role) + " " + p.Name + ": " + p.Why
	if p.Commit != "" {
		at.Message.Text += ", in commit " + p.Commit
	}
	return at
}
