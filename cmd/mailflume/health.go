package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newHealth asks a running mailflume how it is: the container has no shell and no curl.
func newHealth() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask the mailflume in this container whether it is ready",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			host, port, err := net.SplitHostPort(listen)
			if err != nil {
				return usage(fmt.Errorf("--listen %q: %w; the health check needs http.listen to be host:port", listen, err))
			}
			if host == "" || net.ParseIP(host).IsUnspecified() {
				host = "127.0.0.1"
			}
			// No proxy of the environment: the page is on this machine.
			client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
			answer, err := client.Get("http://" + net.JoinHostPort(host, port) + "/readyz")
			if err != nil {
				return fmt.Errorf("nobody answers: %w", err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
			if err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s", strings.TrimSpace(string(text)))
			}
			fmt.Fprint(c.OutOrStdout(), string(text))
			return nil
		},
	}
	def := os.Getenv("MAILFLUME_HTTP_LISTEN")
	if def == "" {
		def = "127.0.0.1:8080"
	}
	c.Flags().StringVar(&listen, "listen", def, "where the status page listens (http.listen)")
	return c
}
