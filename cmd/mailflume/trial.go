package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/mailbox"
	"github.com/mailflume/mailflume/parser"
)

// newTrial is the process in which run tries out messages after a crash. It is no command for people.
func newTrial() *cobra.Command {
	var names []string
	c := &cobra.Command{
		Use: "trial", Hidden: true, Args: noArgs,
		Short: "Parse the messages on standard input, for mailflume run",
		RunE: func(c *cobra.Command, _ []string) error {
			return mailbox.ServeTrials(c.InOrStdin(), c.OutOrStdout(), parser.Options{AuthServIDs: names})
		},
	}
	c.Flags().StringArrayVar(&names, "authserv", nil, "a name under which the mailbox's server writes Authentication-Results")
	return c
}

// trialCommand starts that process. Nil if we don't know where we are: then nothing is tried out.
func trialCommand(names []string) []string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	command := []string{self, "trial"}
	for _, name := range names {
		command = append(command, "--authserv="+name)
	}
	return command
}
