package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	sbom := false
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, or what the program is made of",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if sbom {
				info, ok := debug.ReadBuildInfo()
				if !ok {
					return errors.New("this program was built without a note of its modules; build it with go build")
				}
				return writeBill(c.OutOrStdout(), info)
			}
			fmt.Fprintf(c.OutOrStdout(), "mailflume %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
	c.Flags().BoolVar(&sbom, "sbom", false, "print the software bill of materials (CycloneDX)")
	return c
}

// buildVersion is set by the linker in release builds.
var buildVersion string

// version returns the version that was built in, the module's version, or the commit.
func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
