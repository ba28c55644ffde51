package foreign

import (
	"fmt"
	"slices"
	"strings"

	"kura/internal/awsconfig"
	"kura/internal/cred"
)

// The settings of an access key, which may stand in either of AWS's files.
//
// Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
const (
	accessKeyID     = "aws_access_key_id"
	secretAccessKey = "aws_secret_access_key"
)

// FromFile returns the access keys in a credentials or config file, in the
// order of its sections. Those without one are left out. Half a key is an item
// whose Err is a *HalfError.
func FromFile(f *awsconfig.File) []Item {
	var items []Item
	for _, name := range f.Profiles() {
		section, _ := f.Profile(name)
		id, secret := section.Get(accessKeyID), section.Get(secretAccessKey)
		if id == "" && secret == "" {
			continue
		}
		item := Item{Name: name, Note: fmt.Sprintf("%s:%d", f.Name(), section.Line(accessKeyID))}
		token := section.Get("aws_session_token")
		if token == "" {
			// The older name, which the AWS CLI still reads: SharedCredentialProvider
			// of botocore/credentials.py.
			token = section.Get("aws_security_token")
		}
		switch {
		case secret == "":
			item.Err = &HalfError{item.Note, secretAccessKey}
		case id == "":
			item.Note = fmt.Sprintf("%s:%d", f.Name(), section.Line(secretAccessKey))
			item.Err = &HalfError{item.Note, accessKeyID}
		case strings.Contains(id+secret+token, "\n"):
			item.Err = fmt.Errorf("%s: the access key has lines that continue it", item.Note)
		default:
			item.Key = cred.Credentials{
				AccessKeyID:     id,
				SecretAccessKey: cred.NewSecret(secret),
				SessionToken:    cred.NewSecret(token),
				AccountID:       section.Get("aws_account_id"),
			}
		}
		items = append(items, item)
	}
	return items
}

// Strip returns f without the access keys of some profiles, wherever they stand
// in it more than once. Every other byte stays, and so do sections that have
// nothing left. Profiles that have no key or are not there are passed over.
func Strip(f *awsconfig.File, names []string) (*awsconfig.File, error) {
	f, err := strip(f, names)
	if err != nil || !slices.Contains(names, "default") {
		return f, err
	}
	// In a config file a "[profile default]" hides all of "[default]", the key
	// that it would leave there included. As a credentials file, the text has no
	// other default.
	hidden, err := awsconfig.ParseCredentials(f.Name(), f.Bytes())
	if err != nil {
		return nil, err
	}
	bare, err := strip(hidden, []string{"default"})
	if err != nil || bare == hidden {
		return f, err
	}
	return awsconfig.Parse(f.Name(), bare.Bytes())
}

func strip(f *awsconfig.File, names []string) (*awsconfig.File, error) {
	for _, name := range names {
		for _, setting := range []string{accessKeyID, secretAccessKey} {
			var err error
			if f, err = f.Unset(name, setting); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}
