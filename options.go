package zonegate

import (
	"crypto/rand"
	"log/slog"
	"time"
)

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Checkpoint, time.Minute)
	set(&o.SaveAfter, time.Hour)
	set(&o.IdleTimeout, 15*time.Minute)
	set(&o.MoveInterval, 10*time.Minute)
	set(&o.LostAfter, 15*time.Minute)
	set(&o.ReserveTime, 2*time.Minute)
	set(&o.RefusalTime, 250*time.Millisecond)
	if o.SaveChanges == 0 {
		o.SaveChanges = 4096
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
