// SPDX-License-Identifier: Apache-2.0

package journal

import "unique"

// Watch returns the same journal, which tells seen of every entry that it reads or has written. Seen must not keep the entry,
// which the caller may change, nor take long.
func (j *Journal) Watch(seen func(*Entry)) *Journal { return &Journal{j.documents, seen} }

func (j *Journal) saw(entry *Entry) {
	if j.seen != nil {
		j.seen(entry)
	}
}

// After reports whether e was stored later than o, of the same path.
func (e *Entry) After(o *Entry) bool { return e.revision > o.revision }

// Brief is the entry as answers need it: without what only a run needs. It shares nothing with e that anybody changes.
func (e *Entry) Brief() *Entry {
	d := *e
	d.Policy, d.Enforcing, d.Upstream, d.Inputs, d.Formula, d.Changing, d.Taken = nil, "", nil, nil, "", nil, nil
	d.Tombstone, d.Current, d.Checked, d.Expiry, d.Ends, d.Retry, d.Recovery = copied(e.Tombstone), copied(e.Current), copied(e.Checked), copied(e.Expiry), copied(e.Ends), copied(e.Retry), copied(e.Recovery)
	d.Last, d.Live = copied(e.Last), copied(e.Live)
	if d.Live != nil {
		d.Live.Waiting = copied(e.Live.Waiting)
	}
	d.share()
	return &d
}

// share has what is the same in very many entries be in memory once. The entry and what it points to are its own.
func (e *Entry) share() {
	places := e.Places
	if len(places) > 0 {
		e.Places = make([]string, len(places))
	}
	for i, place := range places {
		e.Places[i] = once(place)
	}
	if e.Current != nil {
		e.Current.Incarnation = once(e.Current.Incarnation)
	}
	if last := e.Last; last != nil {
		last.Workflow, last.Result, last.Detail = once(last.Workflow), once(last.Result), once(last.Detail)
		last.Trigger.Kind, last.Trigger.By, last.Trigger.Reason = once(last.Trigger.Kind), once(last.Trigger.By), once(last.Trigger.Reason)
		if e.Current != nil && e.Current.Run == last.Run {
			last.Run = e.Current.Run
		}
	}
}

func once[T ~string](text T) T { return unique.Make(text).Value() }

func copied[T any](v *T) *T {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}
