package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/mailflume/mailflume/configs"
)

// configFlag adds the flag that names the configuration file. The variable is for containers, in which a command has no
// directory of its own.
func configFlag(c *cobra.Command, path *string) {
	file := cmp.Or(os.Getenv("MAILFLUME_CONFIG"), "mailflume.yaml")
	c.Flags().StringVarP(path, "config", "c", file, "the configuration file (MAILFLUME_CONFIG)")
}

// loadConfig loads the file; whatever is wrong with it, nothing has been started yet.
func loadConfig(path string) (*configs.Config, error) {
	c, err := configs.Load(path)
	return c, usage(err)
}

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:                        "config",
		Short:                      "Print an example, print the schema, or check a file",
		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		Args:                       noCommand,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		&cobra.Command{
			Use:   "example",
			Short: "Print an annotated configuration",
			Args:  noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(configs.Example())
				return err
			},
		},
		&cobra.Command{
			Use:   "schema",
			Short: "Print the JSON Schema of the configuration, for editors",
			Args:  noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(configs.Schema())
				return err
			},
		},
		newValidate(),
	)
	return c
}

func newValidate() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a configuration and print everything that is wrong with it",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("unexpected argument %q: one file at a time", args[1])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				path = args[0]
			}
			config, err := loadConfig(path)
			if err != nil {
				return err
			}
			many := "mailboxes"
			if len(config.Mailboxes) == 1 {
				many = "mailbox"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is valid: %d %s\n", path, len(config.Mailboxes), many)
			return nil
		},
	}
	configFlag(c, &path)
	return c
}
