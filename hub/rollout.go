package hub

import (
	"context"
	"time"
)

// Staging asks for a rollout in steps.
type Staging struct {
	// First is the site that gets it first; "" is the one heard last.
	First string
	// MaxRefused is how many gateways may refuse before it stops by itself.
	MaxRefused int
	// ByHand waits for AdvanceRollout at each stage.
	ByHand bool
}

// Stages of a Rollout.
const (
	StageOne   = 1 // one gateway
	StageTenth = 2 // 10 %
	StageAll   = 3
)

// States of a Rollout.
const (
	RolloutRunning = "running"
	RolloutDone    = "done"
	RolloutStopped = "stopped"
)

// A Rollout is a push on its way: the same body pushed to more and more sites.
// Each stage is a push of its own; who has it already changes nothing.
type Rollout struct {
	ID      string
	Kind    string
	Subject string // forfait id and version, or the kind of setting
	Target  Target // of the last stage
	Staging Staging
	Stage   int
	State   string
	Reason  string // why it stopped
	Seq     uint64 // push of the stage
	Begun   time.Time
	// Staged is when the stage began, Settled since when all of it has
	// applied (zero: not yet).
	Staged, Settled time.Time
	// Meant is how many gateways of the stage were heard since it began;
	// Applied and Refused are their answers.
	Meant, Applied, Refused int
}

// Rollouts are the newest first.
func (h *Hub) Rollouts(ctx context.Context, by Actor, max int) ([]Rollout, error) { panic("soon") }

// AdvanceRollout begins the next stage at once.
func (h *Hub) AdvanceRollout(ctx context.Context, by Actor, id string) (Rollout, error) {
	panic("soon")
}

// StopRollout ends it where it is. Those who have it keep it; send another
// version to change that.
func (h *Hub) StopRollout(ctx context.Context, by Actor, id, reason string) error { panic("soon") }
