// SPDX-License-Identifier: Apache-2.0

// Package duration parses and formats durations as documents have them: those of Go, with days (d) in addition.
package duration

import (
	"fmt"
	"strconv"
	"time"

	"custody.dev/custody/internal/lazyregexp"
)

const (
	// Day is 24 hours, whatever the calendar says.
	Day = 24 * time.Hour
	// Max bounds every duration: a hundred years of days.
	Max = 36500 * Day
)

var durations = lazyregexp.New(`^(?:([0-9]{1,5})d)?((?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))*)$`)

// Parse reads what time.ParseDuration reads, and days before it: "30d", "1d12h", "90m". A day is 24 hours.
// Negative durations, and those of more than a hundred years, are refused. The error does not quote the text.
func Parse(text string) (time.Duration, error) {
	parts := durations.FindStringSubmatch(text)
	if parts == nil || parts[0] == "" {
		return 0, fmt.Errorf("parsing duration: want a number and a unit such as 30d, 1d12h or 90m")
	}
	var total time.Duration
	if parts[1] != "" {
		days, err := strconv.Atoi(parts[1])
		if err != nil || days > int(Max/Day) {
			return 0, fmt.Errorf("parsing duration: more than %d days", Max/Day)
		}
		total = time.Duration(days) * Day
	}
	if parts[2] != "" {
		rest, err := time.ParseDuration(parts[2])
		if err != nil || rest > Max {
			return 0, fmt.Errorf("parsing duration: more than %d days", Max/Day)
		}
		total += rest
	}
	if total > Max {
		return 0, fmt.Errorf("parsing duration: more than %d days", Max/Day)
	}
	return total, nil
}

// Format writes d as documents do: whole days first. Parse reads it back.
func Format(d time.Duration) string {
	days, rest := d/Day, d%Day
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
