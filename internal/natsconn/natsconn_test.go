package natsconn_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/mailflume/mailflume/internal/natsconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect starts a server and connects to it, for as long as the test runs.
func connect(t testing.TB) (*server.Server, *nats.Conn) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return srv, nc
}

// ask asks what nobody answers.
func ask(ctx context.Context, calls *natsconn.Calls, nc *nats.Conn) error {
	call, end := calls.While(ctx)
	defer end()
	_, err := nc.RequestWithContext(call, "silence", nil)
	return natsconn.Cause(call, err)
}

// A connection that is lost takes every call with it, and the next one after it.
func TestLostConnectionEndsItsCalls(t *testing.T) {
	srv, nc := connect(t)
	calls, heard := natsconn.Over(nc), make(chan struct{})
	if _, err := nc.Subscribe("silence", func(*nats.Msg) { heard <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		const n = 10
		ended := make(chan error, n)
		for range n {
			go func() { ended <- ask(t.Context(), calls, nc) }()
		}
		for range n {
			<-heard
		}
		again := nc.StatusChanged(nats.CONNECTED)
		clients, err := srv.Connz(nil)
		if err != nil || len(clients.Conns) != 1 {
			t.Fatal(clients, err)
		}
		if err := srv.DisconnectClientByID(clients.Conns[0].Cid); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := <-ended; !errors.Is(err, nats.ErrDisconnected) {
				t.Errorf("a call ended with %v", err)
			}
		}
		<-again
		nc.RemoveStatusListener(again)
	}
}

// What ends a call otherwise is told as it is.
func TestOtherEndsAreTold(t *testing.T) {
	_, nc := connect(t)
	calls := natsconn.Over(nc)
	if _, err := nc.SubscribeSync("silence"); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(canceled, calls, nc); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := ask(late, calls, nc); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	call, end := calls.While(t.Context())
	end()
	if call.Err() == nil || natsconn.Cause(call, call.Err()) != context.Canceled {
		t.Errorf("ended: %v", natsconn.Cause(call, call.Err()))
	}
	nc.Close()
	for name, calls := range map[string]*natsconn.Calls{"meanwhile": calls, "before": natsconn.Over(nc)} {
		if err := ask(t.Context(), calls, nc); !errors.Is(err, nats.ErrDisconnected) {
			t.Errorf("closed %s: %v", name, err)
		}
	}
}

// However many calls there are, one goroutine listens.
func TestCallsCostNoGoroutine(t *testing.T) {
	_, nc := connect(t)
	calls := natsconn.Over(nc)
	before := runtime.NumGoroutine()
	for range 1000 {
		_, end := calls.While(t.Context())
		defer end()
	}
	if now := runtime.NumGoroutine(); now > before+100 { // other goroutines of the process come and go
		t.Errorf("%d goroutines for 1000 calls", now-before)
	}
}

// Who has closed it costs nothing any more, though the connection lives on.
func TestCloseEndsTheListening(t *testing.T) {
	_, nc := connect(t)
	before := runtime.NumGoroutine()
	for range 1000 {
		calls := natsconn.Over(nc)
		calls.Close()
		calls.Close() // twice is once
	}
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+100; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
		}
	}
}
