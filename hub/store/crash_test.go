package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"zonegate/hub"
	"zonegate/hub/store"
	"zonegate/sync/api"
)

// victimEnv makes the test program a hub that takes reports until it is
// killed, and says on its output what it has acknowledged.
const victimEnv = "HUB_STORE_VICTIM"

type victimTask struct {
	Database string
	Gateway  hub.Gateway
	From     uint64
}

func victim() {
	var task victimTask
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv)), &task); err != nil {
		fmt.Println("fault", err)
		return
	}
	s, err := store.Open(context.Background(), task.Database, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("fault", err)
		return
	}
	keys, err := hub.NewKeys()
	if err != nil {
		fmt.Println("fault", err)
		return
	}
	h := hub.New(hub.Options{Store: s, Keys: keys, Hasher: plainHasher{}})
	b := &box{Gateway: task.Gateway, n: task.From - 1}
	for {
		es := b.redeemed(hub.Forfait{}, 1+int(b.n%17))
		got, err := h.Report(context.Background(), b.Gateway, api.Reports{Instance: b.Gateway.Instance, Entries: es})
		if err != nil {
			fmt.Println("fault", err)
			return
		}
		fmt.Println(got.Through)
	}
}

// A hub that is killed while it takes reports has everything that it
// acknowledged, and no half of a report: entries and sales agree.
func TestKilled(t *testing.T) { onEach(t, testKilled) }

func testKilled(t *testing.T, w *world) {
	b := w.gateway(w.site(w.reseller("A", plenty), "Market"), "one")
	program, err := os.Executable()
	w.ok(err)
	from := uint64(1)
	for round := range 8 {
		task, err := json.Marshal(victimTask{Database: w.database, Gateway: b.Gateway, From: from})
		w.ok(err)
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), victimEnv+"="+string(task))
		out, err := cmd.StdoutPipe()
		w.ok(err)
		w.ok(cmd.Start())
		var through uint64
		lines := bufio.NewScanner(out)
		for killed, n := false, 0; lines.Scan(); n++ {
			if strings.HasPrefix(lines.Text(), "fault") {
				t.Fatal(lines.Text())
			}
			through, err = strconv.ParseUint(lines.Text(), 10, 64)
			w.ok(err)
			if n >= 10+7*round && !killed {
				w.ok(cmd.Process.Kill()) // SIGKILL, in the midst of it
				killed = true
			}
		}
		cmd.Wait()

		next := w.again(b).NextEntry
		if next <= through {
			t.Fatalf("entry %d was acknowledged and the hub expects %d", through, next)
		}
		if n := w.count("entries"); n != next-1 {
			t.Errorf("%d entries are there and the hub expects %d", n, next)
		}
		if n := w.count("sales"); n != next-1 {
			t.Errorf("%d sales are there of %d entries", n, next-1)
		}
		from = next
	}
}
