package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate runs the migrations that the database has not had: all of them, or
// none. Their numbers are the names of the files.
func migrate(ctx context.Context, e engine) error {
	files, err := fs.Glob(migrations, "migrations/*.sql") // in order
	if err != nil {
		return err
	}
	return e.write(ctx, func(t *tx) error {
		// Several processes may start at once.
		if err := t.Lock("migrations"); err != nil {
			return err
		}
		if err := t.do("CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)"); err != nil {
			return err
		}
		have, err := one(t, number, "SELECT COALESCE(MAX(version), 0) FROM migrations")
		if err != nil {
			return err
		}
		if have > int64(len(files)) {
			return fmt.Errorf("the database has version %d of the tables and this program knows %d: use the newer program", have, len(files))
		}
		for i, name := range files[have:] {
			script, err := migrations.ReadFile(name)
			if err != nil {
				return err
			}
			for statement := range strings.SplitSeq(string(script), ";\n") {
				if strings.TrimSpace(statement) == "" {
					continue
				}
				if err := t.do(statement); err != nil {
					return fmt.Errorf("migrating with %s: %w", name, err)
				}
			}
			if err := t.do("INSERT INTO migrations (version) VALUES ($1)", have+int64(i)+1); err != nil {
				return err
			}
		}
		return nil
	})
}
