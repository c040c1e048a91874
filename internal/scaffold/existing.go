// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"slices"
	"strings"

	"custody.dev/custody/api/v1alpha1"
)

// Existing is what an estate has, as far as adding to it needs to know. The estate need not lint.
type Existing struct {
	Environments []string
	// Names are taken by documents, Paths by values.
	Names, Paths map[string]bool
	// Notes are the annotations of one name, by secret, in lines.
	Notes map[string][]string
	// Upstreams are the secrets whose documents name an upstream.
	Upstreams map[string]bool
	// Static is the first policy that rotates nothing by itself, "" where there is none.
	Static string
}

// Exists reads an estate for whoever adds to it.
func Exists(estate, annotation string) (Existing, error) {
	found := Existing{Names: map[string]bool{}, Paths: map[string]bool{}, Notes: map[string][]string{}, Upstreams: map[string]bool{}}
	sketches, err := sketchesOf(estate)
	if err != nil {
		return Existing{}, err
	}
	var static []string
	for _, d := range sketches {
		found.Names[d.Metadata.Name] = true
		switch d.Kind {
		case v1alpha1.KindPlatform:
			found.Environments = d.Spec.Environments
		case v1alpha1.KindRotationPolicy:
			if d.Spec.RotationType == "static" {
				static = append(static, d.Metadata.Name)
			}
		case v1alpha1.KindManagedSecret:
			found.Paths[d.Spec.Path] = true
			found.Upstreams[d.Metadata.Name] = d.Spec.Rotation != nil && d.Spec.Rotation.UpstreamRef != ""
			for line := range strings.Lines(d.Metadata.Annotations[annotation]) {
				found.Notes[d.Metadata.Name] = append(found.Notes[d.Metadata.Name], strings.TrimSpace(line))
			}
		}
	}
	if len(static) > 0 {
		found.Static = slices.Min(static)
	}
	return found, nil
}
