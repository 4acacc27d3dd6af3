package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
)

// check is what the flags of check say.
type check struct {
	json    bool
	verbose bool
	out     io.Writer
}

func newCheck() *cobra.Command {
	var path string
	k := &check{}
	c := &cobra.Command{
		Use:   "check [NAME...]",
		Short: "Open each mailbox and say what is wrong and what to do",
		Long: `Go the way to the mailboxes of the configuration, or only to those named, step by step: DNS, TCP,
TLS, greeting, token endpoint, token, what the token says, login, NAMESPACE, folders. The first
step that fails is named, with the likely cause and what to do. Nothing is read and nothing is
published, and no token is shown. Mailboxes are checked at the same time, those of one account and
server in turn. Exit code 1 means that at least one mailbox has a problem. A
mailflume that is running with the same configuration is not disturbed.`,
		RunE: func(c *cobra.Command, names []string) error {
			config, err := loadConfig(path)
			if err != nil {
				return err
			}
			chosen, err := choose(config, names)
			if err != nil {
				return err
			}
			k.out = c.OutOrStdout()
			return k.run(c.Context(), config, chosen)
		},
	}
	configFlag(c, &path)
	c.Flags().BoolVar(&k.json, "json", false, "print JSON")
	c.Flags().BoolVarP(&k.verbose, "verbose", "v", false, "print the steps of the mailboxes that are well, too")
	return c
}

// choose returns the mailboxes of those names, all of them for none.
func choose(config *configs.Config, names []string) (map[string]bool, error) {
	chosen := make(map[string]bool)
	for _, m := range config.Mailboxes {
		chosen[m.Name] = len(names) == 0
	}
	for _, name := range names {
		if _, ok := chosen[name]; !ok {
			return nil, noMailbox(config, name)
		}
		chosen[name] = true
	}
	return chosen, nil
}

// checkWithin bounds the check of one mailbox; Exchange may take seconds to let one in.
const checkWithin = 90 * time.Second

func (k *check) run(ctx context.Context, config *configs.Config, chosen map[string]bool) (err error) {
	d, err := openDesk(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close(ctx)) }()
	all, failed := []diagnosis{}, 0
	for _, result := range d.rounds(ctx, chosen) {
		var found diagnosis
		select {
		case found = <-result:
		case <-ctx.Done():
			return errors.New("stopped before all mailboxes were checked")
		}
		all = append(all, found)
		if !found.OK {
			failed++
		}
		if !k.json {
			k.print(found)
		}
	}
	if k.json {
		enc := json.NewEncoder(k.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			return err
		}
	}
	if weak, err := d.publisher.Weaknesses(ctx, "KV_"+config.NATS.State); err == nil && !k.json {
		for _, w := range weak {
			paragraph(k.out, fmt.Sprintf(boxHead, "NATS", "weak"), w.Sentence)
			advice(k.out, w.Fix)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d mailboxes cannot be read", failed, len(all))
	}
	return nil
}

// boxHead begins what is said of a mailbox.
const boxHead = "%-20s %-7s "

// traceLabel stands before what the provider's support asks for.
const traceLabel = "  trace id, for the provider's support: "

// print says how it went, for a terminal of 80 columns: the mailbox, what to do, and the steps.
func (k *check) print(d diagnosis) {
	name := clip(d.Mailbox, 20)
	if d.OK {
		paragraph(k.out, fmt.Sprintf(boxHead, name, "ok"), fmt.Sprintf("logged in at %s, reads %s", d.Host, strings.Join(d.Folders, ", ")))
	} else {
		paragraph(k.out, fmt.Sprintf(boxHead, name, "FAILED"), d.Sentence)
		advice(k.out, d.Hint)
		paragraph(k.out, traceLabel, d.TraceID)
	}
	for _, w := range d.Warnings {
		paragraph(k.out, "  "+label(w)+": ", w.Sentence)
		advice(k.out, w.Hint)
	}
	if d.OK && !k.verbose {
		return
	}
	for _, s := range d.Steps {
		state := "ok"
		if !s.OK {
			state = "FAILED"
		}
		paragraph(k.out, fmt.Sprintf("  %-15s %-7s ", s.Name, state), s.Detail)
	}
}
