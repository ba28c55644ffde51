package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kura/internal/mint"
	"kura/internal/store"
	"kura/internal/width"
)

func listCommand(a *app) *cobra.Command {
	var only struct{ profiles, sessions, credentials, json bool }
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "show profiles, stored access keys and sessions",
		Long: `List shows the profiles of the AWS config file, the access keys in the store and
the sessions in the cache with the time they have left. It unlocks nothing and
changes nothing.`,
		Args: cobra.NoArgs,
	}
	c.Flags().BoolVar(&only.profiles, "profiles", false, "show only the names of profiles")
	c.Flags().BoolVar(&only.sessions, "sessions", false, "show only the sessions")
	c.Flags().BoolVar(&only.credentials, "credentials", false, "show only the names of stored access keys")
	c.Flags().BoolVar(&only.json, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := a.listing(c.Context())
		if err != nil {
			return err
		}
		var write error
		switch {
		case only.json:
			write = l.writeJSON(a.Stdout)
		case only.credentials:
			write = writeLines(a.Stdout, l.credentials)
		case only.profiles:
			return writeLines(a.Stdout, l.profiles)
		case only.sessions:
			var labels []string
			for _, s := range l.sessions {
				labels = append(labels, l.label(s))
			}
			return writeLines(a.Stdout, labels)
		default:
			write = l.writeTable(a.Stdout)
		}
		return errors.Join(write, l.missing)
	}
	return c
}

// A listing is what list shows.
type listing struct {
	now         time.Time
	profiles    []string // in the order of the config file
	credentials []string // names of stored access keys
	sessions    []mint.Session
	missing     error // why the access keys of some store are not shown
}

func (a *app) listing(ctx context.Context) (*listing, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	vaults, err := a.vaults(config)
	if err != nil {
		return nil, err
	}
	l := &listing{now: time.Now(), profiles: config.Profiles()}
	for _, v := range vaults {
		names, err := v.List(ctx, store.AccessKey)
		if err != nil && l.missing == nil {
			l.missing = fmt.Errorf("listing the access keys in %s: %w", v.name(), err)
		}
		l.credentials = append(l.credentials, names...)
	}
	if len(vaults) > 1 {
		slices.Sort(l.credentials)
		l.credentials = slices.Compact(l.credentials)
	}
	if l.sessions, err = a.sessions().List(); err != nil {
		return nil, fmt.Errorf("listing the sessions: %w", err)
	}
	return l, nil
}

// label shows a session as aws-vault does: its type and the time it has left.
func (l *listing) label(s mint.Session) string {
	return s.Type + ":" + s.Expires.Sub(l.now).Truncate(time.Second).String()
}

// rows returns the cells of the table: the profiles, then the access keys that
// no profile is named after, then the sessions that belong to neither.
func (l *listing) rows() [][3]string {
	stored, named := setOf(l.credentials), setOf(l.profiles)
	of := map[string][]string{} // by profile: the labels of its sessions
	for _, s := range l.sessions {
		of[s.Profile] = append(of[s.Profile], l.label(s))
	}
	sessions := func(profile string) string { return cell(strings.Join(of[profile], ", ")) }
	var rows [][3]string
	for _, p := range l.profiles {
		credentials := ""
		if stored[p] {
			credentials = p
		}
		rows = append(rows, [3]string{p, cell(credentials), sessions(p)})
	}
	for _, name := range l.credentials {
		if !named[name] {
			rows = append(rows, [3]string{"-", name, sessions(name)})
		}
	}
	for _, s := range l.sessions {
		if !named[s.Profile] && !stored[s.Profile] {
			rows = append(rows, [3]string{"-", "-", l.label(s)})
		}
	}
	return rows
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func cell(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// writeTable prints the table with aws-vault's measures, which scripts cut by:
// columns of at least 25 characters, two between them. Where names have other
// characters than ASCII's, columns are what a terminal shows.
func (l *listing) writeTable(w io.Writer) error {
	rows := append([][3]string{
		{"Profile", "Credentials", "Sessions"},
		{"=======", "===========", "========"},
	}, l.rows()...)
	columns := [3]int{25, 25, 25}
	for i, row := range rows {
		for j := range row {
			rows[i][j] = oneLine(row[j])
			columns[j] = max(columns[j], width.Of(rows[i][j])+2)
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for j, text := range row {
			b.WriteString(width.Pad(text, columns[j]))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *listing) writeJSON(w io.Writer) error {
	type session struct {
		Profile   string    `json:"profile"`
		Type      string    `json:"type"`
		AccessKey string    `json:"access_key,omitempty"`
		Expires   time.Time `json:"expires"`
		Seconds   int64     `json:"seconds_left"` // negative when expired
	}
	out := struct {
		Profiles    []string  `json:"profiles"`
		Credentials []string  `json:"credentials"`
		Sessions    []session `json:"sessions"`
	}{append([]string{}, l.profiles...), append([]string{}, l.credentials...), []session{}}
	for _, s := range l.sessions {
		left := int64(s.Expires.Sub(l.now) / time.Second)
		out.Sessions = append(out.Sessions, session{s.Profile, s.Type, s.AccessKey, s.Expires.UTC(), left})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

func writeLines(w io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, oneLine(line)); err != nil {
			return err
		}
	}
	return nil
}
