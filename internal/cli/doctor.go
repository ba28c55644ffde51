package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/doctor"
	"kura/internal/durable"
	"kura/internal/prompt"
	"kura/internal/store"
	"kura/internal/store/all"
)

func doctorCommand(a *app) *cobra.Command {
	var online, asJSON bool
	c := &cobra.Command{
		Use:   "doctor [PROFILE]",
		Short: "look for what is wrong, and say what to type",
		Long: `Doctor looks for what keeps profiles from working or keys from being safe: in
the AWS config and credentials files, the environment, the shell's start-up
files, the stores, the age of keys and the permissions of files. With PROFILE it
looks only at what concerns that profile, and shows how its credentials come
about.

It changes nothing, unlocks nothing, asks nothing and runs no
credential_process. It calls nobody but the services and programs that keep keys
on this machine, and 1Password's op where a profile or a setting uses it, unless
--online asks it to compare the clock with AWS's, which takes a request without
credentials.

Each finding is a problem (something does not work, or is open to others), a
warning (it works, but not with every program, or not as it may be meant) or a
note. The exit status is 1 if there are problems, and 0 if there are only
warnings and notes, or nothing. --json prints a list of objects with the texts
level, what, where and fix.`,
		Example: `  kura doctor
  kura doctor admin --online
  kura doctor --json | jq -r '.[] | select(.level == "problem") | .what'`,
		Args:              atMost(1),
		ValidArgsFunction: a.completeProfiles,
	}
	c.Flags().BoolVar(&online, "online", false, "compare this machine's clock with AWS's")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, args []string) error {
		profile := ""
		if len(args) == 1 {
			profile = args[0]
		}
		r := a.examine(c.Context(), profile, online)
		write := r.writeText
		if asJSON {
			write = r.writeJSON
		}
		if err := write(a.Stdout); err != nil {
			return err
		}
		if slices.ContainsFunc(r.findings, func(f doctor.Finding) bool { return f.Level == doctor.Problem }) {
			return exitStatus{Code: exitFailure}
		}
		return nil
	}
	return c
}

// A diagnosis is what doctor shows.
type diagnosis struct {
	findings []doctor.Finding
	chain    chain.Chain // of the profile that was asked for
	resolved bool        // whether there is a chain
}

// examine looks at everything. What it finds is no error of its own.
func (a *app) examine(ctx context.Context, profile string, online bool) diagnosis {
	var r diagnosis
	config, err := a.config()
	r.unreadable(a, err)
	credentials, err := a.credentialsFile()
	r.unreadable(a, err)

	stores := census{a: a, config: cmp.Or(config, &awsconfig.File{}), names: map[*vault][]string{}}
	setup := a.examined(profile, config, credentials)
	setup.Stored = func(name string) (has, known bool) { return stores.has(ctx, name) }
	r.findings = append(r.findings, setup.Examine()...)
	r.chain, r.resolved = setup.Chain()
	profiles := setup.Scope()
	if profile == "" {
		stores.all(ctx)
		profiles = append(slices.Clone(profiles), "") // the store of those that name none
	}
	stores.onePassword(ctx, profiles)
	concerns := func(name string) bool {
		source := r.chain.Source.Stored
		return profile == "" || slices.Contains(profiles, name) || source != nil && source.Name == name
	}
	stores.old(ctx, concerns)
	stores.rotations(ctx, concerns)
	if profile == "" && config != nil {
		stores.withoutProfile()
	}
	stores.notNoted()
	if online {
		r.findings = append(r.findings, a.clock(ctx, stores.config, profile)...)
	}
	r.findings = doctor.Sorted(slices.Concat(r.findings, stores.findings, a.keeping(), a.sharing()))
	for i := range r.findings {
		r.findings[i].Fix = strings.ReplaceAll(r.findings[i].Fix, "@kura", a.name)
	}
	return r
}

// examined returns what doctor looks at, but for the stores.
func (a *app) examined(profile string, config, credentials *awsconfig.File) *doctor.Setup {
	return &doctor.Setup{
		Only:        profile,
		Config:      config,
		Credentials: credentials,
		Home:        a.home(),
		Getenv:      a.Getenv,
		Own:         []string{filepath.Dir(a.settingsFile()), a.settingsFile(), a.dataDir(), a.choiceFile()},
		Terminal:    prompt.Works(),
		LookPath:    exec.LookPath,
		Asked:       a.asked,
		MFASource:   func(value string) error { _, err := parsePrompt(value); return err },
		Explain:     a.advice,
		Quote:       shellWord,
	}
}

// sharing returns that the last session could not be shared, if it could not.
func (a *app) sharing() []doctor.Finding {
	reason := a.notShared()
	if reason == "" {
		return nil
	}
	return []doctor.Finding{{
		Level: doctor.Warning,
		What:  "the last session could not be written to 1Password: " + reason,
		Where: a.notSharedFile(),
		Fix:   "the next session that is written puts that right; session-cache=off in kura_backend does without",
	}}
}

// unreadable notes why one of AWS's files can't be read.
func (r *diagnosis) unreadable(a *app, err error) {
	if err == nil {
		return
	}
	f := doctor.Finding{Level: doctor.Problem, What: err.Error(), Fix: a.advice(err)}
	if e, ok := errors.AsType[*awsconfig.SyntaxError](err); ok {
		f.What, f.Where = e.Msg, fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	if e, ok := errors.AsType[*configError](err); ok {
		f.Where = e.name
	}
	if e, ok := errors.AsType[*credentialsFileError](err); ok {
		f.Where = e.name
	}
	r.findings = append(r.findings, f)
}

// advice is what explain says of an error, in one line.
func (a *app) advice(err error) string {
	_, hints := a.explain(err)
	return strings.Join(hints, "; ")
}

// asked returns the profile that arguments ask kura for, if they do.
func (a *app) asked(args []string) string {
	other := &app{Env: Env{Stdout: io.Discard, Stderr: io.Discard}, name: a.name}
	root := &cobra.Command{Use: a.name}
	other.global.declare(root.PersistentFlags())
	root.AddCommand(execCommand(other), exportCommand(other), credentialProcessCommand(other))
	c, rest, err := root.Find(args)
	if err != nil || c == root || c.ParseFlags(rest) != nil {
		return ""
	}
	if args := c.Flags().Args(); len(args) > 0 && c.ArgsLenAtDash() != 0 {
		return args[0]
	}
	return ""
}

// A census is what is known of the stores without unlocking one.
type census struct {
	a        *app
	config   *awsconfig.File
	looked   []*vault
	names    map[*vault][]string // of the access keys in each; nil if it does not tell
	findings []doctor.Finding
}

// has reports whether the store of a profile has its access key. A store is
// looked at when it is first asked about.
func (s *census) has(ctx context.Context, profile string) (has, known bool) {
	v, err := s.a.vaultOf(s.config, profile)
	if e, ok := errors.AsType[*backendError](err); ok {
		s.add(doctor.Problem, e.err.Error(), e.from, err)
		return false, false
	} else if err != nil {
		s.add(doctor.Problem, err.Error(), s.a.choiceFile(), err)
		return false, false
	}
	if _, looked := s.names[v]; !looked {
		s.looked = append(s.looked, v)
		s.names[v] = s.look(ctx, v, s.a.chosenBy(s.config, profile))
	}
	return slices.Contains(s.names[v], profile), s.names[v] != nil
}

// all looks at all stores that the config file leads to.
func (s *census) all(ctx context.Context) {
	s.has(ctx, "") // is that of the profiles that name none
	for _, profile := range s.config.Profiles() {
		s.has(ctx, profile)
	}
}

// storeTimeout is how long a store, or op, may take to say how it is.
const storeTimeout = 2 * checkTimeout

// look checks a store and returns what keys it has, or nil.
func (s *census) look(ctx context.Context, v *vault, chosenBy string) []string {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	_, unusable := v.Check(ctx)
	var names []string
	var err error
	if unusable == nil {
		names, err = v.List(ctx, store.AccessKey)
	}
	switch {
	case ctx.Err() != nil:
		s.findings = append(s.findings, doctor.Finding{
			Level: doctor.Problem,
			What:  fmt.Sprintf("the store in use, %s, does not answer within %v", v.name(), storeTimeout),
			Where: chosenBy,
			Fix:   `see what it waits for; "@kura backends" shows whether it works`,
		})
		return nil
	case unusable != nil:
		s.add(doctor.Problem, fmt.Sprintf("the store in use, %s, does not work: %v", v.name(), unusable), chosenBy, unusable)
		return nil
	case err != nil:
		level := doctor.Warning
		if errors.Is(err, store.ErrLocked) {
			level = doctor.Note // some tell their names only when unlocked
		}
		s.add(level, fmt.Sprintf("the store %s does not tell now which keys it has: %v", v.name(), err), chosenBy, err)
		return nil
	}
	return append([]string{}, names...)
}

func (s *census) add(level doctor.Level, what, where string, err error) {
	s.findings = append(s.findings, doctor.Finding{Level: level, What: what, Where: where, Fix: s.a.advice(err)})
}

// chosenBy returns what makes a store that of a profile, "" if nothing does.
func (a *app) chosenBy(config *awsconfig.File, profile string) string {
	section, _ := config.Profile(profile)
	if line := section.Line("kura_backend"); line > 0 && !a.global.backendForAll {
		return fmt.Sprintf("%s:%d", config.Name(), line)
	}
	if a.global.backend != "" {
		return "--backend " + a.global.backend
	}
	if _, err := os.Stat(a.choiceFile()); err == nil {
		return a.choiceFile()
	}
	return ""
}

// withoutProfile notes the keys whose profile is not configured.
func (s *census) withoutProfile() {
	for _, v := range s.looked {
		for _, name := range s.names[v] {
			if _, ok := s.config.Profile(name); ok {
				continue
			}
			s.findings = append(s.findings, doctor.Finding{
				Level: doctor.Note,
				What:  fmt.Sprintf("the store has an access key %q, and the config file no such profile", name),
				Where: v.name(),
				Fix:   fmt.Sprintf(`add a section [profile %s] for it, or "@kura remove %s"`, name, shellWord(name)),
			})
		}
	}
}

// maxKeyAge is how long AWS advises to use an access key:
// https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-3
const maxKeyAge = 90 * 24 * time.Hour

// old warns of those keys that are older than maxKeyAge. When a key was made
// only AWS knows, but it is no younger than its item.
func (s *census) old(ctx context.Context, concerns func(name string) bool) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, v := range s.looked {
		dated, ok := v.dated()
		if !ok || !slices.ContainsFunc(s.names[v], concerns) {
			continue
		}
		written, err := dated.Written(ctx, store.AccessKey)
		if err != nil {
			s.a.log.Debug("the age of the keys is not known", "backend", v.name(), "reason", err)
		}
		for _, name := range s.names[v] {
			at, ok := written[name]
			age := time.Since(at)
			if !ok || !concerns(name) || age <= maxKeyAge {
				continue
			}
			const day = 24 * time.Hour
			s.findings = append(s.findings, doctor.Finding{
				Level: doctor.Warning,
				What:  fmt.Sprintf("the access key of %q has been the same for %d days; AWS advises to replace keys after %d", name, age/day, maxKeyAge/day),
				Where: v.name(),
				Fix:   fmt.Sprintf(`"@kura rotate %s" replaces it`, shellWord(name)),
			})
		}
	}
}

// rotations warns of rotations that are under way, but for 1Password, which would
// have to be asked once more.
func (s *census) rotations(ctx context.Context, concerns func(name string) bool) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, v := range s.looked {
		if s.names[v] == nil || v.name() == all.OnePassword {
			continue
		}
		names, err := v.List(ctx, store.Rotation)
		if err != nil {
			s.a.log.Debug("it is not known whether a rotation is under way", "backend", v.name(), "reason", err)
		}
		for _, name := range names {
			if !concerns(name) {
				continue
			}
			s.findings = append(s.findings, doctor.Finding{
				Level: doctor.Warning,
				What:  fmt.Sprintf("the rotation of the access key of %q is not finished: it was interrupted, or the old key is kept", name),
				Where: v.name(),
				Fix:   fmt.Sprintf(`"@kura rotate --finish %s" ends it`, shellWord(name)),
			})
		}
	}
}

// notNoted notes that another store is in use than the one that was noted.
func (s *census) notNoted() {
	noted, err := durable.ReadFile(s.a.choiceFile(), 4096)
	choice, name := s.a.global.backend, strings.TrimSpace(string(noted))
	if err != nil || choice == "" || choice == name {
		return
	}
	s.findings = append(s.findings, doctor.Finding{
		Level: doctor.Note,
		What:  fmt.Sprintf("--backend %s, from the environment or %s, counts more than %s here, whose keys are not looked at", choice, s.a.settingsFile(), name),
		Where: s.a.choiceFile(),
		Fix:   `"@kura migrate" brings keys from one store to another; "@kura backends --use NAME" notes another one here`,
	})
}

// keeping returns why the store is unlocked anew at each command.
func (a *app) keeping() []doctor.Finding {
	err := a.keep().Works()
	if err == nil || a.global.unlockTTL <= 0 || runtime.GOOS != "linux" { // no other system can
		return nil
	}
	return []doctor.Finding{{
		Level: doctor.Note,
		What:  "the kernel keeps no secrets here, so that a store that is locked is unlocked anew for each command: " + err.Error(),
		Fix:   "in a container, allow the system calls add_key and keyctl",
	}}
}

// clock compares this machine's clock with that of the STS that a profile uses.
func (a *app) clock(ctx context.Context, config *awsconfig.File, profile string) []doctor.Finding {
	client, call, err := a.stsFor(config, cmp.Or(profile, "default"))
	var endpoint *url.URL
	if err == nil {
		endpoint, err = url.Parse(cmp.Or(call.Endpoint, "https://sts.amazonaws.com/"))
	}
	if err != nil {
		return []doctor.Finding{{Level: doctor.Problem, What: "AWS is not asked for the time: " + err.Error(), Fix: a.advice(err)}}
	}
	by := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	defer by.CloseIdleConnections()
	if client.CABundle != "" {
		pem, err := os.ReadFile(client.CABundle)
		if err != nil {
			return []doctor.Finding{{Level: doctor.Problem, What: err.Error(), Where: client.CABundle, Fix: "correct ca_bundle or AWS_CA_BUNDLE"}}
		}
		by.TLSClientConfig.RootCAs = x509.NewCertPool()
		by.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return doctor.Clock(ctx, by, endpoint, time.Now)
}

func (r diagnosis) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(append([]doctor.Finding{}, r.findings...))
}

// writeText prints the findings for people, on lines of less than 80 characters
// but for places and what may be copied.
func (r diagnosis) writeText(w io.Writer) error {
	var b strings.Builder
	if r.resolved {
		fmt.Fprintf(&b, "How profile %q gets its credentials:\n", r.chain.Profile)
		for line := range strings.Lines(r.chain.String()) {
			b.WriteString("  " + oneLine(strings.TrimSpace(line)) + "\n")
		}
		b.WriteString("\n")
	}
	counts := map[doctor.Level]int{}
	for _, f := range r.findings {
		counts[f.Level]++
		paragraph(&b, string(f.Level)+":", f.What)
		if f.Where != "" {
			fmt.Fprintf(&b, "%-8s %s\n", "where:", oneLine(f.Where))
		}
		paragraph(&b, "fix:", f.Fix)
		b.WriteString("\n")
	}
	var sums []string
	for _, level := range []doctor.Level{doctor.Problem, doctor.Warning, doctor.Note} {
		if n := counts[level]; n > 0 {
			sums = append(sums, count(n, string(level)))
		}
	}
	fmt.Fprintf(&b, "Found: %s.\n", cmp.Or(strings.Join(sums, ", "), "nothing"))
	_, err := io.WriteString(w, b.String())
	return err
}

// paragraph writes a text beside its label. What may be copied is not broken:
// what stands in double quotes, and a path from the word before it.
func paragraph(b *strings.Builder, label, text string) {
	const width = 79
	line, quotes := fmt.Sprintf("%-8s", label), 0
	for word := range strings.FieldsSeq(oneLine(text)) {
		full := utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width
		if full && quotes%2 == 0 && !strings.Contains(word, "/") {
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", 8)
		}
		line += " " + word
		quotes += strings.Count(word, `"`)
	}
	b.WriteString(line + "\n")
}
