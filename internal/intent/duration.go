// SPDX-License-Identifier: Apache-2.0

package intent

import (
	"fmt"
	"strconv"
	"time"

	"custody.dev/custody/internal/lazyregexp"
)

const (
	day = 24 * time.Hour
	// maxDuration bounds every duration: a hundred years of days.
	maxDuration = 36500 * day
)

var durations = lazyregexp.New(`^(?:([0-9]{1,5})d)?((?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))*)$`)

// ParseDuration reads what time.ParseDuration reads, and days before it: "30d", "1d12h", "90m". A day is 24 hours.
// Negative durations, and those of more than a hundred years, are refused. The error does not quote the text.
func ParseDuration(text string) (time.Duration, error) {
	parts := durations.FindStringSubmatch(text)
	if parts == nil || parts[0] == "" {
		return 0, fmt.Errorf("parsing duration: want a number and a unit such as 30d, 1d12h or 90m")
	}
	var total time.Duration
	if parts[1] != "" {
		days, err := strconv.Atoi(parts[1])
		if err != nil || days > int(maxDuration/day) {
			return 0, fmt.Errorf("parsing duration: more than %d days", maxDuration/day)
		}
		total = time.Duration(days) * day
	}
	if parts[2] != "" {
		rest, err := time.ParseDuration(parts[2])
		if err != nil || rest > maxDuration {
			return 0, fmt.Errorf("parsing duration: more than %d days", maxDuration/day)
		}
		total += rest
	}
	if total > maxDuration {
		return 0, fmt.Errorf("parsing duration: more than %d days", maxDuration/day)
	}
	return total, nil
}

// FormatDuration writes d as documents do: whole days first. ParseDuration reads it back.
func FormatDuration(d time.Duration) string {
	days, rest := d/day, d%day
	switch {
	case days == 0:
		return short(rest)
	case rest == 0:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%s", days, short(rest))
}

// short drops the zero units at the end of what time.Duration prints.
func short(d time.Duration) string {
	text := d.String()
	switch {
	case d == 0:
		return "0s"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return text[:len(text)-len("0s")]
	}
	return text
}
