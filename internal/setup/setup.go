// Package setup works out what the AWS config file is to say of a profile, so
// that the AWS CLI, SDKs and awsume get its credentials from this program. It
// decides and does nothing: it asks nobody, runs nothing and writes nothing. It
// does not know how keys are kept.
package setup

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"kura/internal/awsconfig"
	"kura/internal/onepassword"
)

// A Profile is a profile as it is to be.
type Profile struct {
	Name      string
	Program   string // the path of this program, see Place
	Backend   string // where the key is; "" leaves what the profile says
	MFASerial string // "" leaves what the profile says
	Region    string // "" leaves what the profile says, or else takes what the item does
	Item      *Item  // that holds the key, in place of Backend; nil if none does
}

// An Item is an item of 1Password that holds an access key.
type Item struct {
	Account, Vault, ID string // IDs; "" is no Account

	MakesCodes    bool   // of the MFA device
	Region        string // "" if it names none
	SharesSession bool   // with other machines
}

// Line returns the credential_process of the profile.
func (p Profile) Line() string { return p.Program + " credential-process " + p.Name }

// backend returns where the key is, as kura_backend says it.
func (p Profile) backend() string {
	if p.Item == nil {
		return p.Backend
	}
	spec := fmt.Sprintf("1password:%s,item=%s,name=%s", p.Item.Vault, p.Item.ID, p.Name)
	if p.Item.Account != "" {
		spec += ",account=" + p.Item.Account
	}
	if p.Item.SharesSession {
		spec += ",session-cache=on"
	}
	return spec
}

// Edit returns f with the profile in it, and f itself if there is nothing to
// change. Check comes first.
func (p Profile) Edit(f *awsconfig.File) (*awsconfig.File, error) {
	section, configured := f.Profile(p.Name)
	settings := []awsconfig.Setting{{Name: "kura_backend", Value: p.backend()}}
	if p.Item != nil && p.Item.MakesCodes {
		settings = append(settings, awsconfig.Setting{Name: "mfa_source", Value: "1password"})
	}
	settings = append(settings, awsconfig.Setting{Name: "mfa_serial", Value: p.MFASerial})
	region := p.Region
	if region == "" && p.Item != nil && section.Get("region") == "" {
		region = p.Item.Region
	}
	settings = append(settings,
		awsconfig.Setting{Name: "region", Value: region},
		awsconfig.Setting{Name: "credential_process", Value: p.Line()})
	settings = slices.DeleteFunc(settings, func(s awsconfig.Setting) bool {
		return s.Value == "" || section.Raw(s.Name) == s.Value
	})
	if !configured {
		return f.AddProfile(p.Name, settings...)
	}
	var err error
	for _, s := range settings {
		if f, err = f.Set(p.Name, s.Name, s.Value); err != nil {
			return nil, err
		}
	}
	if p.Item != nil && !p.Item.MakesCodes && section.Get("mfa_source") == "1password" {
		return f.Unset(p.Name, "mfa_source")
	}
	return f, nil
}

// A NameError says that a profile has a name with which no command line can be
// written that all programs read alike.
type NameError struct{ Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("the name %q can't stand in a credential_process, which some programs split at blanks and others give to a shell", e.Name)
}

// An OtherwiseError says that a profile has its credentials from elsewhere: a
// setting that AWS's tools look at before credential_process.
type OtherwiseError struct{ Profile, Setting, Value string }

func (e *OtherwiseError) Error() string {
	return fmt.Sprintf("profile %q has %s, which comes before credential_process: it has no use for a key of its own", e.Profile, e.Setting)
}

// Check returns a *NameError or an *OtherwiseError if a profile can't have a
// credential_process that works.
func Check(f *awsconfig.File, profile string) error {
	if !plainName(profile) {
		return &NameError{profile}
	}
	section, _ := f.Profile(profile)
	for _, setting := range []string{
		"source_profile", "credential_source", "role_arn",
		"sso_session", "sso_start_url",
		"web_identity_token_file", "web_identity_token_process",
		"login_session",
	} {
		// To name oneself is to name nobody.
		if value := section.Get(setting); value != "" && (setting != "source_profile" || value != profile) {
			return &OtherwiseError{profile, setting, value}
		}
	}
	return nil
}

// Asks reports whether a profile has a credential_process that asks this program
// for something.
func Asks(f *awsconfig.File, profile, program string) bool {
	section, _ := f.Profile(profile)
	words := strings.Fields(section.Raw("credential_process"))
	if len(words) == 0 {
		return false
	}
	command := strings.Trim(words[0], `"'`)
	return command == program || strings.TrimSuffix(filepath.Base(command), ".exe") == "kura"
}

// Candidates returns the items that may hold an access key, in this order: API
// Credentials, those first that seem to be AWS's; and others that seem so.
func Candidates(items []onepassword.Summary) []onepassword.Summary {
	rank := func(it onepassword.Summary) int {
		switch aws := seemsAWS(it); {
		case it.Category == apiCredential && aws:
			return 0
		case it.Category == apiCredential:
			return 1
		case aws:
			return 2
		}
		return 3
	}
	items = slices.DeleteFunc(slices.Clone(items), func(it onepassword.Summary) bool { return rank(it) == 3 })
	slices.SortStableFunc(items, func(a, b onepassword.Summary) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)),
			strings.Compare(a.Vault.Name, b.Vault.Name),
		)
	})
	return items
}

const apiCredential = "API_CREDENTIAL"

// seemsAWS reports whether the little that a list says of an item has to do with
// AWS.
func seemsAWS(it onepassword.Summary) bool {
	for _, text := range append([]string{it.Title}, it.Tags...) {
		text = strings.ToLower(text)
		if strings.Contains(text, "aws") || strings.Contains(text, "amazon") || strings.Contains(text, "access key") {
			return true
		}
	}
	return strings.HasPrefix(it.Info, "AKIA") // the user of a login that holds a key
}

// Kind says of which kind an item is, "" of the usual one.
func Kind(it onepassword.Summary) string {
	if it.Category == apiCredential {
		return ""
	}
	return strings.ToLower(strings.ReplaceAll(it.Category, "_", " "))
}
