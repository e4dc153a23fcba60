package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zonegate/internal/clock"
	"zonegate/internal/config"
	"zonegate/shaper/mikrotik"
	"zonegate/shaper/mikrotik/simros"
)

// scriptFor prints a script with a secret and a password that are given.
func scriptFor(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := call(t, exitOK, "s3cret$with\"signs\\\n", append([]string{"routeros", "script"}, args...)...)
	return out
}

var setUpArgs = []string{"--address", "192.168.88.2", "--interface", "bridge1"}

func TestRouterOSScripts(t *testing.T) {
	for _, version := range []string{"6.49", "7.12", "7.16"} {
		for name, args := range map[string][]string{
			"radius":      {"--secret-file", "-"},
			"radius-open": {},
			"api":         {"--sessions", "api", "--password-file", "-"},
			"api-open":    {"--sessions", "api"},
			"remove":      {"--remove"},
		} {
			t.Run(version+"-"+name, func(t *testing.T) {
				if name != "remove" {
					args = append(args, setUpArgs...)
				}
				got := scriptFor(t, append(args, "--routeros", version)...)
				golden := filepath.Join("testdata", "routeros", version+"-"+name+".rsc")
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("the script differs from %s (-update writes it):\n%s", golden, diff)
				}
				for _, problem := range problems(got, version) {
					t.Error(problem)
				}
				if open := strings.HasSuffix(name, "-open"); open != strings.Contains(got, placeholder) {
					t.Errorf("a placeholder is there: %v", !open)
				}
				for line := range strings.Lines(got) {
					if strings.Contains(line, quote(placeholder)) && !strings.Contains(line, " disabled=yes ") {
						t.Errorf("what has a placeholder works: %s", line)
					}
				}
			})
		}
	}
}

// TestRemovalIsWhole looks for every object of the set-up in the removal.
func TestRemovalIsWhole(t *testing.T) {
	remove := scriptFor(t, "--remove")
	for _, sessions := range []string{"radius", "api"} {
		for _, c := range commandsOf(scriptFor(t, append(setUpArgs, "--sessions", sessions)...)) {
			if c.verb != "add" {
				continue
			}
			menu := regexp.QuoteMeta(strings.Replace(strings.ReplaceAll(c.menu, "/", " "), " ", "/", 1))
			if !regexp.MustCompile(`(?m)^` + menu + ` remove \[`).MatchString(remove) {
				t.Errorf("what is made in %s is never removed", c.menu)
			}
		}
	}
}

// The script ends with what the gateway needs, as it can be pasted.
func TestScriptEndsWithConfiguration(t *testing.T) {
	script := scriptFor(t, append(setUpArgs, "--sessions", "api", "--server", `my "hotspot"`)...)
	_, block, ok := strings.Cut(script, "\n\n# [network]\n")
	text := "[zone]\nname = 'x'\nid = 'x'\n[network]\n"
	for line := range strings.Lines(block) {
		text += strings.TrimPrefix(line, "# ")
	}
	text = strings.Replace(text, `fingerprint = ""`, `fingerprint = "`+strings.Repeat("ab", 32)+`"`, 1)
	cfg, err := config.Parse(strings.NewReader(strings.ReplaceAll(text, "\n#\n", "\n\n")), "script")
	if !ok || err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if m := cfg.MikroTik; !m.Drives || m.Server != `my "hotspot"` || m.Address != "192.168.88.1:8729" || m.User != "zonegate" {
		t.Errorf("%+v", m)
	}
}

func TestRouterOSScriptUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"--address":      {"--interface", "bridge1"},
		"IPv4":           {"--interface", "bridge1", "--address", "fe80::1"},
		"--interface":    {"--address", "192.168.88.2"},
		"6.49 or 7.x":    {"--routeros", "6.40"},
		"radius or api":  append([]string{"--sessions", "both"}, setUpArgs...),
		"1 to 65535":     append([]string{"--portal-port", "0"}, setUpArgs...),
		"for --sessions": append([]string{"--sessions", "api", "--secret-file", "-"}, setUpArgs...),
		"--server":       append([]string{"--server", "what?"}, setUpArgs...),
	} {
		stdout, stderr := call(t, exitUsage, "", append([]string{"routeros", "script"}, args...)...)
		if stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%q: %q on stdout, %q on stderr instead of something about %q", args, stdout, stderr, want)
		}
	}
	if _, stderr := call(t, exitUsage, "call for help?\n", append([]string{"routeros", "script", "--secret-file", "-"}, setUpArgs...)...); strings.Contains(stderr, "call for help?") {
		t.Error("a secret is in a message")
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote(`a"b\c$d`), `"a\"b\\c\$d"`; got != want {
		t.Errorf("%s instead of %s", got, want)
	}
}

// TestProblemsCanBeFound feeds the checker what it must refuse.
func TestProblemsCanBeFound(t *testing.T) {
	const good = `:if ([:len [/radius find where comment="zonegate setup radius"]] = 0) do={ /radius add service=hotspot address=10.0.0.1 comment="zonegate setup radius" }`
	if p := problems(good, "7.16"); p != nil {
		t.Fatalf("a good line is refused: %v", p)
	}
	for _, bad := range []string{
		strings.Replace(good, "address=", "adress=", 1),
		strings.Replace(good, "service=hotspot", "service=hotspots", 1),
		strings.Replace(good, "/radius add", "/radio add", 1),
		strings.Replace(good, `radius"]`, `other"]`, 1),
		strings.Replace(good, "]]", "]", 1),
		strings.TrimSuffix(good, " }"),
		`/radius add service=hotspot address=10.0.0.1 comment="zonegate setup radius"`,
		`/radius incoming set accept=perhaps`,
		`:put "who?"`,
		`:put "é"`,
	} {
		if problems(bad, "7.16") == nil {
			t.Errorf("nothing is wrong with %s", bad)
		}
	}
}

// A routerCommand is one command inside a script.
type routerCommand struct {
	line, menu, verb string
	attrs            map[string]string
}

var (
	aCommand = regexp.MustCompile(`(/[a-z][a-z0-9 -]*) (add|set|get|find|remove)\b((?: (?:[a-z-]+=)?(?:"(?:[^"\\]|\\.)*"|\$[a-z]+|\[[^\]]*\](?: 0\])?|\([^)]*\)|[^\s"\[\]{};]+))*)`)
	aWord    = regexp.MustCompile(`([a-z-]+)=("(?:[^"\\]|\\.)*"|\[:pick \[[^\]]*\] 0\]|\[[^\]]*\]|\([^)]*\)|\S+)`)
)

func commandsOf(script string) (list []routerCommand) {
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, m := range aCommand.FindAllStringSubmatch(line, -1) {
			c := routerCommand{line: strings.TrimSpace(line), menu: strings.ReplaceAll(m[1], " ", "/"), verb: m[2], attrs: map[string]string{}}
			for _, w := range aWord.FindAllStringSubmatch(m[3], -1) {
				value := w[2]
				if strings.HasPrefix(value, `"`) {
					value = regexp.MustCompile(`\\(.)`).ReplaceAllString(strings.Trim(value, `"`), "$1")
				}
				c.attrs[w[1]] = value
			}
			list = append(list, c)
		}
	}
	return list
}

// unsimulated are menus of a router that the simulated one lacks.
var unsimulated = map[string]bool{"/certificate": true, "/system/ntp/client": true}

// single are menus without a list.
var single = map[string]bool{"/radius/incoming": true}

// problems says in words what is wrong with a script: what cannot be pasted,
// what is not closed, what a router of that version does not know, and what
// would be made twice.
func problems(script, version string) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		for _, c := range line {
			if c < ' ' || c > '~' || c == '?' {
				add("%q cannot be pasted: %s", c, line)
			}
		}
		if !strings.HasPrefix(line, "#") && !balanced(line) {
			add("something is not closed: %s", line)
		}
	}
	for _, c := range commandsOf(script) {
		if unsimulated[c.menu] {
			continue
		}
		router := simros.New(simros.Options{Version: version})
		if router.Print(c.menu) == nil {
			add("no menu %s: %s", c.menu, c.line)
			continue
		}
		if c.verb == "add" {
			once := fmt.Sprintf(`:if ([:len [%s find where `, strings.Replace(strings.ReplaceAll(c.menu, "/", " "), " ", "/", 1))
			comment := c.attrs["comment"]
			switch at := strings.Index(c.line, once); {
			case at < 0:
				add("it is made without a look whether it is there: %s", c.line)
			case comment == "" && c.menu != "/ip/hotspot/profile":
				add("it is not marked: %s", c.line)
			case !strings.Contains(c.line[:at+len(once)+60], fmt.Sprintf("find where comment=%q", comment)) &&
				!strings.Contains(c.line[:at+len(once)+60], "find where name="):
				add("it looks for something else than it makes: %s", c.line)
			}
		}
		attrs := maps.Clone(c.attrs)
		delete(attrs, "place-before")
		var err error
		switch {
		case c.verb == "add":
			if attrs["group"] == "zonegate" {
				_, err = router.Add("/user/group", map[string]string{"name": "zonegate", "policy": "api"})
			}
			delete(attrs, "copy-from")
			if err == nil {
				_, err = router.Add(c.menu, attrs)
			}
		case c.verb == "set" && single[c.menu]:
			err = router.Set(c.menu, "", attrs)
		case c.verb == "set":
			if c.menu == "/ip/hotspot" {
				attrs["profile"] = "hsprof1" // the value is a variable
			}
			items := router.Print(c.menu)
			delete(attrs, "name")
			delete(attrs, "where")
			if len(items) == 0 {
				add("nothing to set in %s", c.menu)
				continue
			}
			id := items[0][".id"]
			for _, it := range items {
				if it["name"] == "api-ssl" {
					id = it[".id"]
				}
			}
			err = router.Set(c.menu, id, attrs)
		}
		if err != nil {
			add("the router refuses it: %v: %s", err, c.line)
		}
	}
	return list
}

// balanced says whether quotes and brackets close in a line.
func balanced(line string) bool {
	var open []rune
	quoted, escaped := false, false
	for _, c := range line {
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("([{", c):
			open = append(open, c)
		case strings.ContainsRune(")]}", c):
			if len(open) == 0 || open[len(open)-1] != map[rune]rune{')': '(', ']': '[', '}': '{'}[c] {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return !quoted && len(open) == 0
}

// TestScriptSatisfiesCheck does what the script says to a simulated router
// that FastTracks and knows IPv6, and lets the data path look for mistakes.
func TestScriptSatisfiesCheck(t *testing.T) {
	router := simros.New(simros.Options{Version: "7.16.1"})
	add := func(menu string, attrs map[string]string) {
		t.Helper()
		delete(attrs, "copy-from")
		if _, err := router.Add(menu, attrs); err != nil {
			t.Fatal(err)
		}
	}
	look := func() (list []string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- router.Serve(ctx, l) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		now, err := clock.New()
		if err != nil {
			t.Fatal(err)
		}
		path, err := mikrotik.New(mikrotik.Config{Address: l.Addr().String(), User: "zonegate", Password: "pw", Plain: true,
			Server: "hotspot1", Clock: now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range path.Check(ctx) {
			list = append(list, f.Subject+": "+f.Problem)
		}
		return list
	}
	add("/user", map[string]string{"name": "zonegate", "password": "pw", "group": "full"})
	track := map[string]string{"chain": "forward", "action": "fasttrack-connection", "connection-state": "established,related"}
	add("/ip/firewall/filter", maps.Clone(track))
	if found := strings.Join(look(), "\n"); !strings.Contains(found, "FastTrack") || !strings.Contains(found, "IPv6") ||
		!strings.Contains(found, "login-by") || !strings.Contains(found, "permissions") {
		t.Fatalf("before the script only this is wrong: %q", found)
	}
	for _, menu := range []string{"/user", "/ip/firewall/filter"} {
		items := router.Print(menu)
		if err := router.Remove(menu, items[len(items)-1][".id"]); err != nil {
			t.Fatal(err)
		}
	}

	script, _ := call(t, exitOK, "pw\n", append([]string{"routeros", "script", "--sessions", "api", "--password-file", "-"}, setUpArgs...)...)
	var rules []map[string]string // as the router lists them
	for _, c := range commandsOf(script) {
		switch {
		case c.menu == "/ip/firewall/filter" && c.attrs["place-before"] != "":
			delete(c.attrs, "place-before")
			rules = slices.Insert(rules, 0, c.attrs)
		case c.menu == "/ip/firewall/filter", unsimulated[c.menu], c.attrs["place-before"] != "":
		case c.menu == "/ip/hotspot" && c.verb == "set":
			if err := router.Set(c.menu, "hotspot1", map[string]string{"profile": "zonegate-hsprof1"}); err != nil {
				t.Fatal(err)
			}
		case c.verb == "add":
			if c.menu == "/ip/hotspot/profile" {
				c.attrs["name"] = "zonegate-hsprof1"
			}
			if c.menu == "/user" {
				delete(c.attrs, "address") // this test is another one
			}
			add(c.menu, c.attrs)
		}
	}
	for _, r := range append(rules, track) {
		add("/ip/firewall/filter", r)
	}
	if found := look(); len(found) > 0 {
		t.Errorf("after the script this is wrong: %q", found)
	}
}
