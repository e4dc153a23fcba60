package lab_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"zonegate/internal/lab"
)

// A chromium is a real browser at a host of the lab, with one tab. It is driven
// over the pipes of its DevTools protocol, and speaks French.
type chromium struct {
	*testing.T
	to      io.WriteCloser
	from    *bufio.Reader
	session string
	last    int
}

// openChromium starts a browser at a host. The hub's certificate and those of
// the providers are the lab's own, which it takes.
func (z zone) openChromium(host string) *chromium {
	z.Helper()
	forIt, to, err := os.Pipe()
	if err != nil {
		z.Fatal(err)
	}
	from, ofIt, err := os.Pipe()
	if err != nil {
		z.Fatal(err)
	}
	cmd := z.CommandContext(z.Context(), host, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--disable-extensions", "--disable-dev-shm-usage", "--no-proxy-server", "--ignore-certificate-errors", "--accept-lang=fr", "--user-data-dir="+z.TempDir(),
		"--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{forIt, ofIt} // descriptors 3 and 4
	// It is many processes, and they write into its directory until the last
	// one has ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		z.Fatalf("running chromium (make testdeps installs it): %v", err)
	}
	forIt.Close()
	ofIt.Close()
	c := &chromium{T: z.T, to: to, from: bufio.NewReader(from)}
	z.Cleanup(func() {
		to.Close()
		from.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	var tab struct{ TargetID string }
	c.call("Target.createTarget", map[string]any{"url": "about:blank"}, &tab)
	var attached struct{ SessionID string }
	c.call("Target.attachToTarget", map[string]any{"targetId": tab.TargetID, "flatten": true}, &attached)
	c.session = attached.SessionID
	return c
}

// call does a call of the protocol; a failure of it ends the test.
func (c *chromium) call(method string, params, into any) {
	c.Helper()
	if err := c.try(method, params, into); err != nil {
		c.Fatal(err)
	}
}

func (c *chromium) try(method string, params, into any) error {
	c.last++
	text, err := json.Marshal(map[string]any{"id": c.last, "method": method, "params": params, "sessionId": c.session})
	if c.session == "" {
		text, err = json.Marshal(map[string]any{"id": c.last, "method": method, "params": params})
	}
	if err != nil {
		return err
	}
	if _, err := c.to.Write(append(text, 0)); err != nil {
		return fmt.Errorf("telling chromium: %w", err)
	}
	for {
		line, err := c.from.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("hearing chromium: %w", err)
		}
		var m struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(line[:len(line)-1], &m); err != nil {
			return err
		}
		switch {
		case m.ID != c.last: // an event
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case into != nil:
			return json.Unmarshal(m.Result, into)
		default:
			return nil
		}
	}
}

// open goes to an address, as a person who types it does.
func (c *chromium) open(address string) {
	c.Helper()
	c.call("Page.navigate", map[string]any{"url": address}, nil)
}

// eval runs a script in the page. While a page is left for another one there is
// none, and no answer.
func (c *chromium) eval(script string) (text string, ok bool) {
	var got struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	err := c.try("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true}, &got)
	if err != nil || got.ExceptionDetails != nil {
		return "", false
	}
	text, ok = got.Result.Value.(string)
	return text, ok
}

// text is what the page says, with its address in the first line.
func (c *chromium) text() string {
	text, _ := c.eval(`document.readyState == "complete" ? location.href + "\n" + document.body.innerText : ""`)
	return text
}

// await waits until the page says something, and returns all of it.
func (c *chromium) await(what string) string {
	c.Helper()
	return c.awaitAny(time.Minute, what)
}

func (c *chromium) awaitAny(limit time.Duration, words ...string) string {
	c.Helper()
	text := ""
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		text = c.text()
		for _, w := range words {
			if strings.Contains(text, w) {
				return text
			}
		}
	}
	c.Fatalf("the browser never showed %q. It shows:\n%s", words, text)
	return ""
}

// there waits for an element.
func (c *chromium) there(selector string) {
	c.Helper()
	script := fmt.Sprintf(`document.readyState == "complete" && document.querySelector(%q) ? "yes" : ""`, selector)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text, _ := c.eval(script); text == "yes" {
			return
		}
	}
	c.Fatalf("the browser never showed a %s. It shows:\n%s", selector, c.text())
}

// write types into a field, key by key as far as the page can tell.
func (c *chromium) write(selector, text string) {
	c.Helper()
	c.there(selector)
	if _, ok := c.eval(fmt.Sprintf(`document.querySelector(%q).value = "", document.querySelector(%[1]q).focus(), "done"`, selector)); !ok {
		c.Fatalf("there is no %s any more", selector)
	}
	c.call("Input.insertText", map[string]any{"text": text}, nil)
}

// press clicks at something.
func (c *chromium) press(selector string) {
	c.Helper()
	c.there(selector)
	// The click must not be over before the answer to this is.
	if _, ok := c.eval(fmt.Sprintf(`setTimeout(e => e.click(), 0, document.querySelector(%q)), "done"`, selector)); !ok {
		c.Fatalf("there is no %s any more", selector)
	}
}

// pressWord clicks at a link or button that says a word, if it is there.
func (c *chromium) pressWord(word string) {
	c.Helper()
	c.eval(fmt.Sprintf(`setTimeout(e => e && e.click(), 0, [...document.querySelectorAll("a, button")].find(e => e.textContent.trim() == %q)), "done"`, word))
}

// isOnline goes to a page of the internet. A browser may have opened a
// connection there before it paid, and kept it: what it sends there still
// reaches the portal, which closes it. Then the person tries again.
func (c *chromium) isOnline() {
	c.Helper()
	for range 3 {
		c.open("http://example.com/")
		if strings.Contains(c.awaitAny(time.Minute, "This is the internet", "Vous êtes connecté"), "This is the internet") {
			return
		}
	}
	c.Fatalf("the browser never found the internet. It shows:\n%s", c.text())
}

// The browser is one: what it shows of the lab's own pages is what curl gets.
func TestChromiumAtAPhone(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatal("make testdeps installs chromium")
	}
	z := openZone(t, lab.Options{Phones: 1, Vouchers: -1})
	c := z.openChromium("phone1")
	c.open("http://example.com/")
	c.write("input[name=code]", z.code("fast"))
	c.press("form button")
	c.await("Vous êtes connecté")
	c.isOnline()
}
