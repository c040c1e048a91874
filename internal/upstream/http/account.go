// SPDX-License-Identifier: Apache-2.0

package recipe

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Interrupts reports whether sign-ins are refused between applying and delivery.
func (c *Compiled) Interrupts() bool { return c.Kind.Capability == "overwrite" }

// CheckURL reports what is wrong with a base address.
func CheckURL(text string) error {
	_, err := parseBase(text)
	return err
}

// CheckEndpoints reports what is wrong with the further addresses that a document gives, and which are missing.
func (c *Compiled) CheckEndpoints(given map[string]string) error {
	_, err := c.bases("https://example.org", given)
	return err
}

// CheckParameters reports what is wrong with parameters: unknown ones, wrong types, and those missing. With part, those
// missing may come from elsewhere.
func (c *Compiled) CheckParameters(given map[string]any, part bool) error {
	var faults []error
	for _, name := range sortedKeys(given) {
		p, known := c.Parameters[name]
		if !known {
			faults = append(faults, fmt.Errorf("the recipe has no parameter %s", name))
			continue
		}
		if _, err := p.check(name, given[name], c.patterns[name]); err != nil {
			faults = append(faults, err)
		}
	}
	for _, name := range sortedKeys(c.Parameters) {
		if _, there := given[name]; !there && c.Parameters[name].Required && !part {
			faults = append(faults, fmt.Errorf("the parameter %s is missing", name))
		}
	}
	return errors.Join(faults...)
}

// bases are the addresses by endpoint; "" is the Upstream's own.
func (c *Compiled) bases(own string, given map[string]string) (map[string]*url.URL, error) {
	out := map[string]*url.URL{}
	base, err := parseBase(own)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	out[""] = base
	for _, name := range sortedKeys(given) {
		if _, known := c.Endpoints[name]; !known {
			return nil, fmt.Errorf("the recipe has no endpoint %s", name)
		}
	}
	for _, name := range sortedKeys(c.Endpoints) {
		text := c.Endpoints[name].URL
		if given[name] != "" {
			text = given[name]
		}
		if text == "" {
			return nil, fmt.Errorf("the endpoint %s is missing: %s", name, c.Endpoints[name].Means)
		}
		if out[name], err = parseBase(text); err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", name, err)
		}
	}
	return out, nil
}

// parameters are what expressions see of those given, with defaults.
func (c *Compiled) parameters(given map[string]any) (values, error) {
	if err := c.CheckParameters(given, false); err != nil {
		return nil, err
	}
	out := values{}
	for name, p := range c.Parameters {
		value, there := given[name]
		if !there {
			value = p.Default
		}
		if value == nil {
			out["params."+name] = zero(p.Type)
			continue
		}
		checked, err := p.check(name, value, c.patterns[name])
		if err != nil {
			return nil, err
		}
		out["params."+name] = checked
	}
	return out, nil
}

// zero is what a parameter that is not given reads as.
func zero(kind string) any {
	switch kind {
	case "number":
		return int64(0)
	case "boolean":
		return false
	case "list":
		return []string{}
	}
	return ""
}

// Account names the account that parameters mean, in one way, where one secret alone may have it; "" where several may,
// and for parameters that are wrong or missing.
func (c *Compiled) Account(given map[string]any) string {
	all, err := c.parameters(given)
	if !c.exclusive || err != nil {
		return ""
	}
	names := c.identity()
	if len(names) == 0 {
		names = sortedKeys(c.Parameters)
	}
	var b strings.Builder
	b.WriteString("account")
	for _, name := range names {
		switch value := all["params."+name].(type) {
		case string, []string:
			fmt.Fprintf(&b, " %s=%q", name, value)
		default:
			fmt.Fprintf(&b, " %s=%v", name, value)
		}
	}
	return b.String()
}

// identity lists the parameters that say which account is meant; none when all of them do together.
func (c *Compiled) identity() []string {
	return slices.DeleteFunc(sortedKeys(c.Parameters), func(name string) bool { return !c.Parameters[name].Account })
}
