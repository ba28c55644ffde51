package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kura/internal/awsconfig"
	"kura/internal/chain"
	"kura/internal/deliver"
	"kura/internal/doctor"
	"kura/internal/prompt"
	"kura/internal/width"
)

func configCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "show and change the profiles of the AWS config file",
		Long: `Config has commands for the AWS config file. They change the lines that they are
about and keep every other byte. What would keep a profile from working is
refused, and so are secrets, which belong into the store.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(configListCommand(a), configShowCommand(a), configAddCommand(a), configSetCommand(a),
		configUnsetCommand(a), configRemoveCommand(a), configEditCommand(a))
	return c
}

func configListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "show the profiles, and where they stand",
		Long: `List shows the profiles of the AWS config file: where their credentials come
from, their role and region, and the line that they begin at. It does not look
into the store.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			config, err := a.config()
			if err != nil {
				return err
			}
			rows := [][]string{{"Profile", "Kind", "Source", "Role", "Region", "Line"}}
			for _, name := range config.Profiles() {
				s, _ := config.Profile(name)
				kind, source := kindOf(s)
				rows = append(rows, []string{name, kind, source, roleOf(s), s.Get("region"), fmt.Sprint(config.ProfileLine(name))})
			}
			return writeColumns(a.Stdout, rows)
		},
	}
}

// kindOf says what a profile is by its own settings, and where its credentials
// come from.
func kindOf(s awsconfig.Section) (kind, source string) {
	for _, k := range []struct{ setting, kind string }{
		{"sso_session", "Identity Center"},
		{"sso_start_url", "Identity Center"},
		{"web_identity_token_file", "web identity"},
		{"web_identity_token_process", "web identity"},
		{"credential_process", "process"},
	} {
		if value := s.Get(k.setting); value != "" {
			if k.setting == "credential_process" {
				value = "" // a command line, which may be long, and hold a secret
			}
			return k.kind, value
		}
	}
	if s.Get("role_arn") != "" {
		return "role", cmp.Or(s.Get("source_profile"), s.Get("credential_source"))
	}
	return "key", s.Get("source_profile")
}

// roleOf returns the account and the name of a profile's role, or "".
func roleOf(s awsconfig.Section) string {
	account, role := s.Get("sso_account_id"), s.Get("sso_role_name")
	if arn := strings.SplitN(s.Get("role_arn"), ":", 6); len(arn) == 6 {
		account, role = arn[4], arn[5][strings.LastIndexByte(arn[5], '/')+1:]
	}
	return strings.TrimSpace(account + " " + role)
}

// writeColumns prints a table, the first row underlined.
func writeColumns(w io.Writer, rows [][]string) error {
	widths := make([]int, len(rows[0]))
	for i, row := range rows {
		for j := range row {
			if row[j] == "" {
				row[j] = "-"
			}
			rows[i][j] = oneLine(row[j])
			widths[j] = max(widths[j], width.Of(row[j]))
		}
	}
	var b strings.Builder
	write := func(row []string) {
		line := ""
		for j, text := range row {
			line += width.Pad(text, widths[j]+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	write(rows[0])
	var lines []string
	for _, head := range rows[0] {
		lines = append(lines, strings.Repeat("=", len(head)))
	}
	write(lines)
	for _, row := range rows[1:] {
		write(row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func configShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show PROFILE",
		Short: "show the settings of a profile, and where they stand",
		Long: `Show shows the settings of PROFILE and the line of each: its own, and those that
it has from profiles that it includes, or from [default].`,
		Args:              exactly("profile"),
		ValidArgsFunction: a.completeProfiles,
		RunE: func(_ *cobra.Command, args []string) error {
			config, err := a.config()
			if err != nil {
				return err
			}
			if _, ok := config.Profile(args[0]); !ok {
				return &chain.NotFoundError{Profile: args[0], Near: chain.Near(config.Profiles(), args[0])}
			}
			rows := [][]string{{"Setting", "Value", "Where"}}
			for _, from := range inherited(config, args[0]) {
				s, _ := config.Profile(from)
				for _, name := range s.Names() {
					if slices.ContainsFunc(rows[1:], func(row []string) bool { return row[0] == name }) {
						continue
					}
					value := strings.TrimSpace(strings.ReplaceAll(s.Raw(name), "\n", " "))
					if isSecretSetting(name) {
						value = "[secret]"
					}
					where := fmt.Sprintf("%s:%d", config.Name(), s.Line(name))
					if from != args[0] {
						where += " [" + from + "]"
					}
					rows = append(rows, []string{name, value, where})
				}
			}
			return writeColumns(a.Stdout, rows)
		},
	}
}

// inherited returns the profiles that settings of a profile come from: itself,
// those that are included one by the other, and where that ends [default].
func inherited(config *awsconfig.File, profile string) []string {
	names := []string{profile}
	for {
		s, _ := config.Profile(names[len(names)-1])
		next := cmp.Or(s.Get("include_profile"), "default")
		if _, ok := config.Profile(next); !ok || slices.Contains(names, next) {
			return names
		}
		names = append(names, next)
	}
}

// profileFlags are what most profiles consist of.
type profileFlags struct{ roleARN, source, mfaSerial, region string }

func configAddCommand(a *app) *cobra.Command {
	var o profileFlags
	c := &cobra.Command{
		Use:   "add PROFILE [KEY=VALUE...]",
		Short: "add a profile to the AWS config file",
		Long: `Add appends PROFILE to the AWS config file, with what the flags say and other
settings as KEY=VALUE. Without any it asks for the usual ones on the terminal.
For a profile with an access key of its own there is "kura add".`,
		Example: `  kura config add prod --role-arn arn:aws:iam::111122223333:role/admin --source-profile default
  kura config add test region=eu-west-1 duration_seconds=3600`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("required argument %q not provided", "profile")
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.roleARN, "role-arn", "", "`ARN` of the role")
	c.Flags().StringVar(&o.source, "source-profile", "", "`profile` whose credentials the role is assumed with")
	c.Flags().StringVar(&o.mfaSerial, "mfa-serial", "", "`ARN` of the MFA device, for the config file")
	c.Flags().StringVar(&o.region, "region", "", "the AWS `region`")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, profile := c.Context(), args[0]
		settings, err := parseSettings(args[1:])
		if err != nil {
			return err
		}
		if len(settings) == 0 && o == (profileFlags{}) {
			if err := a.askProfile(ctx, profile, &o); err != nil {
				return err
			}
		}
		settings = append(o.settings(), settings...)
		return a.changeProfile(ctx, profile, settings, func(f *awsconfig.File) (*awsconfig.File, error) {
			return f.AddProfile(profile, settings...)
		})
	}
	return c
}

func (o *profileFlags) settings() []awsconfig.Setting {
	var list []awsconfig.Setting
	for _, s := range []awsconfig.Setting{
		{Name: "source_profile", Value: o.source},
		{Name: "role_arn", Value: o.roleARN},
		{Name: "mfa_serial", Value: o.mfaSerial},
		{Name: "region", Value: o.region},
	} {
		if s.Value != "" {
			list = append(list, s)
		}
	}
	return list
}

// askProfile asks for what a profile consists of. Each may be left blank.
func (a *app) askProfile(ctx context.Context, profile string, o *profileFlags) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	if _, ok := config.Profile(profile); ok { // said before anything is asked
		return fmt.Errorf("%s:%d: profile %q: %w", config.Name(), config.ProfileLine(profile), profile, awsconfig.ErrProfileExists)
	}
	for _, q := range []struct {
		to   *string
		text string
		ask  func() bool
	}{
		{&o.roleARN, "Enter the ARN of the role (blank for none): ", nil},
		{&o.source, "Enter the source profile (blank for default): ", func() bool { return o.roleARN != "" }},
		{&o.mfaSerial, "Enter MFA Device ARN (If MFA is not enabled, leave this blank): ", nil},
		{&o.region, "Enter the region (blank for none): ", nil},
	} {
		if q.ask != nil && !q.ask() {
			continue
		}
		if *q.to, err = prompt.Line(ctx, q.text); err != nil {
			if errors.Is(err, prompt.ErrNoTerminal) {
				return usagef("no settings are given, and there is no terminal to ask on")
			}
			return err
		}
	}
	if o.roleARN != "" {
		o.source = cmp.Or(o.source, "default")
	}
	return nil
}

func configSetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "set PROFILE KEY=VALUE...",
		Short: "change settings of a profile",
		Long: `Set changes settings of PROFILE in the AWS config file, or adds them. Spacing
and the comments beside them stay.`,
		Example:           `  kura config set prod region=eu-west-1 duration_seconds=3600`,
		Args:              profileAndMore("setting"),
		ValidArgsFunction: a.completeSettings("="),
		RunE: func(c *cobra.Command, args []string) error {
			settings, err := parseSettings(args[1:])
			if err != nil {
				return err
			}
			return a.changeProfile(c.Context(), args[0], settings, func(f *awsconfig.File) (_ *awsconfig.File, err error) {
				for _, s := range settings {
					if f, err = f.Set(args[0], s.Name, s.Value); err != nil {
						return nil, err
					}
				}
				return f, nil
			})
		},
	}
}

func configUnsetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "unset PROFILE KEY...",
		Short:             "remove settings of a profile",
		Long:              "Unset removes settings of PROFILE from the AWS config file.",
		Args:              profileAndMore("setting"),
		ValidArgsFunction: a.completeSettings(""),
		RunE: func(c *cobra.Command, args []string) error {
			return a.changeProfile(c.Context(), args[0], nil, func(f *awsconfig.File) (_ *awsconfig.File, err error) {
				s, _ := f.Profile(args[0])
				for _, name := range args[1:] {
					if s.Line(name) == 0 {
						return nil, &noSettingError{args[0], name, chain.Near(s.Names(), name)}
					}
					if f, err = f.Unset(args[0], name); err != nil {
						return nil, err
					}
				}
				return f, nil
			})
		},
	}
}

func configRemoveCommand(a *app) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:     "remove PROFILE",
		Aliases: []string{"rm"},
		Short:   "remove a profile from the AWS config file",
		Long: `Remove removes the section of PROFILE from the AWS config file. Its access key
stays in the store: "kura remove" is for that. A profile that others need is
left where it is, unless --force says otherwise.`,
		Args:              exactly("profile"),
		ValidArgsFunction: a.completeProfiles,
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.changeProfile(c.Context(), args[0], nil, func(f *awsconfig.File) (*awsconfig.File, error) {
			if users := usersOf(f, args[0]); len(users) > 0 && !force {
				return nil, &neededError{args[0], users}
			}
			return f.RemoveProfile(args[0])
		})
	}
	return c
}

// usersOf returns the profiles that name one as their source, or include it.
func usersOf(f *awsconfig.File, profile string) []string {
	var users []string
	for _, name := range f.Profiles() {
		s, _ := f.Profile(name)
		if name != profile && (s.Get("source_profile") == profile || s.Get("include_profile") == profile) {
			users = append(users, name)
		}
	}
	return users
}

// changeProfile edits the config file, unless that would keep the profile from
// working. Settings are those that are written. The file is read under a lock,
// so that nobody's change is lost.
func (a *app) changeProfile(ctx context.Context, profile string, settings []awsconfig.Setting, edit func(*awsconfig.File) (*awsconfig.File, error)) error {
	for _, s := range settings {
		if err := a.checkSetting(profile, s); err != nil {
			return err
		}
	}
	defer a.lockConfig(ctx)()
	before, err := a.config()
	if err != nil {
		return err
	}
	after, err := edit(before)
	if errors.Is(err, awsconfig.ErrNoProfile) {
		return &chain.NotFoundError{Profile: profile, Near: chain.Near(before.Profiles(), profile)}
	}
	if err != nil {
		return err
	}
	if after == before {
		if _, ok := before.Profile(profile); !ok {
			return &chain.NotFoundError{Profile: profile, Near: chain.Near(before.Profiles(), profile)}
		}
		return nil
	}
	if _, ok := after.Profile(profile); ok {
		if err := a.resolves(ctx, after, profile); err != nil {
			// What was wrong before is no reason to leave the rest wrong.
			if was := a.resolves(ctx, before, profile); was == nil || was.Error() != err.Error() {
				if e, ok := errors.AsType[*chain.SettingError](err); ok {
					e.File, e.Line = "", 0 // it stands nowhere yet
				}
				return &brokenError{err}
			}
		}
	}
	return writeConfig(after)
}

// resolves returns what keeps a profile from having a chain, whatever the
// environment says. That it has no key yet does not count.
func (a *app) resolves(ctx context.Context, f *awsconfig.File, profile string) error {
	known := map[string]bool{}
	for {
		_, err := chain.Resolve(f, profile, chain.Overrides{Stored: func(name string) bool { return known[name] }})
		if _, ok := errors.AsType[*chain.NoSourceError](err); ok {
			return nil
		}
		e, ok := errors.AsType[*chain.NotFoundError](err)
		if !ok || known[e.Profile] {
			return err
		}
		// A key without a profile will do as the source.
		has, unknown := a.stored(ctx, f, e.Profile)
		if unknown != nil || !has {
			return err
		}
		known[e.Profile] = true
	}
}

// checkSetting refuses secrets, and values that can't be what they are to be.
func (a *app) checkSetting(profile string, s awsconfig.Setting) error {
	name := strings.ToLower(s.Name)
	var err error
	switch {
	case isSecretSetting(name):
		return &secretSettingError{profile, name}
	case name == "mfa_serial" && !chain.IsMFASerial(s.Value):
		return &serialError{s.Value}
	case name == "mfa_source":
		_, err = parsePrompt(s.Value)
	case name == "kura_backend":
		_, err = parseSpec(a.backends(), s.Value)
	}
	if err != nil {
		return &chain.SettingError{Profile: profile, Setting: name, Value: s.Value, Msg: err.Error()}
	}
	if known := knownSettings(); !slices.Contains(known, name) {
		text := fmt.Sprintf("no setting that kura knows is called %q", s.Name)
		if near := chain.Near(known, name); len(near) > 0 {
			text += "; is it " + strings.Join(quoted(near), " or ") + "?"
		}
		a.log.Warn(text)
	}
	return nil
}

func isSecretSetting(name string) bool {
	switch strings.ToLower(name) {
	case "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_security_token":
		return true
	}
	return false
}

// knownSettings are the settings of profiles that this program, the AWS CLI and
// AWS's SDKs share.
//
// See https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
func knownSettings() []string {
	return strings.Fields(`region output role_arn source_profile mfa_serial duration_seconds external_id role_session_name
		credential_process credential_source web_identity_token_file sso_session sso_start_url sso_region
		sso_account_id sso_role_name ca_bundle endpoint_url services sts_regional_endpoints
		ignore_configured_endpoint_urls use_fips_endpoint use_dualstack_endpoint retry_mode max_attempts
		defaults_mode cli_pager cli_auto_prompt cli_binary_format cli_history cli_timestamp_format cli_follow_urlparam
		s3 s3_use_arn_region s3_disable_multiregion_access_points ec2_metadata_service_endpoint
		ec2_metadata_service_endpoint_mode ec2_metadata_v1_disabled metadata_service_timeout metadata_service_num_attempts
		request_checksum_calculation response_checksum_validation request_min_compression_size_bytes
		disable_request_compression sigv4a_signing_region_set auth_scheme_preference account_id_endpoint_mode
		sdk_ua_app_id tcp_keepalive parameter_validation api_versions login_session
		kura_backend kura_browser kura_container kura_browser_profile mfa_source mfa_process include_profile session_tags transitive_session_tags source_identity
		web_identity_token_process`)
}

// parseSettings reads arguments KEY=VALUE.
func parseSettings(args []string) ([]awsconfig.Setting, error) {
	var list []awsconfig.Setting
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok || name == "":
			return nil, usagef("a setting is given as KEY=VALUE, got %q", name)
		case value == "":
			return nil, usagef("%s has no value; unset removes a setting", name)
		}
		list = append(list, awsconfig.Setting{Name: name, Value: strings.TrimSpace(value)})
	}
	return list, nil
}

// profileAndMore is exactly for a profile and one or more of something.
func profileAndMore(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		return exactly("profile", what)(nil, args[:min(len(args), 2)])
	}
}

// completeSettings completes the name of a profile and then those of settings.
func (a *app) completeSettings(after string) completer {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeProfiles(c, args, typed)
		}
		names := knownSettings()
		if after == "" {
			if config, err := a.config(); err == nil {
				s, _ := config.Profile(args[0])
				names = s.Names()
			}
		}
		for i := range names {
			names[i] += after
		}
		return beginning(names, typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

func configEditCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "open the AWS config file in your editor, and check it",
		Long: `Edit opens the AWS config file in the editor that VISUAL or EDITOR names. When
that has ended it says what is wrong with the file, as doctor does. The status
is 1 if a problem is among it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			name := a.configFile()
			if err := a.runEditor(c.Context(), name); err != nil {
				return &editorError{err}
			}
			r := a.examineConfig(c.Context())
			if len(r.findings) == 0 {
				return nil
			}
			if err := r.writeText(a.Stderr); err != nil {
				return err
			}
			if slices.ContainsFunc(r.findings, func(f doctor.Finding) bool { return f.Level == doctor.Problem }) {
				return exitStatus{Code: exitFailure}
			}
			return nil
		},
	}
}

// examineConfig is examine for what stands in the config file.
func (a *app) examineConfig(ctx context.Context) diagnosis {
	var r diagnosis
	config, err := a.config()
	r.unreadable(a, err)
	stores := census{a: a, config: cmp.Or(config, &awsconfig.File{}), names: map[*vault][]string{}}
	setup := a.examined("", config, nil)
	setup.Stored = func(name string) (has, known bool) { return stores.has(ctx, name) }
	for _, f := range setup.Examine() {
		if file, _, _ := strings.Cut(f.Where, ":"); config != nil && strings.HasPrefix(f.Where, config.Name()) || file == "" {
			f.Fix = strings.ReplaceAll(f.Fix, "@kura", a.name)
			r.findings = append(r.findings, f)
		}
	}
	return r
}

// runEditor runs the user's editor, which may be a command line, on a file.
func (a *app) runEditor(ctx context.Context, name string) error {
	fallback := "vi"
	if runtime.GOOS == "windows" {
		fallback = "notepad"
	}
	editor := cmp.Or(a.Getenv("VISUAL"), a.Getenv("EDITOR"), fallback)
	argv := append(strings.Fields(editor), name)
	if runtime.GOOS != "windows" {
		argv = []string{"/bin/sh", "-c", editor + ` "$1"`, "sh", name}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.Stdin, a.Stdout, a.Stderr
	cmd.Env = deliver.Scrub(a.Environ)
	return cmd.Run()
}

// A brokenError says that a change was not made, and why.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "nothing was changed: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// A neededError says that a profile was not removed, because of others.
type neededError struct {
	profile string
	users   []string
}

func (e *neededError) Error() string {
	return fmt.Sprintf("profile %q is needed by %s", e.profile, strings.Join(quoted(e.users), ", "))
}

// A noSettingError says that a profile has no such setting of its own.
type noSettingError struct {
	profile, setting string
	near             []string
}

func (e *noSettingError) Error() string {
	return fmt.Sprintf("profile %q has no setting %q", e.profile, e.setting)
}

// A secretSettingError says that a secret was to be written into the file.
type secretSettingError struct{ profile, setting string }

func (e *secretSettingError) Error() string {
	return e.setting + " is not written into the config file, where every program can read it"
}

// An editorError says that the user's editor did not end well.
type editorError struct{ err error }

func (e *editorError) Error() string { return "the editor: " + e.err.Error() }
func (e *editorError) Unwrap() error { return e.err }
