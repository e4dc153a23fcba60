//go:build race

package mikrotik_test

// Under the race detector every word read costs the library two goroutines
// that are watched.
const many = 150
