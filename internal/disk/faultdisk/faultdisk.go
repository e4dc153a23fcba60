// Package faultdisk is a disk in memory that loses power and fails on demand.
// It models what the kernel leaves after a power cut, not what it promises in
// good times. Tests import it; nothing else may.
package faultdisk
