// Package container runs the root of a container image as a container engine would, without an engine.
//
// [Open] reads an unpacked image, a [Run] says how to run it. The program that is to be the container is a copy of the one
// that imports this package: it is started again with [Run.Environ] in its environment and calls [Become].
package container

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Image is an unpacked image.
type Image struct {
	Root   string // its root file system
	Config Config
}

// Config is what an image says about how it is run.
type Config struct {
	User        string
	Env         []string
	Entrypoint  []string
	Cmd         []string
	WorkingDir  string
	Volumes     map[string]struct{}
	Healthcheck struct{ Test []string }
	Labels      map[string]string
}

// Open reads an image from a folder that has its root in rootfs and what "buildah inspect --type image" says in image.json.
func Open(dir string) (*Image, error) {
	text, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if err != nil {
		return nil, fmt.Errorf("open image: %w", err)
	}
	var inspected struct {
		Docker struct {
			Config *Config `json:"config"`
		}
	}
	if err := json.Unmarshal(text, &inspected); err != nil {
		return nil, fmt.Errorf("open image: image.json: %w", err)
	}
	if inspected.Docker.Config == nil {
		return nil, fmt.Errorf("open image: image.json has no Docker.config; build with --format docker")
	}
	return &Image{Root: filepath.Join(dir, "rootfs"), Config: *inspected.Docker.Config}, nil
}
