// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"custody.dev/custody/internal/inventory"
)

func TestFilterSurvivesTheWay(t *testing.T) {
	for _, want := range []Filter{{}, {Secret: "a b&c", Owner: "shop", State: "waiting", Findings: true, ExpiresWithin: 36 * time.Hour}} {
		got, err := filterOf(httptest.NewRequestWithContext(t.Context(), "GET", "/v1/inventory"+want.query(), nil))
		if err != nil || got != want {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
	for _, wrong := range []string{"?findings=perhaps", "?expiresWithin=soon", "?expiresWithin=-1h"} {
		if _, err := filterOf(httptest.NewRequestWithContext(t.Context(), "GET", "/v1/inventory"+wrong, nil)); Exit(err) != 2 {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

func TestStreamIsAnArray(t *testing.T) {
	for _, names := range [][]string{nil, {"a"}, {"a", "b", "c"}} {
		var rows []inventory.Row
		for _, name := range names {
			rows = append(rows, inventory.Row{Secret: name})
		}
		answer := httptest.NewRecorder()
		stream(answer, slices.Values(rows))
		var got []inventory.Row
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || got == nil || len(got) != len(rows) {
			t.Errorf("%d rows were written as %s: %v", len(rows), answer.Body, err)
		}
	}
}
