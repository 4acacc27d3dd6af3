package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mailflume/mailflume/token"
)

// Grants is what the metrics say of the grants of this replica's mailboxes, as of the last look at them.
type Grants struct {
	List       []token.Status
	SecretEnds map[string]time.Time // of the clients' secrets and certificates, where it is known
}

// grantCollector turns Grants into metrics.
type grantCollector struct{ grants func() Grants }

var (
	descNeeds = prometheus.NewDesc("mailflume_grant_needs_person",
		"1 if the provider refuses the mailbox's grant and somebody has to sign in, else 0.", []string{"mailbox"}, nil)
	descIssued = prometheus.NewDesc("mailflume_grant_refresh_token_timestamp_seconds",
		"Since when the refresh token is held; 0 if there is none.", []string{"mailbox"}, nil)
	descEnds = prometheus.NewDesc("mailflume_grant_refresh_token_ends_timestamp_seconds",
		"When the refresh token ends, if the provider has said so.", []string{"mailbox"}, nil)
	descWarning = prometheus.NewDesc("mailflume_grant_warning",
		"1 while the mailbox will stop before long, or does not use what is configured, for the reason that code names.", []string{"mailbox", "code"}, nil)
	descSecret = prometheus.NewDesc("mailflume_client_secret_ends_timestamp_seconds",
		"When the secret or the certificate of an OAuth client expires, if it is known.", []string{"client"}, nil)
)

// Describe implements prometheus.Collector.
func (c grantCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descNeeds, descIssued, descEnds, descWarning, descSecret} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c grantCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	g := c.grants()
	for _, s := range g.List {
		needs := 0.0
		if s.State == token.NeedsPerson {
			needs = 1
		}
		gauge(descNeeds, needs, s.Mailbox)
		gauge(descIssued, unix(s.RefreshAt), s.Mailbox)
		if !s.RefreshEnds.IsZero() {
			gauge(descEnds, unix(s.RefreshEnds), s.Mailbox)
		}
		for _, w := range s.Warnings {
			gauge(descWarning, 1, s.Mailbox, w.Code)
		}
	}
	for client, ends := range g.SecretEnds {
		gauge(descSecret, unix(ends), client)
	}
}
