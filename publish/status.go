package publish

import (
	"context"
	"fmt"
	"time"
)

// Status is what can be said about the connection without asking the server.
type Status struct {
	Connected bool
	Embedded  bool
	Where     string // for people: the URLs without credentials, or the directory
	URL       string // where other programs connect, without credentials; empty if the built-in server has no listener
	Version   string // of the server we are connected to
}

// Status returns the state of the connection.
func (p *Publisher) Status() Status {
	return Status{
		Connected: p.nc.IsConnected(), Embedded: p.server != nil, Where: p.config.where(), URL: p.clientURL(),
		Version: p.nc.ConnectedServerVersion(),
	}
}

func (p *Publisher) clientURL() string {
	if p.server == nil {
		return p.config.where()
	}
	return p.server.url()
}

// Usage says how full the stream and the bucket are. A limit of 0 means none.
type Usage struct {
	Stream Store
	Bucket Store
}

// Store is the part of a stream's state that people look at. Sizes are in bytes.
type Store struct {
	Name               string
	Created            time.Time
	Messages, Bytes    uint64
	MaxBytes           int64
	MaxAge             time.Duration
	FirstSeq, LastSeq  uint64
	FirstTime          time.Time
	Replicas, Answered int    // how many copies there should be, and how many are up to date
	Leader             string // empty on a single server
}

// Usage asks the server for the sizes and limits.
func (p *Publisher) Usage(ctx context.Context) (Usage, error) {
	s, err := p.streamInfo(ctx, p.config.Stream.Name)
	if err != nil {
		return Usage{}, fmt.Errorf("ask for the state of the stream %s: %w", p.config.Stream.Name, err)
	}
	b, err := p.streamInfo(ctx, bucketStream(p.config.Bucket))
	if err != nil {
		return Usage{}, fmt.Errorf("ask for the state of the bucket %s: %w", p.config.Bucket, err)
	}
	return Usage{Stream: s.store(p.config.Stream.Name), Bucket: b.store(p.config.Bucket)}, nil
}

// streamInfo is the part of the answer of STREAM.INFO that we read.
type streamInfo struct {
	Error   *answerError `json:"error"`
	Created time.Time    `json:"created"`
	Config  struct {
		MaxBytes int64         `json:"max_bytes"`
		MaxAge   time.Duration `json:"max_age"`
		Replicas int           `json:"num_replicas"`

		DenyPurge bool `json:"deny_purge"`
	} `json:"config"`
	State struct {
		Messages  uint64    `json:"messages"`
		Bytes     uint64    `json:"bytes"`
		FirstSeq  uint64    `json:"first_seq"`
		FirstTime time.Time `json:"first_ts"`
		LastSeq   uint64    `json:"last_seq"`
	} `json:"state"`
	Cluster *struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Current bool `json:"current"`
			Offline bool `json:"offline"`
		} `json:"replicas"`
	} `json:"cluster"`
}

func (i *streamInfo) store(name string) Store {
	s := Store{
		Name: name, Created: i.Created, Messages: i.State.Messages, Bytes: i.State.Bytes, MaxBytes: max(i.Config.MaxBytes, 0),
		MaxAge: i.Config.MaxAge, FirstSeq: i.State.FirstSeq, LastSeq: i.State.LastSeq, FirstTime: i.State.FirstTime,
		Replicas: i.Config.Replicas, Answered: 1,
	}
	if i.Cluster != nil {
		s.Leader = i.Cluster.Leader
		for _, r := range i.Cluster.Replicas {
			if r.Current && !r.Offline {
				s.Answered++
			}
		}
	}
	return s
}

func (p *Publisher) streamInfo(ctx context.Context, stream string) (*streamInfo, error) {
	var info streamInfo
	if err := p.ask(ctx, "$JS.API.STREAM.INFO."+stream, nil, &info); err != nil {
		return nil, err
	}
	if info.Error != nil {
		return nil, fmt.Errorf("%w: %w", info.Error.kind(), info.Error)
	}
	return &info, nil
}
