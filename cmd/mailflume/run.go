package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
	"github.com/mailflume/mailflume/internal/crash"
)

func newRun() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "run",
		Short: "Read the mailboxes and publish their mail until stopped",
		Long: `Read the mailboxes of the configuration and publish their mail until SIGTERM or SIGINT, which
finish what is under way and exit 0. A second signal ends at once.

The configuration is read anew when its file changes, and on SIGHUP: mailboxes that were added,
changed or removed are begun and ended, the others keep their connections. A file with a mistake is
refused as a whole and the old configuration goes on.

Replicas may run with the same configuration against one NATS server or cluster; they split the
mailboxes among themselves.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := loadConfig(path)
			if err != nil {
				return err
			}
			return serve(c.Context(), config, newLog(config.Log, c.ErrOrStderr()), nil)
		},
	}
	configFlag(c, &path)
	return c
}

// newLog returns the log that the configuration asks for.
func newLog(c configs.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// stopWithin is how long the program may take to stop; a container gets ten seconds before it is killed.
const stopWithin = 8 * time.Second

// serve runs everything until ctx ends. started, if not nil, is called once the mailboxes are being read.
func serve(ctx context.Context, config *configs.Config, log *slog.Logger, started func(*service)) error {
	s, err := newService(config, log)
	if err != nil {
		return err
	}
	log.Info("mailflume starts", "version", version(), "mailboxes", len(config.Mailboxes), "page", s.pageAddr())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, started) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		crash.At("drain.begin")
		select {
		case err = <-ended:
		case <-time.After(stopWithin):
			// Whatever was not finished is not on the stream and will be read again.
			return fmt.Errorf("something did not stop within %v", stopWithin)
		}
	}
	if ctx.Err() != nil && err == nil {
		crash.At("drain.end")
		log.Info("mailflume stopped")
	}
	return err
}
