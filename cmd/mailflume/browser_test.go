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
	"github.com/chromedp/cdproto/page"
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
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1180, 820))
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

// reads waits until the page says all of these.
func (c *chromium) reads(all ...string) {
	c.t.Helper()
	text := ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, stop := context.WithTimeout(c.ctx, time.Second)
		got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
		stop()
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

// picture looks at the page on a large and on a small screen, neither of which may have to be moved sideways. If BROWSER
// names a folder, it keeps what the page looks like there, by day and by night.
func (c *chromium) picture(name string) {
	c.t.Helper()
	for _, width := range []int64{1280, 390} {
		c.do(chromedp.EmulateViewport(width, 820))
		metrics, err := chromedp.Call(c.ctx, page.GetLayoutMetrics, cdp.Empty{})
		if err != nil {
			c.t.Fatal(err)
		}
		if got := metrics.CSSContentSize.Width; got > float64(width) {
			c.t.Errorf("%s is %v wide on a screen of %d", name, got, width)
		}
		for _, scheme := range []string{"light", "dark"} {
			c.keep(fmt.Sprintf("%s-%d-%s.png", name, width, scheme), scheme)
		}
	}
	c.do(chromedp.EmulateReset())
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

// click clicks on what is there, or will be: a page may be on its way out while it is being looked at.
func (c *chromium) click(selector string) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, stop := context.WithTimeout(c.ctx, 3*time.Second)
		err = chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
		stop()
		if err == nil {
			return
		}
	}
	c.t.Fatalf("click on %s: %v", selector, err)
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
