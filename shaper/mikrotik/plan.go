package mikrotik

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"zonegate"
	"zonegate/shaper"
)

const (
	parentName    = "zonegate-link"
	parentComment = commentPrefix + "link"
	// keepalive is how long a device may be silent before the hotspot forgets
	// it; a sleeping phone answers nothing.
	keepalive     = "15m"
	keepaliveTime = 15 * time.Minute
	// keepUnused is how many rates may stay on the router that nobody has now.
	keepUnused = 16
)

// committed says whether a rate needs a queue of its own.
func committed(r zonegate.Rate) bool { return r.CIRUp != 0 || r.CIRDown != 0 }

// shared says whether a rate is kept by two queues that all its buyers share.
func shared(r zonegate.Rate) bool { return !committed(r) && (r.MIRUp != 0 || r.MIRDown != 0) }

// rateName names the shared queues of a rate.
func rateName(r zonegate.Rate) string {
	return namePrefix + strconv.FormatUint(r.MIRUp, 10) + "-" + strconv.FormatUint(r.MIRDown, 10)
}

// profileName names the profile of a grant: what it shares out, and to how
// many devices.
func profileName(r zonegate.Rate, devices int) string {
	name := namePrefix + "own"
	if shared(r) {
		name = rateName(r)
	}
	return name + "-x" + strconv.Itoa(devices)
}

// ensureProfile makes sure that a grant's profile and what it refers to is
// there, and returns its name.
func (r *Router) ensureProfile(ctx context.Context, rate zonegate.Rate, devices int) (string, error) {
	name := profileName(rate, devices)
	list := ""
	if shared(rate) {
		list = rateName(rate)
		if err := r.ensureShared(ctx, rate); err != nil {
			return "", err
		}
	}
	words := []string{"=shared-users=" + strconv.Itoa(devices), "=address-list=" + list}
	p, ok := r.router.profiles[name]
	if ok && p["shared-users"] == strconv.Itoa(devices) && p["address-list"] == list && !edited(p) {
		return name, nil
	}
	if ok {
		words = append(words, "=rate-limit=", "=session-timeout=0s",
			"=keepalive-timeout="+keepalive, "=idle-timeout=none", "=add-mac-cookie=no")
		if err := r.line.set(ctx, menuProfile, p.id(), words...); err != nil {
			return "", fmt.Errorf("mending profile %s: %w", name, err)
		}
	} else {
		// No cookie: only we let devices in.
		id, err := r.line.add(ctx, menuProfile, append(words, "=name="+name,
			"=keepalive-timeout="+keepalive, "=idle-timeout=none", "=add-mac-cookie=no", "=transparent-proxy=no")...)
		if err != nil && !isDuplicate(err) {
			return "", fmt.Errorf("adding profile %s: %w", name, err)
		}
		p = row{".id": id}
	}
	p = row{".id": p.id(), "name": name, "keepalive-timeout": keepalive}
	p["shared-users"], p["address-list"] = strconv.Itoa(devices), list
	r.router.profiles[name] = p
	return name, nil
}

// edited says whether somebody gave a profile of ours limits of its own.
func edited(p row) bool {
	return p["rate-limit"] != "" || p.is("add-mac-cookie") || p.duration("session-timeout") != 0 ||
		p.duration("idle-timeout") != 0 || p["keepalive-timeout"] != "" && p.duration("keepalive-timeout") != keepaliveTime
}

// ensureShared makes sure of the queues that all buyers of a rate share: one
// rule, one queue type and one queue for each direction.
func (r *Router) ensureShared(ctx context.Context, rate zonegate.Rate) error {
	base := rateName(rate)
	for _, d := range []struct {
		way, classifier, list string
		bits                  uint64
	}{
		{"-up", "src-address", "src-address-list", rate.MIRUp},
		{"-down", "dst-address", "dst-address-list", rate.MIRDown},
	} {
		name := base + d.way
		key := "rate:" + strings.TrimPrefix(name, namePrefix)
		if t, ok := r.router.types[name]; !ok || bits(t["pcq-rate"]) != d.bits {
			id, err := r.ensure(ctx, menuType, t, "=name="+name, "=kind=pcq",
				"=pcq-rate="+strconv.FormatUint(d.bits, 10), "=pcq-classifier="+d.classifier)
			if err != nil {
				return err
			}
			r.router.types[name] = row{".id": id, "name": name, "pcq-rate": strconv.FormatUint(d.bits, 10)}
		}
		if t, ok := r.router.trees[key]; !ok || t["packet-mark"] != name || t["queue"] != name || t.is("disabled") {
			id, err := r.ensure(ctx, menuTree, t, "=name="+name, "=parent=global", "=packet-mark="+name,
				"=queue="+name, "=disabled=no", "=comment="+commentPrefix+key)
			if err != nil {
				return err
			}
			r.router.trees[key] = row{".id": id, "packet-mark": name, "queue": name}
		}
		if m, ok := r.router.rules[key]; !ok || m["new-packet-mark"] != name || m[d.list] != base || m.is("disabled") {
			id, err := r.ensure(ctx, menuMangle, m, "=chain=forward", "=action=mark-packet", "=new-packet-mark="+name,
				"="+d.list+"="+base, "=passthrough=no", "=disabled=no", "=comment="+commentPrefix+key)
			if err != nil {
				return err
			}
			r.router.rules[key] = row{".id": id, "new-packet-mark": name, d.list: base}
		}
	}
	return nil
}

// ensure sets an object that is there, or adds it. It returns the id, empty if
// somebody else has added one meanwhile.
func (r *Router) ensure(ctx context.Context, menu string, there row, words ...string) (string, error) {
	if id := there.id(); id != "" {
		if err := r.line.set(ctx, menu, id, words...); err != nil {
			return "", fmt.Errorf("mending %s: %w", menu, err)
		}
		return id, nil
	}
	id, err := r.line.add(ctx, menu, words...)
	if err != nil && !isDuplicate(err) {
		return "", fmt.Errorf("adding to %s: %w", menu, err)
	}
	return id, nil
}

// ensureParent makes sure of the queue above the grants' own: the link.
func (r *Router) ensureParent(ctx context.Context) error {
	most := pace{r.conf.LinkUp, r.conf.LinkDown}
	p := r.router.parent
	if p != nil && parsePace(p["max-limit"]) == most && p["target"] == r.router.ifname && !p.is("disabled") {
		return nil
	}
	if r.router.ifname == "" {
		return r.noServer()
	}
	words := []string{"=target=" + r.router.ifname, "=max-limit=" + most.String(), "=disabled=no", "=comment=" + parentComment}
	name := parentName
	if p != nil {
		name = p["name"]
	}
	id, err := r.ensure(ctx, menuQueue, p, append(words, "=name="+name)...)
	if err != nil {
		return err
	}
	r.router.parent = row{".id": id, "name": name, "max-limit": most.String(), "target": r.router.ifname}
	return nil
}

// ensureQueue gives a grant's queue its devices and rates. Without a device
// there is none.
func (r *Router) ensureQueue(ctx context.Context, g *grant) error {
	var targets []string
	for _, x := range g.sessions {
		if x.at.inside.IsValid() && !g.spent {
			targets = append(targets, x.at.inside.String()+"/32")
		}
	}
	if !committed(g.rate) || len(targets) == 0 {
		return r.dropQueue(ctx, g)
	}
	if err := r.ensureParent(ctx); err != nil {
		return err
	}
	sort.Strings(targets)
	want := queue{
		id: g.queue.id, targets: strings.Join(targets, ","), parent: r.router.parent["name"],
		limitAt: r.commitment(g.rate), maxLimit: pace{g.rate.MIRUp, g.rate.MIRDown},
	}
	if g.queue.same(want) {
		return nil
	}
	words := []string{
		"=target=" + want.targets, "=parent=" + want.parent, "=limit-at=" + want.limitAt.String(),
		"=max-limit=" + want.maxLimit.String(), "=disabled=no", "=comment=" + grantComment(g.id),
	}
	if want.id != "" {
		if err := r.line.set(ctx, menuQueue, want.id, words...); err != nil {
			return fmt.Errorf("setting the queue of grant %d: %w", g.id, err)
		}
	} else {
		id, err := r.line.add(ctx, menuQueue, append(words, "=name="+userName(g.id))...)
		if isDuplicate(err) {
			if id, err = r.named(ctx, menuQueue, userName(g.id)); err == nil {
				err = r.line.set(ctx, menuQueue, id, words...)
			}
		}
		if err != nil {
			return fmt.Errorf("adding the queue of grant %d: %w", g.id, err)
		}
		want.id = id
	}
	g.queue = want
	return nil
}

// same compares what counts; the router lists targets in its own order.
func (q queue) same(want queue) bool {
	have := strings.Split(q.targets, ",")
	sort.Strings(have)
	q.targets = strings.Join(have, ",")
	return q == want
}

func (r *Router) dropQueue(ctx context.Context, g *grant) error {
	if g.queue.id == "" {
		return nil
	}
	if err := r.line.remove(ctx, menuQueue, g.queue.id); err != nil {
		return fmt.Errorf("removing the queue of grant %d: %w", g.id, err)
	}
	g.queue = queue{}
	return nil
}

// named returns the id of the object with a name.
func (r *Router) named(ctx context.Context, menu, name string) (string, error) {
	list, err := r.line.print(ctx, menu, ".id,name", "?name="+name)
	if err != nil {
		return "", err
	}
	for _, x := range list {
		if x["name"] == name {
			return x.id(), nil
		}
	}
	return "", fmt.Errorf("the router says that %s is there and does not list it", name)
}

// commitment is a rate's committed part as scaled now.
func (r *Router) commitment(rate zonegate.Rate) pace {
	part := func(cir, mir uint64, scale float64) uint64 {
		n := uint64(float64(cir) * scale)
		if mir != 0 {
			n = min(n, mir)
		}
		return n
	}
	return pace{part(rate.CIRUp, rate.MIRUp, r.scale.up), part(rate.CIRDown, rate.MIRDown, r.scale.down)}
}

// scales are the factors of committed rates.
type scales struct{ up, down float64 }

// tidyShapes removes profiles and shared queues that nobody has, if they are
// many.
func (r *Router) tidyShapes(ctx context.Context) error {
	inUse := map[string]bool{}
	for _, g := range r.grants {
		inUse[g.profile] = true
		if shared(g.rate) {
			inUse[rateName(g.rate)] = true
		}
		inUse[profileName(g.rate, g.devices)] = true
	}
	var unused []string
	for name := range r.router.profiles {
		if !inUse[name] {
			unused = append(unused, name)
		}
	}
	if len(unused) <= keepUnused {
		return nil
	}
	sort.Strings(unused)
	var errs []error
	drop := func(menu string, from map[string]row, key string) {
		if x, ok := from[key]; ok && x.id() != "" {
			if err := r.line.remove(ctx, menu, x.id()); err != nil {
				errs = append(errs, fmt.Errorf("removing from %s: %w", menu, err))
				return
			}
			delete(from, key)
		}
	}
	for _, name := range unused {
		drop(menuProfile, r.router.profiles, name)
		i := strings.LastIndex(name, "-x")
		if i < 0 || inUse[name[:i]] {
			continue
		}
		rate := strings.TrimPrefix(name[:i], namePrefix)
		for _, way := range []string{"-up", "-down"} {
			drop(menuMangle, r.router.rules, "rate:"+rate+way)
			drop(menuTree, r.router.trees, "rate:"+rate+way)
			drop(menuType, r.router.types, namePrefix+rate+way)
		}
	}
	return errors.Join(errs...)
}

// link returns the factors that fit the active grants' commitments into the
// link.
func (r *Router) link(up, down uint64) scales {
	s := scales{1, 1}
	if r.conf.LinkUp != 0 {
		s.up = shaper.Scale(r.conf.LinkUp, up)
	}
	if r.conf.LinkDown != 0 {
		s.down = shaper.Scale(r.conf.LinkDown, down)
	}
	return s
}
