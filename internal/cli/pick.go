package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kura/internal/awsconfig"
	"kura/internal/durable"
	"kura/internal/pick"
	"kura/internal/prompt"
)

// profileArg returns the profile that a command is about: its first argument or,
// where that is left out, what a person chooses on the terminal. Where there is
// nobody to choose, or nothing, the argument is missing.
func (a *app) profileArg(ctx context.Context, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	return a.pickProfile(ctx, usagef("required argument %q not provided", "profile"))
}

// pickProfile lets a person choose a profile on the terminal, if there is one,
// and returns missing if there is not.
func (a *app) pickProfile(ctx context.Context, missing error) (string, error) {
	if !prompt.Works() {
		return "", missing
	}
	config, err := a.config()
	if err != nil {
		return "", err
	}
	items := a.choices(config)
	if len(items) == 0 {
		return "", missing
	}
	model := pick.New("Profile: ", items)
	if !prompt.Draws(a.Getenv("TERM")) {
		return askNumber(ctx, model)
	}
	p := &picture{Model: model, style: pick.Style{Colour: a.Getenv("NO_COLOR") == ""}}
	if err := prompt.Show(ctx, p); err != nil {
		return "", err
	}
	chosen, _ := p.Choice()
	_ = prompt.Say("Profile: " + chosen.Name) // what was erased is all it says
	return chosen.Name, nil
}

// picture is a pick.Model as package prompt shows it.
type picture struct {
	pick.Model
	style pick.Style
}

func (p *picture) Lines(columns, rows int) []string { return p.Model.Lines(columns, rows, p.style) }

func (p *picture) Key(key string) (done bool, err error) {
	model, outcome := p.Model.Key(key)
	p.Model = model
	if outcome == pick.Canceled {
		return false, prompt.ErrCanceled
	}
	return outcome == pick.Chosen, nil
}

// askNumber lets a person choose on a terminal that can't draw, or only says it
// can't: by a number, a name, or parts of names, until one is left.
func askNumber(ctx context.Context, model pick.Model) (string, error) {
	const most = 40
	for {
		matches := model.Matches()
		var b strings.Builder
		for i, it := range matches[:min(most, len(matches))] {
			fmt.Fprintf(&b, "%3d  %s\n", i+1, strings.TrimRight(oneLine(it.Name+"  "+it.About), " "))
		}
		if more := len(matches) - most; more > 0 {
			fmt.Fprintf(&b, "     and %d more\n", more)
		}
		answer, err := prompt.Line(ctx, b.String()+"Number, or part of a name: ")
		switch {
		case err != nil:
			return "", err
		case answer == "":
			return "", prompt.ErrCanceled
		}
		if n, err := strconv.Atoi(answer); err == nil && 0 < n && n <= len(matches) {
			return matches[n-1].Name, nil
		}
		if slices.ContainsFunc(matches, func(it pick.Item) bool { return it.Name == answer }) {
			return answer, nil
		}
		model, _ = model.Key("\x15") // what was typed before
		for _, r := range answer {
			model, _ = model.Key(string(r))
		}
		switch found := model.Matches(); len(found) {
		case 0:
			if err := prompt.Say("nothing matches"); err != nil {
				return "", err
			}
			model, _ = model.Key("\x15")
		case 1:
			return found[0].Name, nil
		}
	}
}

// choices returns the profiles, those that are used most and most recently
// first, with what each is.
func (a *app) choices(config *awsconfig.File) []pick.Item {
	names := config.Profiles()
	var log []byte
	for _, file := range []string{durable.Former(a.usesFile()), a.usesFile()} {
		text, _ := durable.ReadFile(file, 2*maxUses) // without it the order is the file's
		log = append(log, text...)
	}
	pick.ByUse(names, string(log), time.Now())
	sessions, _ := a.sessions().List() // nor is anything lost without these
	left := map[string]time.Duration{}
	for _, s := range sessions {
		left[s.Profile] = max(left[s.Profile], time.Until(s.Expires))
	}
	items := make([]pick.Item, 0, len(names))
	for _, name := range names {
		section, _ := config.Profile(name)
		items = append(items, pick.Item{Name: name, About: about(section, left[name])})
	}
	return items
}

// about says in a few words what a profile is: account, role, region, and how
// long its session is good for.
func about(s awsconfig.Section, left time.Duration) string {
	words := []string{roleOf(s), s.Get("region")}
	if left >= time.Minute {
		text := left.Truncate(time.Minute).String()
		words = append(words, strings.TrimSuffix(text, "0s")+" left")
	}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

// maxUses is how long the log of uses gets before it begins anew, in bytes.
const maxUses = 32 << 10

func (a *app) usesFile() string { return filepath.Join(a.cacheDir(), "uses") }

// used notes that a profile was used, for the order in which they are offered.
// Nothing depends on it.
func (a *app) used(profile string) {
	if err := durable.AppendLog(a.usesFile(), pick.Note(profile, time.Now()), maxUses); err != nil {
		a.log.Debug("it is not noted that the profile was used", "reason", err)
	}
}
