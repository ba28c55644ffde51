package rotate

import (
	"reflect"
	"testing"
	"time"

	"kura/internal/awsapi"
	"kura/internal/cred"
)

// FuzzRecord: what decodes encodes to what decodes to the same.
func FuzzRecord(f *testing.F) {
	whole := record{
		Started: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
		Who:     awsapi.Identity{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/team/ann", UserID: "AIDAEXAMPLE"},
		Known:   []string{"AKIAIOSFODNN7EXAMPLE"},
		Keep:    24 * time.Hour,
		Retired: time.Date(2026, 6, 1, 12, 1, 0, 0, time.UTC),
		Undo:    true,
		Old:     cred.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: cred.NewSecret("old"), AccountID: "111122223333"},
		New:     cred.Credentials{AccessKeyID: "AKIAI44QH8DHBEXAMPLE", SecretAccessKey: cred.NewSecret("new")},
	}
	begun := whole
	begun.New, begun.Retired, begun.Keep, begun.Undo = cred.Credentials{}, time.Time{}, 0, false
	for _, rec := range []record{whole, begun} {
		data, err := rec.encode()
		if err != nil {
			f.Fatal(err)
		}
		got, err := decode(data)
		if err != nil || !reflect.DeepEqual(*got, rec) {
			f.Errorf("%s decodes to %+v, %v", data, got, err)
		}
		f.Add(data)
	}
	f.Add([]byte("kura rotation 1\nstarted: \"2026-06-01T12:00:00Z\"\nuser-id: \"x\"\nnew: \"to be passed over\"\n\nAccessKeyID=a\nSecretAccessKey=b\n"))
	f.Add([]byte("kura rotation 2\n\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decode(data)
		if err != nil {
			return
		}
		if !rec.Old.Expires.IsZero() || !rec.New.Expires.IsZero() {
			return // a time in another zone, which no access key has
		}
		again, err := rec.encode()
		if err != nil {
			return // a carriage return, which encode never writes
		}
		got, err := decode(again)
		if err != nil || got.Old != rec.Old || got.New != rec.New || got.Who != rec.Who || got.Undo != rec.Undo ||
			max(got.Keep, 0) != max(rec.Keep, 0) || !got.Started.Equal(rec.Started.Truncate(time.Second)) {
			t.Errorf("%+v encodes to %q, which decodes to %+v, %v", rec, again, got, err)
		}
	})
}
