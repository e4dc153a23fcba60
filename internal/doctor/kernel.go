package doctor

import (
	"context"
	"strings"
)

// A Kernel is the Linux data path.
type Kernel interface {
	// Check examines the machine for what keeps the data path from its work.
	Check(ctx context.Context) ([]Part, error)
	// Table says whether our table and its set of sessions are there.
	Table(ctx context.Context) (bool, error)
	// Leaks asks the kernel what it would route from the customers if our
	// table were not there, and returns the address families that leak.
	Leaks(ctx context.Context) (families []string, err error)
}

const asRoot = "run doctor as root"

func (g *Gateway) machine(ctx context.Context) Finding {
	parts, err := g.Kernel.Check(ctx)
	if err != nil {
		return fail(asRoot, "%v", err)
	}
	if len(parts) == 0 {
		return ok("everything that is needed is there, and nothing in the way")
	}
	return Finding{Status: OK, Parts: parts}
}

func (g *Gateway) table(ctx context.Context) Finding {
	there, err := g.Kernel.Table(ctx)
	switch {
	case err != nil:
		return fail(asRoot, "%v", err)
	case !there:
		return fail("wait a second and look again; if it stays away, something deletes it all the time, such as a firewall that is restarted",
			"it is not there, so nobody is forwarded")
	}
	return ok("present")
}

func (g *Gateway) gate(ctx context.Context) Finding {
	families, err := g.Kernel.Leaks(ctx)
	if err != nil {
		return fail(asRoot, "%v", err)
	}
	if len(families) > 0 {
		return fail("start the daemon; if it runs, see that no routing rule stands before ours: ip rule; ip -6 rule",
			"%s from %s would be routed without our table", strings.Join(families, " and "), g.Settings.LAN)
	}
	return ok("nothing is routed without our table, IPv4 and IPv6")
}
