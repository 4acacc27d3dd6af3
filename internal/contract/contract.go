// Package contract holds what is published to what is documented: messages of the stream to the AsyncAPI document, and their
// payloads to the JSON Schema of package event.
//
// It is stricter than a consumer should be: a header or a field that is not documented is an error.
package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/mailflume/mailflume/event"
)

// Event checks a whole event in structured mode.
func Event(payload []byte) error { return validate(event.SchemaEvent, payload) }

// Data checks the data of an event, whose schema the attribute dataschema names.
func Data(dataschema string, payload []byte) error { return validate(dataschema, payload) }

// Message checks a message of the stream: it has the subject of a channel, that channel's headers, and the payload that goes
// with them.
func Message(subject string, header map[string][]string, payload []byte) error {
	if err := checkMessage(subject, header, payload); err != nil {
		return fmt.Errorf("message at %s: %w", subject, err)
	}
	return nil
}

func checkMessage(subject string, header map[string][]string, payload []byte) error {
	doc, err := document()
	if err != nil {
		return err
	}
	channel, err := doc.channel(subject)
	if err != nil {
		return err
	}
	plain := make(map[string]string)
	for name, values := range header {
		if len(values) != 1 {
			return fmt.Errorf("header %s stands %d times", name, len(values))
		}
		plain[name] = values[0]
	}
	i := slices.IndexFunc(channel, func(m message) bool { return m.ContentType == plain["Content-Type"] })
	if i < 0 {
		return fmt.Errorf("no message of this channel has the Content-Type %q", plain["Content-Type"])
	}
	headers, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	if err := validate(asyncURL+channel[i].headers(), headers); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	return validate(channel[i].payload(), payload)
}

// message is the part of a Message Object that is read here.
type message struct {
	ContentType string    `json:"contentType"`
	Headers     reference `json:"headers"`
	Payload     struct {
		Schema reference `json:"schema"`
	} `json:"payload"`
}

type reference struct {
	Ref string `json:"$ref"`
}

func (m message) headers() string { return m.Headers.Ref }

// payload is the URL of the schema: the files are known by their $id.
func (m message) payload() string {
	return strings.NewReplacer("./event.json", event.SchemaEvent, "./message.json", event.SchemaMessage).Replace(m.Payload.Schema.Ref)
}

// asyncAPI is the part of the document that is read here.
type asyncAPI struct {
	Channels map[string]struct {
		Address    string               `json:"address"`
		Parameters map[string]reference `json:"parameters"`
		Messages   map[string]reference `json:"messages"`
	} `json:"channels"`
	Components struct {
		Parameters map[string]struct {
			Enum []string `json:"enum"`
		} `json:"parameters"`
		Messages map[string]message `json:"messages"`
	} `json:"components"`
}

var parameter = regexp.MustCompile(`\\\{(\w+)\\\}`)

// channel returns the messages of the one channel that a subject belongs to.
func (a *asyncAPI) channel(subject string) (found []message, err error) {
	channels := 0
	for _, c := range a.Channels {
		names := []string{}
		pattern := parameter.ReplaceAllStringFunc(regexp.QuoteMeta(c.Address), func(s string) string {
			names = append(names, parameter.FindStringSubmatch(s)[1])
			return `([A-Za-z0-9_-]+)`
		})
		values := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(subject)
		if values == nil {
			continue
		}
		for i, name := range names {
			enum := a.Components.Parameters[tail(c.Parameters[name].Ref)].Enum
			if len(enum) > 0 && !slices.Contains(enum, values[i+1]) {
				return nil, fmt.Errorf("%s is none of %v", values[i+1], enum)
			}
		}
		channels++
		for _, m := range c.Messages {
			found = append(found, a.Components.Messages[tail(m.Ref)])
		}
	}
	if channels != 1 {
		return nil, fmt.Errorf("%d channels have this subject", channels)
	}
	return found, nil
}

// tail is the last part of a reference.
func tail(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// asyncURL is what the compiler calls the AsyncAPI document.
const asyncURL = "urn:mailflume:asyncapi:v1"

// document reads the AsyncAPI document.
var document = sync.OnceValues(func() (*asyncAPI, error) {
	text, err := asyncJSON()
	if err != nil {
		return nil, err
	}
	var a asyncAPI
	return &a, json.Unmarshal(text, &a)
})

func asyncJSON() ([]byte, error) {
	var tree any
	if err := yaml.Unmarshal(event.AsyncAPI(), &tree); err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

var (
	mu       sync.Mutex // guards the compiler and compiled
	compiled = map[string]*jsonschema.Schema{}
)

var compiler = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	async, err := asyncJSON()
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.AssertFormat()
	for url, text := range map[string][]byte{
		event.SchemaEvent: event.Schema(), event.SchemaMessage: event.DataSchema(event.SchemaMessage),
		event.SchemaMailbox: event.DataSchema(event.SchemaMailbox), asyncURL: async,
	} {
		tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		closed(tree)
		err = errors.Join(err, c.AddResource(url, tree))
		if err != nil {
			return nil, err
		}
	}
	return c, nil
})

// closed forbids what a schema does not name. Conditions are left alone: they do not name everything.
func closed(tree any) {
	switch tree := tree.(type) {
	case []any:
		for _, v := range tree {
			closed(v)
		}
	case map[string]any:
		for name, v := range tree {
			if name != "if" && name != "then" && name != "else" {
				closed(v)
			}
		}
		_, named := tree["properties"].(map[string]any)
		if _, said := tree["additionalProperties"]; named && !said {
			tree["additionalProperties"] = false
		}
	}
}

func validate(url string, payload []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	s, err := schema(url)
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// schema compiles a schema, once.
func schema(url string) (*jsonschema.Schema, error) {
	mu.Lock()
	defer mu.Unlock()
	if s, there := compiled[url]; there {
		return s, nil
	}
	c, err := compiler()
	if err != nil {
		return nil, err
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, err
	}
	compiled[url] = s
	return s, nil
}
