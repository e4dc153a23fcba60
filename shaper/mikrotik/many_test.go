//go:build !race

package mikrotik_test

const many = 1000
