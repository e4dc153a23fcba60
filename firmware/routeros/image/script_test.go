package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func script(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestContainerScripts: what is made is looked for first, by the mark that it
// gets, and the other script takes it away by the same mark.
func TestContainerScripts(t *testing.T) {
	set, remove := script(t, "container.rsc"), script(t, "container-remove.rsc")
	for name, text := range map[string]string{"container.rsc": set, "container-remove.rsc": remove} {
		for _, pair := range []string{"{}", "[]", "()"} {
			if strings.Count(text, pair[:1]) != strings.Count(text, pair[1:]) {
				t.Errorf("%s does not close every %s", name, pair[:1])
			}
		}
	}
	looks := regexp.MustCompile(`:if \(\[:len \[(\S+)/find where (\w+="[^"]+")\]\] = 0\) do=\{`)
	made := 0
	for _, m := range regexp.MustCompile(`(?m)(\S+)/add (.*)$`).FindAllStringSubmatchIndex(set, -1) {
		menu, words := set[m[2]:m[3]], set[m[4]:m[5]]
		found := looks.FindAllStringSubmatch(set[:m[0]], -1)
		mark := ""
		for _, l := range found {
			if l[1] == menu {
				mark = l[2]
			}
		}
		if mark == "" {
			t.Errorf("%s is made without a look whether it is there", menu)
			continue
		}
		if !strings.Contains(words, mark) && !strings.Contains(words, strings.ReplaceAll(mark, `"`, "")) {
			t.Errorf("%s: it looks for %s and makes %s", menu, mark, words)
		}
		if !strings.Contains(remove, menu+"/remove") || !strings.Contains(remove, menu+"/find where ") {
			t.Errorf("%s: what is made there is never removed", menu)
		}
		made++
	}
	if made != 6 {
		t.Errorf("%d things are made; this test knows 6: address pair, address, NAT, mount, environment, container", made)
	}
}

// TestContainerScriptFindsTheImage: the script and make agree on names.
func TestContainerScriptFindsTheImage(t *testing.T) {
	set := script(t, "container.rsc")
	if !strings.Contains(set, `"/zonegate-" . $arch . ".tar"`) || !strings.Contains(set, `:set arch "amd64"`) {
		t.Error("the script looks for another file than make routeros-image writes")
	}
	for _, word := range []string{"start-on-boot=yes", "logging=yes", "mountlists=zonegate", "dst=/data"} {
		if !strings.Contains(set, word) {
			t.Errorf("no %s", word)
		}
	}
}
