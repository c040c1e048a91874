// SPDX-License-Identifier: Apache-2.0

package file

import (
	"fmt"
	"os/user"
	"strconv"

	"custody.dev/custody/internal/durable"
)

// LookupOwner resolves a user and a group by name or number; "" is durable.Keep. Numbers need not exist on this host.
func LookupOwner(name, group string) (uid, gid int, err error) {
	uid, err = lookup(name, func(name string) (string, error) {
		found, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return found.Uid, nil
	})
	if err != nil {
		return durable.Keep, durable.Keep, fmt.Errorf("looking up user: %w", err)
	}
	gid, err = lookup(group, func(name string) (string, error) {
		found, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return found.Gid, nil
	})
	if err != nil {
		return durable.Keep, durable.Keep, fmt.Errorf("looking up group: %w", err)
	}
	return uid, gid, nil
}

func lookup(name string, byName func(string) (string, error)) (int, error) {
	if name == "" {
		return durable.Keep, nil
	}
	// The largest number means "leave it" to the kernel, so it is not an owner.
	if number, err := strconv.ParseUint(name, 10, 32); err == nil && number < 1<<32-1 {
		return int(number), nil
	}
	found, err := byName(name)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(found, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q has no numeric id", name)
	}
	return int(number), nil
}
