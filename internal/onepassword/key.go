package onepassword

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kura/internal/cred"
)

// Names are the labels of the fields of an item, "" for those that 1Password's
// own AWS plugin uses
// (https://developer.1password.com/docs/cli/shell-plugins/aws/), so that one
// item serves both. They are found without regard to case.
type Names struct {
	AccessKeyID     string // "Access Key ID"
	SecretAccessKey string // "Secret Access Key"
	MFASerial       string // "mfa serial"
	OneTimePassword string // "one-time password"
	SessionCache    string // "session_cache", which the plugin passes over
	Region          string // "Default Region"
	AccountID       string // "Account ID", which the plugin passes over
}

func (n Names) orDefault() Names {
	setDefault(&n.AccessKeyID, "Access Key ID")
	setDefault(&n.SecretAccessKey, "Secret Access Key")
	setDefault(&n.MFASerial, "mfa serial")
	setDefault(&n.OneTimePassword, "one-time password")
	setDefault(&n.SessionCache, "session_cache")
	setDefault(&n.Region, "Default Region")
	setDefault(&n.AccountID, "Account ID")
	return n
}

// all returns the fields of n by the names that ParseNames knows them by.
func (n *Names) all() []namedLabel {
	return []namedLabel{
		{"access-key-id", &n.AccessKeyID},
		{"secret-access-key", &n.SecretAccessKey},
		{"mfa-serial", &n.MFASerial},
		{"one-time-password", &n.OneTimePassword},
		{"session-cache", &n.SessionCache},
		{"region", &n.Region},
		{"account-id", &n.AccountID},
	}
}

type namedLabel struct {
	name  string
	label *string
}

// FieldNames returns the names that ParseNames knows.
func FieldNames() []string {
	var names []string
	for _, l := range new(Names).all() {
		names = append(names, l.name)
	}
	return names
}

// ParseNames reads labels as a person sets them: NAME=LABEL,NAME=LABEL, where a
// name is one of FieldNames. Two of them must not be one field, be it by a label
// that is left as it was.
func ParseNames(text string) (Names, error) {
	var n Names
	all := n.all()
	for part := range strings.SplitSeq(text, ",") {
		name, label, ok := strings.Cut(part, "=")
		name, label = strings.TrimSpace(name), strings.TrimSpace(label)
		i := slices.IndexFunc(all, func(l namedLabel) bool { return l.name == name })
		switch {
		case !ok || i < 0:
			return Names{}, fmt.Errorf("%q is not NAME=LABEL, where NAME is one of %s", part, strings.Join(FieldNames(), ", "))
		case normal(label) == "":
			return Names{}, fmt.Errorf("%s has no label", name)
		case *all[i].label != "":
			return Names{}, fmt.Errorf("%s is there twice", name)
		}
		*all[i].label = label
	}
	full := n.orDefault()
	all = full.all()
	for i, one := range all {
		for _, other := range all[:i] {
			if normal(*one.label) == normal(*other.label) {
				return Names{}, fmt.Errorf("%s and %s would both be the field %q", other.name, one.name, *one.label)
			}
		}
	}
	return n, nil
}

// A Problem is what is wrong with a field.
type Problem string

// The problems of fields.
const (
	Absent      Problem = "there is no such field, or it is empty"
	Malformed   Problem = "that is not what the field is for"
	SessionKey  Problem = "an access key ID that begins with ASIA belongs to session credentials, which expire"
	RoleARN     Problem = "the ARN of a role or user, not of an MFA device"
	Duplicate   Problem = "several fields are called so"
	OtherDevice Problem = "it names another MFA device than the one that a token code is needed of"
)

// A FieldError says what is wrong with a field of an item.
type FieldError struct {
	Item    string // its title
	Field   string // its label
	Problem Problem
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("item %q, field %q: %s", e.Item, e.Field, e.Problem)
}

func (it *Item) problem(field string, p Problem) error { return &FieldError{it.Title, field, p} }

func (it *Item) keyIDField() (*Field, int) {
	return it.find(it.names.AccessKeyID, isKeyID, "aws_access_key_id", "username")
}

func (it *Item) secretField() (*Field, int) {
	return it.find(it.names.SecretAccessKey, isSecretKey, "aws_secret_access_key", "credential")
}

func (it *Item) serialField() (*Field, int) {
	return it.find(it.names.MFASerial, func(s string) bool { return s != "" }, "aws_mfa_serial")
}

func (it *Item) sessionField() (*Field, int) {
	return it.find(it.names.SessionCache, func(string) bool { return false })
}

func (it *Item) accountField() (*Field, int) {
	return it.find(it.names.AccountID, func(string) bool { return false })
}

// codeField returns the OTP field that the codes are in: the one that is called
// so, or else the only one. n is how many it may be.
func (it *Item) codeField() (best *Field, n int) {
	var all, called []*Field
	for i := range it.Fields {
		f := &it.Fields[i]
		if f.Type != "OTP" || f.IsEmpty() && f.code == "" {
			continue
		}
		all = append(all, f)
		if f.isCalled(it.names.OneTimePassword) || f.isCalled("otp") {
			called = append(called, f)
		}
	}
	if len(called) > 0 {
		all = called
	}
	if len(all) == 0 {
		return nil, 0
	}
	return all[0], len(all)
}

// MakesCodes reports whether an item makes the token codes of one MFA device.
// With the seeds of several nobody knows which.
func (it *Item) MakesCodes() bool {
	f, n := it.codeField()
	if n != 1 {
		return false
	}
	_, err := parseSeed(f.value)
	return err == nil || f.code != ""
}

// HasKey reports whether an item has an access key, be it whole or not.
func (it *Item) HasKey() bool {
	id, _ := it.keyIDField()
	secret, _ := it.secretField()
	return id != nil && !id.IsEmpty() || secret != nil && !secret.IsEmpty()
}

// Key returns the access key of an item. The error is a *FieldError.
func (it *Item) Key() (cred.Credentials, error) {
	n := it.names
	id, _ := it.keyIDField()
	secret, _ := it.secretField()
	switch {
	case id == nil || id.IsEmpty():
		return cred.Credentials{}, it.problem(n.AccessKeyID, Absent)
	case secret == nil || secret.IsEmpty():
		return cred.Credentials{}, it.problem(n.SecretAccessKey, Absent)
	}
	key := cred.Credentials{
		AccessKeyID:     strings.TrimSpace(id.value),
		SecretAccessKey: cred.NewSecret(strings.TrimSpace(secret.value)),
	}
	if err := it.checkKey(key, id.name(), secret.name()); err != nil {
		return cred.Credentials{}, err
	}
	if f, _ := it.accountField(); f != nil {
		key.AccountID = strings.TrimSpace(f.value)
	}
	return key, nil
}

// checkKey returns an error about one of the two fields if the key does not have
// the form of a long-term access key.
func (it *Item) checkKey(key cred.Credentials, idField, secretField string) error {
	switch {
	case strings.HasPrefix(key.AccessKeyID, "ASIA"):
		return it.problem(idField, SessionKey)
	case !isKeyID(key.AccessKeyID):
		return it.problem(idField, Malformed)
	case key.SecretAccessKey.CheckAccessKey() != nil:
		return it.problem(secretField, Malformed)
	}
	return nil
}

// MFASerial returns the serial number or ARN of the MFA device, or "" if the
// item names none. The error is a *FieldError.
func (it *Item) MFASerial() (string, error) {
	f, _ := it.serialField()
	if f == nil || f.IsEmpty() {
		return "", nil
	}
	serial := strings.TrimSpace(f.value)
	if !strings.HasPrefix(serial, "arn:") { // as on a device of hardware
		if len(serial) < 9 || strings.ContainsAny(serial, " \t\r\n") {
			return "", it.problem(f.name(), Malformed)
		}
		return serial, nil
	}
	parts := strings.SplitN(serial, ":", 6)
	if len(parts) < 6 || parts[2] != "iam" || len(parts[4]) != 12 {
		return "", it.problem(f.name(), Malformed)
	}
	if !strings.HasPrefix(parts[5], "mfa/") {
		return "", it.problem(f.name(), RoleARN)
	}
	return serial, nil
}

// Region returns the region that the item names, as the plugin has it: that in
// the field "Region" if there is none in "Default Region". It may be "".
func (it *Item) Region() string {
	f, _ := it.find(it.names.Region, func(s string) bool { return s != "" }, "Region")
	if f == nil {
		return ""
	}
	return strings.TrimSpace(f.value)
}

// Check returns all that is wrong with an item, for who sets it up: each error is
// a *FieldError, or an *UnwritableError if it can be read but not written. That
// of a missing token code does no harm to a key that needs none.
func (it *Item) Check() []error {
	var found []error
	if _, err := it.Key(); err != nil {
		found = append(found, err)
	}
	if _, err := it.MFASerial(); err != nil {
		found = append(found, err)
	}
	for _, find := range []func() (*Field, int){it.keyIDField, it.secretField, it.serialField, it.codeField, it.sessionField} {
		if f, n := find(); n > 1 {
			found = append(found, it.problem(f.name(), Duplicate))
		}
	}
	if f, n := it.codeField(); n == 0 {
		found = append(found, it.problem(it.names.OneTimePassword, Absent))
	} else if _, err := parseSeed(f.value); err != nil && f.code == "" {
		found = append(found, it.problem(f.name(), Malformed))
	}
	if err := it.writable(); err != nil {
		found = append(found, err)
	}
	return found
}

// SetKey puts an access key into an item that is being edited, and empties the
// session cache, which belongs to the former key. The error is a *FieldError if
// Key would not return the key, or if there are two fields for one value: a reader
// might take the other one.
func (it *Item) SetKey(key cred.Credentials) error {
	n := it.names
	if err := it.checkKey(key, n.AccessKeyID, n.SecretAccessKey); err != nil {
		return err
	}
	id, ids := it.keyIDField()
	secret, secrets := it.secretField()
	account, accounts := it.accountField()
	session, sessions := it.sessionField()
	switch {
	case ids > 1:
		return it.problem(n.AccessKeyID, Duplicate)
	case secrets > 1:
		return it.problem(n.SecretAccessKey, Duplicate)
	case accounts > 1:
		return it.problem(n.AccountID, Duplicate)
	case sessions > 1:
		return it.problem(n.SessionCache, Duplicate)
	}
	if id != nil && id.value == key.AccessKeyID {
		session = nil
	}
	beside := secret
	if beside == nil {
		beside = id
	}
	// Adding moves the fields: it comes after all setting.
	put := func(f *Field, value cred.Secret) error {
		if f == nil {
			return nil
		}
		return it.set(f, value)
	}
	if err := cmp.Or(
		put(id, cred.NewSecret(key.AccessKeyID)),
		put(secret, key.SecretAccessKey),
		put(account, cred.NewSecret(key.AccountID)),
		put(session, cred.Secret{}),
	); err != nil {
		return err
	}
	if beside != nil {
		copied := *beside
		beside = &copied
	}
	for _, f := range []struct {
		found       *Field
		kind, label string
		value       cred.Secret
	}{
		{id, "STRING", n.AccessKeyID, cred.NewSecret(key.AccessKeyID)},
		{secret, "CONCEALED", n.SecretAccessKey, key.SecretAccessKey},
		{account, "STRING", n.AccountID, cred.NewSecret(key.AccountID)},
	} {
		if f.found == nil && !f.value.IsZero() {
			if err := it.add(f.kind, f.label, f.value, beside); err != nil {
				return err
			}
		}
	}
	return nil
}

// isKeyID reports whether a text has the form of the ID of a long-term access
// key: "AKIA" and 12 or more capitals and digits
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html).
func isKeyID(text string) bool {
	return strings.HasPrefix(text, "AKIA") && len(text) >= 16 && len(text) <= 128 &&
		strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

func isSecretKey(text string) bool { return cred.NewSecret(text).CheckAccessKey() == nil }
