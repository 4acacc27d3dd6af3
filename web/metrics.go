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
	descDelay = prometheus.NewDesc("mailflume_mailbox_last_event_delay_seconds",
		"How long after its message had arrived, as the mail server says, the last event was acknowledged; absent if that was no new mail.", []string{"mailbox"}, nil)
	descStale = prometheus.NewDesc("mailflume_mailbox_stale",
		"1 if no pass over the mailbox was complete for hours, else 0.", []string{"mailbox"}, nil)
	descNotice = prometheus.NewDesc("mailflume_mailbox_notice",
		"1 for a week after a promise could not be kept, such as when the stream was purged, else 0.", []string{"mailbox"}, nil)
	descStuck = prometheus.NewDesc("mailflume_stuck_messages",
		"Messages that keep a goroutine of this process busy for ever; they are on the stream as dead.", nil, nil)
)

var states = []mailbox.State{
	mailbox.StateElsewhere, mailbox.StateConnecting, mailbox.StateReading,
	mailbox.StateWatching, mailbox.StateWaiting, mailbox.StateParked,
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descState, descPublished, descDropped, descFailures, descActions, descActionFailures, descChecked, descMessage, descDelay, descStale, descNotice, descStuck} {
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
			gauge(descState, truth(s.State == state), string(state))
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
		if !s.LastArrived.IsZero() {
			gauge(descDelay, delay(s).Seconds())
		}
		gauge(descStale, truth(!s.StaleSince.IsZero()))
		gauge(descNotice, truth(s.Notice != ""))
	}
	ch <- prometheus.MustNewConstMetric(descStuck, prometheus.GaugeValue, float64(mailbox.Stuck()))
}

// delay is how long after its arrival the last message was published. The mail server's clock may be ahead of ours.
func delay(s mailbox.Status) time.Duration { return max(s.LastMessage.Sub(s.LastArrived), 0) }

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// brokerCollector turns what could be safer about the broker, and a refused configuration, into metrics.
type brokerCollector struct {
	weak    func() []Weakness
	refused func() error
}

var (
	descWeak = prometheus.NewDesc("mailflume_broker_weakness",
		"1 for each setting of the broker that could be safer.", []string{"code"}, nil)
	descRefused = prometheus.NewDesc("mailflume_config_refused",
		"1 while the configuration file has a mistake, so that an older one goes on, else 0.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c brokerCollector) Describe(ch chan<- *prometheus.Desc) { ch <- descWeak; ch <- descRefused }

// Collect implements prometheus.Collector.
func (c brokerCollector) Collect(ch chan<- prometheus.Metric) {
	said := make(map[string]bool)
	for _, w := range c.weak() {
		if !said[w.Code] {
			said[w.Code] = true
			ch <- prometheus.MustNewConstMetric(descWeak, prometheus.GaugeValue, 1, w.Code)
		}
	}
	ch <- prometheus.MustNewConstMetric(descRefused, prometheus.GaugeValue, truth(c.refused() != nil))
}
