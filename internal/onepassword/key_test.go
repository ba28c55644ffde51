package onepassword_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"kura/internal/onepassword"
	"kura/internal/opemu"
)

// decode returns an item as op prints it.
func decode(t *testing.T, item opemu.Item) *onepassword.Item {
	t.Helper()
	item.ID, item.Vault.ID = "i", "v"
	it, err := onepassword.Decode(item)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// field makes a field of a label, a type and a value. Its ID is no label.
func field(label, kind, value string) opemu.Field {
	return opemu.Field{ID: "id of " + label, Label: label, Type: kind, Value: value}
}

// Fields are found by what they are called, however that is written.
func TestFields(t *testing.T) {
	const text, hidden = "STRING", "CONCEALED"
	for _, c := range []struct {
		what   string
		fields []opemu.Field
	}{
		{"as in the plugin", []opemu.Field{field("Access Key ID", text, keyID), field("Secret Access Key", hidden, secret), field("MFA Serial", text, serial)}},
		{"in lower case", []opemu.Field{field("access key id", text, keyID), field("secret access key", hidden, secret), field("mfa serial", text, serial)}},
		{"with wide blanks", []opemu.Field{field("access\u3000key\u3000ID", text, keyID), field("Secret\u3000Access\u3000Key", hidden, secret), field("mfa\u3000serial", text, serial)}},
		{"without blanks", []opemu.Field{field("AccessKeyId", text, keyID), field("secret-access-key", hidden, secret), field("mfa_serial", text, serial)}},
		{"as variables", []opemu.Field{field("aws_access_key_id", text, keyID), field("AWS_SECRET_ACCESS_KEY", hidden, secret), field("AWS_MFA_SERIAL", text, serial)}},
		{"by ID", []opemu.Field{{ID: "Access Key ID", Value: keyID}, {ID: "Secret Access Key", Value: secret}, {ID: "mfa serial", Value: serial}}},
		{"built in", []opemu.Field{field("username", text, keyID), field("credential", hidden, secret), field("mfa serial", text, serial)}},
		{"the one with a value", []opemu.Field{field("Access Key ID", text, ""), field("access key id", text, keyID), field("Secret Access Key", hidden, secret),
			field("secret access key", hidden, ""), field("mfa serial", text, serial)}},
		{"the very label", []opemu.Field{field("access-key-id", text, otherKey.AccessKeyID), field("Access Key ID", text, keyID),
			field("secret_access_key", hidden, otherKey.SecretAccessKey.Reveal()), field("Secret Access Key", hidden, secret), field("mfa serial", text, serial)}},
		{"not a user name", []opemu.Field{field("username", text, "ann"), field("credential", hidden, "hunter2"), field("access key id", text, keyID),
			field("secret access key", hidden, secret), field("mfa serial", text, serial)}},
		{"with blanks around", []opemu.Field{field("Access Key ID", text, keyID+"\n"), field("Secret Access Key", hidden, " "+secret), field(" MFA serial ", text, serial+" ")}},
	} {
		it := decode(t, opemu.Item{Fields: c.fields})
		key, err := it.Key()
		if err != nil || key.AccessKeyID != keyID || key.SecretAccessKey.Reveal() != secret {
			t.Errorf("%s: Key = %v, %v", c.what, key, err)
		}
		if got, err := it.MFASerial(); got != serial || err != nil {
			t.Errorf("%s: MFASerial = %q, %v", c.what, got, err)
		}
	}
	it := decode(t, opemu.Item{Fields: []opemu.Field{field("Region", text, "eu-west-1"), field("default region", text, "eu-north-1")}})
	if got := it.Region(); got != "eu-north-1" {
		t.Errorf("Region = %q, want that of the field for it", got)
	}
}

// Names of fields can be chosen.
func TestNames(t *testing.T) {
	w := newWorld(t, "")
	ref := add(w, opemu.Item{Category: "API_CREDENTIAL", Title: "mine", Fields: []opemu.Field{
		{ID: "1", Type: "STRING", Label: "schlüssel", Value: keyID}, {ID: "2", Type: "CONCEALED", Label: "geheim", Value: secret},
		{ID: "3", Type: "OTP", Label: "einmal", Value: seed}, {ID: "4", Type: "OTP", Label: "zweimal", Value: seed},
	}})
	c := client(t, w, func(o *onepassword.Options) {
		o.Names = onepassword.Names{AccessKeyID: "Schlüssel", SecretAccessKey: "Geheim", OneTimePassword: "Einmal", SessionCache: "Sitzung"}
	})
	it, err := c.Item(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if found := it.Check(); len(found) > 0 {
		t.Errorf("Check = %v", found)
	}
	if err := c.WriteSession(t.Context(), ref, session(3600e9)); err != nil || value(t, w, ref.Item, "Sitzung") == "" {
		t.Errorf("WriteSession = %v", err)
	}
}

func TestParseNames(t *testing.T) {
	for _, c := range []struct {
		text string
		want onepassword.Names
		err  string // a part of it
	}{
		{"mfa-serial=端末", onepassword.Names{MFASerial: "端末"}, ""},
		{"access-key-id=アクセスキー ID, secret-access-key = 秘密=鍵", onepassword.Names{AccessKeyID: "アクセスキー ID", SecretAccessKey: "秘密=鍵"}, ""},
		{"one-time-password=a,session-cache=b,region=c,account-id=d", onepassword.Names{OneTimePassword: "a", SessionCache: "b", Region: "c", AccountID: "d"}, ""},
		{"mfa-serial=Access Key ID,access-key-id=mfa serial", onepassword.Names{MFASerial: "Access Key ID", AccessKeyID: "mfa serial"}, ""},
		{"", onepassword.Names{}, `"" is not NAME=LABEL, where NAME is one of access-key-id, secret-access-key, mfa-serial, one-time-password, session-cache, region, account-id`},
		{"mfa-serial", onepassword.Names{}, `"mfa-serial" is not NAME=LABEL`},
		{"region=x,key=y", onepassword.Names{}, `"key=y" is not NAME=LABEL`},
		{"mfa-serial=", onepassword.Names{}, "mfa-serial has no label"},
		{"mfa-serial= -_\u3000", onepassword.Names{}, "mfa-serial has no label"},
		{"region=x,region=y", onepassword.Names{}, "region is there twice"},
		{"access-key-id=鍵 1,secret-access-key=鍵-1", onepassword.Names{}, `access-key-id and secret-access-key would both be the field "鍵-1"`},
		{"session-cache=secret access key", onepassword.Names{}, `secret-access-key and session-cache would both be`},
	} {
		got, err := onepassword.ParseNames(c.text)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("ParseNames(%q) = %+v, %v, want %+v, %q", c.text, got, err, c.want, c.err)
		}
	}
}

// What is wrong with an item has its name.
func TestProblems(t *testing.T) {
	change := func(label, value string) func(*opemu.Item) {
		return func(it *opemu.Item) {
			i := slices.IndexFunc(it.Fields, func(f opemu.Field) bool { return f.Label == label })
			it.Fields[i].Value = value
		}
	}
	for _, c := range []struct {
		what   string
		change func(*opemu.Item)
		field  string
		want   onepassword.Problem
	}{
		{"no key ID", change("Access Key ID", ""), "Access Key ID", onepassword.Absent},
		{"no secret", change("Secret Access Key", ""), "Secret Access Key", onepassword.Absent},
		{"a session's key", change("Access Key ID", "ASIAIOSFODNN7EXAMPLE"), "Access Key ID", onepassword.SessionKey},
		{"a key ID that is none", change("Access Key ID", secret), "Access Key ID", onepassword.Malformed},
		{"a secret that is none", change("Secret Access Key", "hunter2"), "Secret Access Key", onepassword.Malformed},
		{"a role", change("mfa serial", "arn:aws:iam::111122223333:role/ann"), "mfa serial", onepassword.RoleARN},
		{"a user", change("mfa serial", "arn:aws:iam::111122223333:user/ann"), "mfa serial", onepassword.RoleARN},
		{"another ARN", change("mfa serial", "arn:aws:s3:::bucket"), "mfa serial", onepassword.Malformed},
		{"no serial number", change("mfa serial", "my phone"), "mfa serial", onepassword.Malformed},
		{"no code", change("one-time password", ""), "one-time password", onepassword.Absent},
		{"no seed", change("one-time password", "0189"), "one-time password", onepassword.Malformed},
		{"two caches", func(it *opemu.Item) { it.Fields = append(it.Fields, field("Session-Cache", "CONCEALED", "x")) }, "Session-Cache", onepassword.Duplicate},
		{"two codes", func(it *opemu.Item) {
			for i := range it.Fields {
				it.Fields[i].Label = strings.ReplaceAll(it.Fields[i].Label, "one-time password", "console")
			}
			it.Fields = append(it.Fields, field("other", "OTP", seed))
		}, "console", onepassword.Duplicate},
	} {
		item := keyItem()
		c.change(&item)
		found := decode(t, item).Check()
		if e, ok := errors.AsType[*onepassword.FieldError](errors.Join(found...)); len(found) != 1 || !ok || e.Field != c.field || e.Problem != c.want || strings.Contains(e.Error(), secret) {
			t.Errorf("%s: Check = %v, want %q of %q", c.what, found, c.want, c.field)
		}
	}
	for _, good := range []string{"", "GAHT12345678", "arn:aws-cn:iam::111122223333:mfa/path/ann", "arn:aws-us-gov:iam::111122223333:mfa/ann"} {
		item := keyItem()
		change("mfa serial", good)(&item)
		if got, err := decode(t, item).MFASerial(); got != good || err != nil {
			t.Errorf("MFASerial of %q = %q, %v", good, got, err)
		}
	}
}

// An item makes codes if it has one seed, or shows a code of what is no seed here.
func TestMakesCodes(t *testing.T) {
	otp := func(label, seed, code string) opemu.Field {
		f := field(label, "OTP", seed)
		f.TOTP = code
		return f
	}
	for _, c := range []struct {
		what   string
		fields []opemu.Field
		want   bool
	}{
		{"a seed", []opemu.Field{otp("one-time password", seed, "")}, true},
		{"one that is called otherwise", []opemu.Field{otp("console", seed, "")}, true},
		{"the one that is called so", []opemu.Field{otp("console", seed, ""), otp("otp", seed, "")}, true},
		{"a code of an unknown kind", []opemu.Field{otp("one-time password", "0189", "123456")}, true},
		{"no field", nil, false},
		{"no value", []opemu.Field{otp("one-time password", "", "")}, false},
		{"no seed", []opemu.Field{otp("one-time password", "0189", "")}, false},
		{"two seeds", []opemu.Field{otp("phone", seed, ""), otp("console", seed, "")}, false},
		{"a seed in another field", []opemu.Field{field("one-time password", "STRING", seed)}, false},
	} {
		if got := decode(t, opemu.Item{Fields: c.fields}).MakesCodes(); got != c.want {
			t.Errorf("%s: MakesCodes = %v, want %v", c.what, got, c.want)
		}
	}
}
