//go:build !linux

package parser

import (
	"testing"
	"time"
)

var began = time.Now()

// threadTime returns the time that has passed: only Linux tells what a thread alone has used.
func threadTime(*testing.T) time.Duration { return time.Since(began) }
