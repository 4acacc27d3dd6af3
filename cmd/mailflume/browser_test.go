package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/mailflume/mailflume/internal/sim"
	"github.com/mailflume/mailflume/mailbox"
)

// chromium is a real browser without scripts.
type chromium struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the browser, as chromedp wants it
	mu     sync.Mutex
	errors []string // what the browser refused or could not load
}

func newChromium(t *testing.T) *chromium {
	t.Helper()
	if os.Getenv("BROWSER") == "" {
		t.Skip("needs Chromium: make browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1180, 820),
		chromedp.WSURLReadTimeout(time.Minute)) // it may start from a cold disk
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	c := &chromium{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok && e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.URL, "favicon") {
			c.mu.Lock()
			c.errors = append(c.errors, e.Entry.Text+" "+e.Entry.URL)
			c.mu.Unlock()
		}
	})
	if err == nil {
		_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	}
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// do takes one step.
func (c *chromium) do(step chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.ctx, within)
	defer stop()
	if err := chromedp.Do(ctx, step); err != nil {
		c.t.Fatal(err)
	}
}

// ask returns what the browser says.
func ask[T any](c *chromium, question chromedp.Action[T]) T {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.ctx, within)
	defer stop()
	answer, err := chromedp.Run(ctx, question)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// evaluate asks the page as its user. The answer comes in one piece: the page does not change meanwhile. In an error
// between two pages it is asked again.
func evaluate[T any](c *chromium, expression string) (T, error) {
	ctx, stop := context.WithTimeout(c.ctx, within)
	defer stop()
	asUser := func(p *runtime.EvaluateParams) { p.UserGesture = new(true) }
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, asUser))
}

// reads waits until the page says all of these.
func (c *chromium) reads(all ...string) {
	c.t.Helper()
	text := ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got, err := evaluate[string](c, "document.body.innerText")
		if err != nil {
			continue // between two pages
		}
		text = got
		missing := false
		for _, want := range all {
			missing = missing || !strings.Contains(text, want)
		}
		if !missing {
			return
		}
	}
	c.t.Fatalf("the page does not say all of %q:\n%s", all, text)
}

// picture looks at the page on a small and on a large screen, neither of which may have to be moved sideways. If BROWSER
// names a folder, it keeps what the page looks like there, by day and by night. It leaves the page on the large screen.
func (c *chromium) picture(name string) {
	c.t.Helper()
	for _, width := range []int64{390, 1280} {
		c.do(chromedp.EmulateViewport(width, 820))
		if got := c.laidOut(width); got > width {
			c.t.Errorf("%s is %d wide on a screen of %d", name, got, width)
		}
		for _, scheme := range []string{"light", "dark"} {
			c.keep(fmt.Sprintf("%s-%d-%s.png", name, width, scheme), scheme)
		}
	}
}

// laidOut waits until the page is laid out on a screen so wide, and returns its own width.
func (c *chromium) laidOut(width int64) int64 {
	c.t.Helper()
	type layout struct {
		Complete     bool
		Screen, Page int64
	}
	var page layout
	eventually(c.t, fmt.Sprintf("the page is laid out on a screen of %d", width), func() bool {
		var err error
		page, err = evaluate[layout](c, `({
			Complete: document.readyState == "complete", Screen: innerWidth, Page: document.documentElement.scrollWidth,
		})`)
		return err == nil && page.Complete && page.Screen == width
	})
	return page.Page
}

func (c *chromium) keep(file, scheme string) {
	c.t.Helper()
	dir := os.Getenv("BROWSER")
	if !filepath.IsAbs(dir) {
		return
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, media); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), ask(c, chromedp.FullScreenshot(100)), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// press presses what a selector finds, if it can be reached: with a mouse, for which its middle must not be covered, and by
// keyboard. The page does it by itself, at once: an event that is sent to a place on the screen is lost where the page is
// not drawn yet, or is being laid out anew.
const press = `(selector => {
	if (document.readyState != "complete") return {Problem: "the page is not complete"}
	const it = document.querySelector(selector)
	if (!it) return {Problem: "it is not there"}
	it.scrollIntoView({block: "center", behavior: "instant"})
	const box = it.getClientRects()[0]
	const top = box && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)
	if (!top || !it.contains(top)) return {Problem: "a mouse does not reach it"}
	it.focus()
	if (document.activeElement != it) return {Problem: "the keyboard does not reach it"}
	window.pressed = true
	it.click()
	return {Page: location.href, Link: it.tagName == "A"}
})(%q)`

// click clicks on what is there, or will be, and waits until another page has come. A button is pressed once. A link is
// followed again if the page renewed itself just then.
func (c *chromium) click(selector string) {
	c.t.Helper()
	type pressed struct {
		Problem string // why nothing was pressed
		Page    string
		Link    bool
	}
	problem := ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		done, err := evaluate[pressed](c, fmt.Sprintf(press, selector))
		switch {
		case err != nil: // a page that renews itself is between two; no page with a button does
			problem = err.Error()
		case done.Problem != "":
			problem = done.Problem
		default:
			if at := c.left(selector); !done.Link || at != done.Page {
				return
			}
			problem = "it leads nowhere"
		}
	}
	c.t.Fatalf("click on %s: %s", selector, problem)
}

// left waits until the page on which something was pressed is gone, and returns where the next one is.
func (c *chromium) left(selector string) string {
	c.t.Helper()
	at := ""
	eventually(c.t, "another page after the click on "+selector, func() bool {
		var err error
		at, err = evaluate[string](c, `window.pressed ? "" : location.href`)
		return err == nil && at != ""
	})
	return at
}

// In a real browser without scripts, from the list to the provider's consent screen and back.
func TestBrowser(t *testing.T) {
	c := newChromium(t)
	r := newRig(t)
	gmail, outlook := r.listen(sim.Gmail), r.listen(sim.Exchange)
	r.box(sim.Gmail, "sales", gmail, "google", "")
	support := r.unconnected(sim.Exchange, "support", outlook, "microsoft", "")
	r.unconnected(sim.Gmail, "invoices", gmail, "google", "")
	r.world.OAuth(sim.Gmail).SetScreen(true)
	r.world.OAuth(sim.Exchange).SetScreen(true)
	s := r.serve()
	eventually(t, "the mailboxes have settled", func() bool {
		all := s.statuses()
		return all[0].State == mailbox.StateWatching && all[1].State == mailbox.StateParked && all[2].State == mailbox.StateParked
	})
	c.do(chromedp.Navigate(s.base + "/"))
	c.reads("3 mailboxes: 2 in need of attention, 1 watching", "was never connected")
	c.picture("1-list")
	c.click(`a.button[href="mailboxes/support"]`)
	c.reads("not connected", "Connect your Outlook account")
	c.picture("2-not-connected")
	c.click("form[action$=connect] button")
	c.reads("wants access to the mail of support@mail.test")
	c.click("#cancel")
	c.reads("declined to consent", "mailflume connect support")
	c.picture("3-declined")
	c.click("form[action$=connect] button")
	c.reads("wants access to the mail of support@mail.test")
	c.click("#allow")
	c.reads("Connected.", "token valid", "Valid until")
	if at := ask(c, chromedp.Location()); at != s.base+"/mailboxes/support" {
		t.Errorf("it ends at %s", at)
	}
	eventually(t, "the mailbox is watched", func() bool { return support.Stats().Commands["IDLE"] > 0 })
	c.picture("4-connected")
	c.click("form[action$=test] button")
	c.reads("The mailbox can be read.", "token claims", "folders")
	c.picture("5-tested")
	c.do(chromedp.Navigate(s.base + "/mailboxes/invoices"))
	c.click("form[action$=test] button")
	c.reads("was never connected", "token endpoint", "greeting")
	c.picture("6-test-failed")
	c.click("footer a")
	c.reads("2 watching")
	c.picture("7-list-after")
	_, link := s.keys.Invite("invoices", "invoices@mail.test", time.Hour)
	c.do(chromedp.Navigate(s.base + "/link/" + link))
	c.reads("invoices", "good once", "Connect your Gmail account")
	c.picture("8-link")
	c.click("form button")
	c.reads("wants access to the mail of invoices@mail.test")
	c.click("#cancel")
	c.reads("was denied", "Connect your Gmail account")
	c.picture("9-link-declined")
	c.click("form button")
	c.reads("wants access to the mail of invoices@mail.test")
	c.click("#allow")
	c.reads("Connected.", "You can close this page")
	c.picture("10-link-used")
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errors) > 0 {
		t.Errorf("the browser says: %s", strings.Join(c.errors, "\n"))
	}
}
