package doctor

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// The topics of problems.
const (
	TopicShapers = "shapers"
	TopicTable   = "table"
	TopicGate    = "gate"
)

// A kernelReport asks the kernel once for all topics.
type kernelReport struct {
	kernel   Kernel
	once     sync.Once
	problems []Problem
	err      error
}

// topic returns a check that shows the problems of one topic.
func (k *kernelReport) topic(topic, well string) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		k.once.Do(func() { k.problems, k.err = k.kernel.Check(ctx) })
		if k.err != nil {
			return fail("run doctor as root", "%v", k.err)
		}
		out := ok("%s", well)
		var details, fixes []string
		for _, p := range k.problems {
			if p.Topic != topic {
				continue
			}
			if out.Status != Failed {
				out.Status = Warning
			}
			if p.Severe {
				out.Status = Failed
			}
			details = append(details, p.Detail)
			if p.Fix != "" && !slices.Contains(fixes, p.Fix) {
				fixes = append(fixes, p.Fix)
			}
		}
		if details != nil {
			out.Detail, out.Fix = strings.Join(details, "; "), strings.Join(fixes, "; ")
		}
		return out
	}
}
