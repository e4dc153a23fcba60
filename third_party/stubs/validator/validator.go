// Package validator stands in for the struct validator that gin calls after
// every bind. The real package costs a router 6.5 MB of flash: it reaches
// reflect.MethodByName, which makes the linker keep every exported method of
// the whole program. Handlers of zonegate check what they bind by hand.
//
// A struct that carries validation tags is refused, not waved through: a tag
// that nobody enforces would look like a check.
package validator

import (
	"fmt"
	"reflect"
)

// A Validate refuses structs with validation tags. Its methods other than
// SetTagName may be called concurrently.
type Validate struct{ tag string }

// New returns a Validate that looks for tags named "validate".
func New() *Validate { return &Validate{tag: "validate"} }

// SetTagName sets the name of the struct tag that is refused. gin sets
// "binding". Call it before the first Struct.
func (v *Validate) SetTagName(name string) { v.tag = name }

// Struct returns nil for a struct (or a pointer to one) without validation
// tags at any depth, and an error that names the tagged field otherwise.
func (v *Validate) Struct(s any) error {
	return v.refuseTags(reflect.TypeOf(s), make(map[reflect.Type]bool))
}

func (v *Validate) refuseTags(t reflect.Type, seen map[reflect.Type]bool) error {
	if t == nil || seen[t] {
		return nil
	}
	seen[t] = true

	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return v.refuseTags(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if tag := f.Tag.Get(v.tag); tag != "" && tag != "-" {
				return fmt.Errorf("field %s of %s has a %s tag, but the validator is not built into zonegate: check the value in the handler",
					f.Name, t, v.tag)
			}
			if err := v.refuseTags(f.Type, seen); err != nil {
				return err
			}
		}
	}
	return nil
}
