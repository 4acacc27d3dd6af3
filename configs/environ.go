package configs

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// envPrefix begins the names of the variables that override the file.
const envPrefix = "MAILFLUME_"

// environment is the variables that a configuration was read with. Nil stands for the process's own.
type environment struct{ vars map[string]string }

func newEnvironment(environ []string) *environment {
	e := &environment{vars: make(map[string]string, len(environ))}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			e.vars[k] = v
		}
	}
	return e
}

func (e *environment) lookup(name string) (string, bool) {
	if e == nil {
		return os.LookupEnv(name)
	}
	v, ok := e.vars[name]
	return v, ok
}

// envName is the variable that overrides a key: nats.url is MAILFLUME_NATS_URL.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// foreign are variables with our prefix that are not overrides: what Kubernetes sets in every container for a service
// whose name begins with "mailflume", the path of the file itself (a default of --config), and switches of tests.
var foreign = regexp.MustCompile(`^MAILFLUME_(CONFIG|CHAOS|CORPUS|TEST_.*|([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?))$`)

// overrides reads the variables that set a key, and reports those that match none. An empty variable counts as unset.
func (r *reader) overrides() map[string]any {
	set := map[string]any{}
	known := map[string]string{} // variable -> path
	byPath := map[string]*field{}
	eachScalar(fields, "", func(path string, f *field) {
		known[envName(path)] = path
		byPath[path] = f
	})
	for name, path := range known {
		value := r.at.env.vars[name]
		if value == "" {
			continue
		}
		r.marks[path] = mark{env: name}
		r.note(path)
		delete(r.bad, path) // the file's value no longer counts
		v, err := byPath[path].kind.read(value, place{path: path, base: r.at.base, env: r.at.env})
		if err != nil {
			f := asFlaw(err)
			r.say(path, f.what, f.fix)
			continue
		}
		r.noteRef(v)
		set[path] = v
	}
	for name, value := range r.at.env.vars { // only now are all references known
		if _, ok := known[name]; !ok && strings.HasPrefix(name, envPrefix) && value != "" &&
			!foreign.MatchString(name) && !r.referred[name] {
			r.unknownVariable(name, known)
		}
	}
	return set
}

func (r *reader) unknownVariable(name string, known map[string]string) {
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, strings.TrimPrefix(k, envPrefix))
	}
	slices.Sort(names)
	fix := "unset it; settings in lists (clients, mailboxes) are set in the file only"
	if near, ok := closest(strings.TrimPrefix(name, envPrefix), names); ok {
		fix = "did you mean " + envPrefix + near + "?"
	}
	r.mistakes = append(r.mistakes, Mistake{
		File: environmentFile, Path: name,
		What: "matches no setting", Fix: fix,
	})
}
