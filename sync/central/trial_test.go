package central

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zonegate"
	"zonegate/sync/api"
)

func link(down uint64) api.Link { return api.Link{Down: down, Up: 1e6} }

func text(t *testing.T, body any) string {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTrialIsKept(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	seq := h.push(api.KindLink, link(8e6))
	eventually(t, "the setting is on trial", func() bool { return z.central.Status().Trial == zonegate.SettingLink })
	eventually(t, "the setting has effect", func() bool { return z.knobs.get(zonegate.SettingLink) == text(t, link(8e6)) })
	if c := z.readFile(); c.Trial == nil || c.Trial.Seq != seq {
		t.Fatalf("hub.json has the trial %+v", c.Trial)
	}
	h.applied(seq)
	if s := z.central.Status(); s.Trial != "" {
		t.Fatalf("still on trial: %+v", s)
	}
	if v, ok := z.gate.Setting(zonegate.SettingLink); !ok || v != text(t, link(8e6)) {
		t.Fatalf("the journal has %q", v)
	}
	if c := z.readFile(); c.Trial != nil {
		t.Fatal("hub.json still has the trial")
	}
	// The same again needs none.
	z.knobs.set(func(k *knobs) { k.sick = errTest })
	h.applied(h.push(api.KindLink, link(8e6)))
}

// One at a time, and what comes behind waits without being lost.
func TestOneTrialAtATime(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	first := h.push(api.KindLink, link(8e6))
	second := h.push(api.KindGarden, api.Garden{Domains: []string{"*.example.org"}})
	third := h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)})
	eventually(t, "the first is on trial", func() bool { return z.central.Status().Trial == zonegate.SettingLink })
	if z.knobs.get(zonegate.SettingGarden) != "" {
		t.Fatal("two trials at once")
	}
	h.applied(first)
	h.applied(second)
	h.applied(third)
	if got := z.knobs.get(zonegate.SettingGarden); got != `{"domains":["*.example.org"]}` {
		t.Fatalf("the garden is %q", got)
	}
}

func TestTrialIsRolledBack(t *testing.T) {
	for name, harm := range map[string]func(*fakeHub, *zone){
		"the gateway is sick": func(h *fakeHub, z *zone) { z.knobs.set(func(k *knobs) { k.sick = errTest }) },
		"the hub is lost": func(h *fakeHub, z *zone) {
			h.set(func() {
				h.misbehave = func(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) }
			})
			h.drop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			z := joined(t, h)
			before := h.push(api.KindLink, link(8e6))
			h.applied(before)
			seq := h.push(api.KindLink, link(1e6))
			eventually(t, "the second is in effect", func() bool { return z.knobs.get(zonegate.SettingLink) == text(t, link(1e6)) })
			harm(h, z)
			eventually(t, "the first is in effect again", func() bool { return z.knobs.get(zonegate.SettingLink) == text(t, link(8e6)) })
			eventually(t, "the trial is over", func() bool { return z.central.Status().Trial == "" })
			if v, _ := z.gate.Setting(zonegate.SettingLink); v != text(t, link(8e6)) {
				t.Fatalf("the journal has %q", v)
			}
			// The answer survives a restart that comes before the hub does.
			if c := z.readFile(); name == "the hub is lost" && (len(c.Acks) != 1 || c.Acks[0].Outcome != api.RolledBack) {
				t.Fatalf("hub.json has the answers %+v", c.Acks)
			}
			z.stopCentral()
			z.knobs.set(func(k *knobs) { k.sick = nil })
			h.set(func() { h.misbehave = nil })
			z.open()
			z.run()
			if a := h.answer(seq); a.Outcome != api.RolledBack || a.Reason == "" {
				t.Fatalf("the answer is %+v", a)
			}
			eventually(t, "the answer is forgotten", func() bool { return len(z.readFile().Acks) == 0 })
			// It goes on from there.
			h.applied(h.push(api.KindPlan, api.PlanSet{Plan: hubPlan("jour", 1)}))
		})
	}
}

// A setting that cannot be made effective is refused at once.
func TestSettingWithoutEffect(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	z.knobs.set(func(k *knobs) { k.fail[text(t, link(3e6))] = errTest; k.fail[`{"name":"X"}`] = errTest })
	h.applied(h.push(api.KindLink, link(8e6)))
	for _, seq := range []uint64{h.push(api.KindLink, link(3e6)), h.push(api.KindBrand, api.Brand{Name: "X"})} {
		if a := h.answer(seq); a.Outcome != api.Refused || !strings.Contains(a.Reason, "no effect") {
			t.Fatalf("the answer is %+v", a)
		}
	}
	if v, _ := z.gate.Setting(zonegate.SettingLink); v != text(t, link(8e6)) || z.knobs.get(zonegate.SettingLink) != v {
		t.Fatalf("the link is %q", v)
	}
	if v, ok := z.gate.Setting(zonegate.SettingBrand); ok {
		t.Fatalf("the brand is %q", v)
	}
	if c := z.readFile(); c.Trial != nil {
		t.Fatal("a trial is left")
	}
}

// A restart in the middle of a trial begins it anew: it is kept, or taken
// back.
func TestTrialOverARestart(t *testing.T) {
	for _, good := range []bool{true, false} {
		h := newFakeHub(t)
		z := newZone(t, h.endpoint())
		z.pace.trial = time.Hour
		z.open()
		if err := z.central.Join(t.Context(), "code"); err != nil {
			t.Fatal(err)
		}
		z.run()
		seq := h.push(api.KindLink, link(8e6))
		eventually(t, "the setting is on trial", func() bool { return z.central.Status().Trial != "" && z.knobs.get(zonegate.SettingLink) != "" })
		z.stopCentral()
		z.stopGate()
		z.startGate()
		z.knobs = &knobs{values: map[string]string{}, fail: map[string]error{}}
		z.pace.trial = quick.trial
		if !good {
			z.knobs.sick = errTest
		}
		z.open()
		z.run()
		want, value := api.Applied, text(t, link(8e6))
		if !good {
			want, value = api.RolledBack, ""
		}
		if a := h.answer(seq); a.Outcome != want {
			t.Fatalf("after a restart: %+v, want %s", a, want)
		}
		if got := z.knobs.get(zonegate.SettingLink); got != value {
			t.Errorf("after a restart the link is %q, want %q", got, value)
		}
	}
}

// The power went after hub.json and before the journal: the hub pushes it
// again.
func TestTrialThatWasNeverTaken(t *testing.T) {
	h := newFakeHub(t)
	z := newZone(t, h.endpoint())
	z.open()
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	c := z.readFile()
	c.Trial = &trial{Seq: 1, Name: zonegate.SettingLink, Value: text(t, link(8e6))}
	if err := c.write(z.dir); err != nil {
		t.Fatal(err)
	}
	z.open()
	z.run()
	h.applied(h.push(api.KindLink, link(8e6)))
	if z.knobs.get(zonegate.SettingLink) != text(t, link(8e6)) {
		t.Fatal("the setting has no effect")
	}
}

// Leaving the hub takes its settings away, on trial or not.
func TestLeavingDuringATrial(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	z.central.pace.trial = quick.trial
	h.applied(h.push(api.KindBrand, api.Brand{Name: "X"}))
	h.push(api.KindLink, link(8e6))
	eventually(t, "the setting is on trial", func() bool { return z.central.Status().Trial != "" })
	if err := z.central.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range settingNames {
		if v := z.knobs.get(name); v != "" {
			t.Errorf("%s is still %q", name, v)
		}
	}
	if err := z.central.Join(t.Context(), "code"); err != nil {
		t.Fatal(err)
	}
	z.connected()
	h.applied(h.push(api.KindLink, link(9e6)))
}

// hub.json on a disk that is full changes nothing but itself.
func TestFileCannotBeWritten(t *testing.T) {
	h := newFakeHub(t)
	z := joined(t, h)
	// A directory where the new file would be: even root cannot write it.
	if err := os.Mkdir(filepath.Join(z.dir, FileName+".new"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.applied(h.push(api.KindLink, link(8e6)))
	if a := h.answer(h.push("unknown", nil)); a.Outcome != api.Refused {
		t.Fatalf("the answer is %+v", a)
	}
	if c := z.readFile(); c.Token == "" {
		t.Fatal("hub.json was damaged")
	}
}
