// Package provider is what the adapters of payment providers share: one HTTP
// call whose outcome is known to be "never sent", an answer, or ambiguous;
// tolerant reading of answers; exact amounts; words without secrets. What a
// provider calls things and what its answers mean is in its own adapter.
package provider
