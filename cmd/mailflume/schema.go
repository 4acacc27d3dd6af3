package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/event"
)

// newSchema prints what consumers of the stream build on.
func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [event|message|mailbox|asyncapi]",
		Short: "Print the JSON Schema of the events, or the AsyncAPI document of the stream",
		Long: `Print the JSON Schema of an event (the default), or of the data of events about messages
(message) or mailboxes (mailbox), or the AsyncAPI document of the stream (asyncapi), which refers
to the other three as event.json, message.json and mailbox.json.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("unexpected argument %q: one schema at a time", args[1])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			what := "event"
			if len(args) > 0 {
				what = args[0]
			}
			text := map[string][]byte{
				"event": event.Schema(), "message": event.DataSchema(event.SchemaMessage), "mailbox": event.DataSchema(event.SchemaMailbox),
				"asyncapi": event.AsyncAPI(),
			}[what]
			if text == nil {
				return usage(fmt.Errorf("there is no schema %q: write event, message, mailbox or asyncapi", what))
			}
			_, err := c.OutOrStdout().Write(text)
			return err
		},
	}
}
