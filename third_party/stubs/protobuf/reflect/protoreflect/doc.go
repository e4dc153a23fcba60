// Package protoreflect is empty. It exists so that `go mod tidy` can resolve an
// import in gin's own test data; nothing builds it.
package protoreflect
