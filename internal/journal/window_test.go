// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
	"time"
)

func zoned(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestWindowIsOpenForItsDuration(t *testing.T) {
	berlin := zoned(t, "Europe/Berlin")
	saturday := Window{Days: []time.Weekday{time.Saturday}, Start: 22 * time.Hour, Duration: 4 * time.Hour, Zone: "Europe/Berlin"}
	week := Window{Days: []time.Weekday{time.Monday}, Duration: 7 * 24 * time.Hour, Zone: "UTC"}
	for name, c := range map[string]struct {
		windows []Window
		at      time.Time
		want    bool
	}{
		"no windows":           {nil, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), true},
		"before the start":     {[]Window{saturday}, time.Date(2030, 1, 5, 21, 59, 59, 0, berlin), false},
		"at the start":         {[]Window{saturday}, time.Date(2030, 1, 5, 22, 0, 0, 0, berlin), true},
		"past midnight":        {[]Window{saturday}, time.Date(2030, 1, 6, 1, 59, 0, 0, berlin), true},
		"at the end":           {[]Window{saturday}, time.Date(2030, 1, 6, 2, 0, 0, 0, berlin), false},
		"in another zone":      {[]Window{saturday}, time.Date(2030, 1, 5, 21, 30, 0, 0, time.UTC), true},
		"on another day":       {[]Window{saturday}, time.Date(2030, 1, 4, 23, 0, 0, 0, berlin), false},
		"all week":             {[]Window{week}, time.Date(2030, 1, 6, 23, 59, 0, 0, time.UTC), true},
		"a zone that is gone":  {[]Window{{Duration: time.Hour, Zone: "Europe/Atlantis"}}, time.Date(2030, 1, 5, 0, 30, 0, 0, time.UTC), false},
		"the second of two":    {[]Window{saturday, week}, time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC), true},
		"a day in spring more": {[]Window{{Days: []time.Weekday{time.Saturday}, Start: 12 * time.Hour, Duration: 24 * time.Hour, Zone: "Europe/Berlin"}}, time.Date(2030, 3, 31, 12, 30, 0, 0, berlin), true},
	} {
		policy := Policy{Windows: c.windows}
		if got := policy.Open(c.at); got != c.want {
			t.Errorf("%s: open %v, want %v", name, got, c.want)
		}
	}
}

// A start that the zone's clock skips or shows twice was moved back by an hour in some zones, to the day before, and was the first of
// two in America and the second in Europe.
func TestWindowBeginsOnceWhereTheClockChanges(t *testing.T) {
	for name, c := range map[string]struct {
		zone  string
		start time.Duration
		day   time.Time // in the zone, at any hour
		want  string    // when it begins, in UTC
	}{
		"skipped, east":                 {"Europe/Berlin", 150 * time.Minute, time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), "2026-03-29T01:30:00Z"},
		"skipped, west":                 {"America/New_York", 150 * time.Minute, time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC), "2026-03-08T07:30:00Z"},
		"skipped at midnight, west":     {"America/Santiago", 30 * time.Minute, time.Date(2026, 9, 6, 0, 0, 0, 0, time.UTC), "2026-09-06T04:30:00Z"},
		"skipped at midnight, east":     {"Africa/Cairo", 30 * time.Minute, time.Date(2026, 4, 24, 0, 0, 0, 0, time.UTC), "2026-04-23T22:30:00Z"},
		"skipped by half an hour":       {"Australia/Lord_Howe", 135 * time.Minute, time.Date(2026, 10, 4, 0, 0, 0, 0, time.UTC), "2026-10-03T15:45:00Z"},
		"twice, east":                   {"Europe/Berlin", 150 * time.Minute, time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), "2026-10-25T00:30:00Z"},
		"twice, west":                   {"America/New_York", 90 * time.Minute, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), "2026-11-01T05:30:00Z"},
		"after what is shown twice":     {"Europe/Berlin", 210 * time.Minute, time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), "2026-10-25T02:30:00Z"},
		"no change":                     {"Asia/Kolkata", 150 * time.Minute, time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), "2026-03-28T21:00:00Z"},
		"the leap day":                  {"Europe/Berlin", 90 * time.Minute, time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC), "2028-02-29T00:30:00Z"},
		"the day after":                 {"UTC", 0, time.Date(2028, 3, 1, 0, 0, 0, 0, time.UTC), "2028-03-01T00:00:00Z"},
		"no leap day in a hundred":      {"UTC", 0, time.Date(2100, 3, 1, 0, 0, 0, 0, time.UTC), "2100-03-01T00:00:00Z"},
		"a day that the calendar skips": {"Pacific/Apia", 10 * time.Hour, time.Date(2011, 12, 30, 0, 0, 0, 0, time.UTC), "2011-12-30T20:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := time.Parse(time.RFC3339, c.want)
			if err != nil {
				t.Fatal(err)
			}
			policy := Policy{Windows: []Window{{Days: []time.Weekday{c.day.Weekday()}, Start: c.start, Duration: time.Hour, Zone: c.zone}}}
			if got := policy.Opens(want.Add(-36 * time.Hour)); !got.Equal(want) {
				t.Errorf("it opens at %s, want %s", got.UTC().Format(time.RFC3339), c.want)
			}
			for after, open := range map[time.Duration]bool{-time.Second: false, 0: true, time.Hour - time.Second: true, time.Hour: false} {
				if got := policy.Open(want.Add(after)); got != open {
					t.Errorf("%s after its start: open %v, want %v", after, got, open)
				}
			}
			if got := policy.Begins(want.Add(30 * time.Minute)); !got.Equal(want.Add(30 * time.Minute)) {
				t.Errorf("a run that is due within it begins at %s", got)
			}
			if next := policy.Opens(want); next.Sub(want) < 6*24*time.Hour || next.Sub(want) > 8*24*time.Hour {
				t.Errorf("it opens again at %s", next.UTC().Format(time.RFC3339))
			}
		})
	}
}

// Over a whole year, every window that opens is open then and closed just before, and there are as many as days.
func TestWindowsOfAYear(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Kolkata"} {
		for _, start := range []time.Duration{0, 30 * time.Minute, 150 * time.Minute, 23*time.Hour + 30*time.Minute} {
			policy := Policy{Windows: []Window{{Start: start, Duration: 20 * time.Minute, Zone: zone}}}
			from := time.Date(2027, 12, 31, 12, 0, 0, 0, time.UTC)
			count := 0
			for at := policy.Opens(from); at.Before(from.AddDate(1, 0, 0)); at = policy.Opens(at) {
				if !policy.Open(at) || policy.Open(at.Add(-time.Second)) || policy.Open(at.Add(20*time.Minute)) {
					t.Fatalf("%s, %s after midnight: not open from %s for 20m", zone, start, at)
				}
				count++
			}
			if count != 366 {
				t.Errorf("%s, %s after midnight: it opens %d times in a leap year, want 366", zone, start, count)
			}
		}
	}
}
