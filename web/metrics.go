package web

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mailflume/mailflume/mailbox"
)

// collector turns the mailboxes' statuses into metrics at the moment they are asked for, so that there is one truth.
type collector struct {
	statuses func() []mailbox.Status
}

var (
	descState = prometheus.NewDesc("mailflume_mailbox_state",
		"1 for the state that the mailbox is in on this replica, 0 for the others.", []string{"mailbox", "state"}, nil)
	descPublished = prometheus.NewDesc("mailflume_events_published_total",
		"Events acknowledged by the stream, by route.", []string{"mailbox", "route"}, nil)
	descDropped = prometheus.NewDesc("mailflume_messages_dropped_total",
		"Messages that became no event, by reason.", []string{"mailbox", "reason"}, nil)
	descFailures = prometheus.NewDesc("mailflume_failures_total",
		"Failed passes and logins.", []string{"mailbox"}, nil)
	descActions = prometheus.NewDesc("mailflume_actions_total",
		"Messages that were acted upon in their mailbox after they were published, by result.", []string{"mailbox", "result"}, nil)
	descActionFailures = prometheus.NewDesc("mailflume_action_failures_total",
		"Failed attempts to act upon published messages in their mailbox.", []string{"mailbox"}, nil)
	descChecked = prometheus.NewDesc("mailflume_mailbox_last_checked_timestamp_seconds",
		"When the last complete pass over the mailbox ended; 0 if none did on this replica.", []string{"mailbox"}, nil)
	descMessage = prometheus.NewDesc("mailflume_mailbox_last_event_timestamp_seconds",
		"When the last event of the mailbox was acknowledged; 0 if none was on this replica.", []string{"mailbox"}, nil)
)

var states = []mailbox.State{
	mailbox.StateElsewhere, mailbox.StateConnecting, mailbox.StateReading,
	mailbox.StateWatching, mailbox.StateWaiting, mailbox.StateParked,
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descState, descPublished, descDropped, descFailures, descActions, descActionFailures, descChecked, descMessage} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.statuses() {
		id := s.Mailbox.ID
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{id}, labels...)...)
		}
		counter := func(d *prometheus.Desc, v uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{id}, labels...)...)
		}
		for _, state := range states {
			is := 0.0
			if s.State == state {
				is = 1
			}
			gauge(descState, is, string(state))
		}
		// The first event of a route must be an increase and not the birth of a series, which rate() does not see.
		routes := map[string]uint64{"received": 0, "dead": 0}
		maps.Copy(routes, s.Published)
		for route, n := range routes {
			counter(descPublished, n, route)
		}
		for reason, n := range s.Dropped {
			counter(descDropped, n, reason)
		}
		counter(descFailures, s.Failures)
		for result, n := range s.Actions.Done {
			counter(descActions, n, result)
		}
		counter(descActionFailures, s.Actions.Failures)
		gauge(descChecked, unix(s.LastChecked))
		gauge(descMessage, unix(s.LastMessage))
	}
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
