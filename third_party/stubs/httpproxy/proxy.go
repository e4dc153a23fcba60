// Package httpproxy stands in for the choice of proxies by the transport of
// net/http, which the linker cannot drop and no program for routers uses: they
// ask through zonegate/internal/http1. With it come the tables of
// international names, 0.19 MB. The one call fails with errNotBuiltIn.
package httpproxy

import (
	"errors"
	"net/url"
)

var errNotBuiltIn = errors.New("the transport of net/http is not built into zonegate for routers: use internal/http1")

// Config has no settings.
type Config struct{}

// FromEnvironment reads no variable.
func FromEnvironment() *Config { return &Config{} }

// ProxyFunc returns a function that always fails, so that no request goes out
// beside a proxy that was set.
func (*Config) ProxyFunc() func(*url.URL) (*url.URL, error) {
	return func(*url.URL) (*url.URL, error) { return nil, errNotBuiltIn }
}
