package portal_test

import (
	"context"
	"flag"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var pictures = flag.String("pictures", "", "keep the browser's pictures of the pages in this directory")

// chromium is the browser of the Debian package of that name.
const chromium = "/usr/bin/chromium"

// browse runs a real browser with more arguments and returns what it writes.
// It can reach this machine alone.
func browse(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-default-apps", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-proxy-server",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
		"--user-data-dir=" + t.TempDir(),
	}, args...)...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("running %s (install it with `make deps`): %v\n%s", chromium, err, complaint.String())
	}
	return string(out)
}

// frames shows the page as on a phone of 360 and one of 320 pixels, and says
// how wide the latter became.
const frames = `<!doctype html><style>body{margin:0}iframe{border:0;float:left}</style>
<iframe src="/page" width="360" height="1200"></iframe><iframe src="/page" width="320" height="1200"></iframe>
<script>onload = function() {
	var w = frames[1], d = w.document.documentElement
	document.title = 'lang ' + d.lang + ', wide ' + d.scrollWidth + ', phone ' + w.innerWidth
}</script>`

// A real browser reads the pages as they are meant: the form is there, the
// style is let in by our own policy, and at 320 pixels nothing is cut off.
// With -pictures, every page is looked at.
func TestBrowser(t *testing.T) {
	for _, page := range mainPages {
		for _, lang := range []string{"fr", "en"} {
			name := page.name + "-" + lang
			if *pictures == "" && name != "stranger-fr" && name != "wrong-code-en" && name != "online-fr" && name != "pay-form-other-fr" && name != "pay-redirect-en" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				z := newZone(t)
				// The browser can only ask for a page, so it gets the answer to the
				// request that makes it.
				c := page.arrange(z)
				c.accept, c.lang = browser, lang
				answer := z.do(c)
				mux := http.NewServeMux()
				mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
					for k, v := range answer.Header() {
						w.Header()[k] = v
					}
					// Only in this test may the page be in a frame, because a window
					// cannot be as narrow as a phone.
					w.Header().Del("X-Frame-Options")
					w.Header().Set("Content-Security-Policy", strings.Replace(answer.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
					w.WriteHeader(answer.Code)
					_, _ = w.Write(answer.Body.Bytes())
				})
				mux.HandleFunc("/frames", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, frames) })
				srv := httptest.NewServer(mux)
				defer srv.Close()

				dir := *pictures
				if dir == "" {
					dir = t.TempDir()
				}
				file := filepath.Join(dir, name+".png")
				dom := browse(t, "--window-size=700,1200", "--dump-dom", "--screenshot="+file, srv.URL+"/frames")
				if want := "<title>lang " + lang + ", wide 320, phone 320</title>"; !strings.Contains(dom, want) {
					t.Errorf("want %s, the browser has %s", want, regexp.MustCompile("<title>.*</title>").FindString(dom))
				}
				checkPicture(t, file)
			})
		}
	}
}

// checkPicture finds the green bar of our style sheet across the top: without
// the style, or with an error page of the browser's, it is not there.
func checkPicture(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := picture.Bounds()
	for _, x := range []int{b.Min.X, b.Min.X + 359, b.Min.X + 360} {
		r, g, bl, _ := picture.At(x, b.Min.Y+2).RGBA()
		if r>>8 != 0x0b || g>>8 != 0x5a || bl>>8 != 0x45 {
			t.Errorf("at %d,2 the picture is #%02x%02x%02x, not the colour of the bar", x, r>>8, g>>8, bl>>8)
		}
	}
}
