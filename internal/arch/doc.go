// Package arch holds the rules of the house as tests: who may import whom, and what every room says about itself.
//
// It has no code of its own.
package arch
