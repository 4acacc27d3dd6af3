package sim

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
)

// Listen serves on a free port of 127.0.0.1, without TLS, until the World is closed. It returns the base URL.
func (o *OAuthServer) Listen() (baseURL string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return "http://" + l.Addr().String(), o.serve(l)
}

// ListenTLS is Listen with TLS; World.CertPEM has the certificate authority.
func (o *OAuthServer) ListenTLS() (baseURL string, err error) {
	conf, err := o.w.TLSConfig()
	if err != nil {
		return "", err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		return "", err
	}
	return "https://" + l.Addr().String(), o.serve(l)
}

func (o *OAuthServer) serve(l net.Listener) error {
	srv := &http.Server{Handler: o}
	if !o.w.enter(srv) {
		l.Close()
		return net.ErrClosed
	}
	go func() {
		defer o.w.leave(srv)
		srv.Serve(l) // ends with http.ErrServerClosed
	}()
	return nil
}

// HTTPClient returns a client whose every request this server answers, whatever its host, without a socket: it works in
// a testing/synctest bubble.
func (o *OAuthServer) HTTPClient() *http.Client {
	return &http.Client{
		Transport:     inProcess{o},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// inProcess hands requests to a handler.
type inProcess struct{ o *OAuthServer }

// RoundTrip answers a request, or fails when its context ends first.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	in.Host = r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	done := make(chan *http.Response, 1)
	go func() {
		rec := &recorder{header: make(http.Header)}
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler: // the connection is gone
				done <- nil
			default:
				panic(v)
			}
		}()
		p.o.ServeHTTP(rec, in)
		done <- rec.response(r)
	}()
	select {
	case resp := <-done:
		if resp == nil {
			return nil, io.ErrUnexpectedEOF
		}
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// recorder keeps what a handler writes.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (c *recorder) Header() http.Header { return c.header }

func (c *recorder) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *recorder) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(b)
}

func (c *recorder) response(r *http.Request) *http.Response {
	c.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: http.StatusText(c.status), StatusCode: c.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header, Body: io.NopCloser(&c.body), ContentLength: int64(c.body.Len()), Request: r,
	}
}
